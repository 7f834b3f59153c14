"""What the project says about itself: one line per event, JSON for machines or plain for a terminal, on standard error.

    log = get_logger(__name__)
    log.info("the object is at its destination", action="object_replicated", route=route.name, key=key)

Each line has a text for people, a stable `action` for machines, and ids. Error is for what is final; what will be tried again
is a warning at most. Loggers may be made at import and used before `configure`: then warnings and worse are written plainly.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from common.redaction import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from common.config import LogSettings

_FIRST = ("timestamp", "level", "action", "event")


class Stream(Protocol):
    """Where lines go: standard error, or anything else that takes text."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...

    def isatty(self) -> bool: ...


class Logger:
    """Where a line is written from. A level that is off costs one comparison."""

    __slots__ = ("_fields", "_name")

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        self._name = name
        self._fields = fields

    def bind(self, **fields: Any) -> Logger:
        """A logger that adds these fields to every line."""
        return Logger(self._name, {**self._fields, **fields})

    def debug(self, text: str, **fields: Any) -> None:
        if _output.threshold <= logging.DEBUG:
            _output.write(logging.DEBUG, self._name, text, {**self._fields, **fields})

    def info(self, text: str, **fields: Any) -> None:
        if _output.threshold <= logging.INFO:
            _output.write(logging.INFO, self._name, text, {**self._fields, **fields})

    def warning(self, text: str, **fields: Any) -> None:
        if _output.threshold <= logging.WARNING:
            _output.write(logging.WARNING, self._name, text, {**self._fields, **fields})

    def error(self, text: str, **fields: Any) -> None:
        if _output.threshold <= logging.ERROR:
            _output.write(logging.ERROR, self._name, text, {**self._fields, **fields})

    def exception(self, text: str, **fields: Any) -> None:
        """An error with the traceback of the exception that is being handled. For faults of ours, not for expected errors."""
        self.error(text, exc_info=True, **fields)


def get_logger(name: str) -> Logger:
    """The logger of a module: `get_logger(__name__)`."""
    return Logger(name, {})


def configure(settings: LogSettings, stream: Stream | None = None) -> None:
    """Write lines as `settings` say, to `stream` (None: standard error as it is at that moment). May be called again."""
    console = settings.format == "console" or (settings.format == "auto" and (stream or sys.stderr).isatty())
    _output.configure(getattr(logging, settings.level), stream, console=console)
    root = logging.getLogger()
    for handler in [known for known in root.handlers if isinstance(known, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(level=logging.WARNING))
    logging.captureWarnings(capture=True)


class _Output:
    """The one place where lines leave the process."""

    def __init__(self) -> None:
        self.threshold = logging.WARNING
        self._sink = _sink(None, console=True)

    def configure(self, threshold: int, stream: Stream | None, *, console: bool) -> None:
        self.threshold = threshold
        self._sink = _sink(stream, console=console)

    def write(self, level: int, name: str, text: str, fields: Mapping[str, Any]) -> None:
        self._sink.log(level, text, **{"logger": name, **fields})


class _Lines:
    """Whole lines to a stream. A log that nobody can read any more (a closed pipe, a full disk) does not stop the work."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream

    def line(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            stream = self._stream or sys.stderr
            stream.write(text + "\n")
            stream.flush()

    debug = info = warning = error = line


class _Bridge(logging.Handler):
    """Brings the warnings of libraries that use the standard logging into the same lines."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < _output.threshold:
            return
        try:
            fields: dict[str, Any] = {"action": "library"}
            if record.exc_info:
                fields["exc_info"] = record.exc_info
            _output.write(
                logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING, record.name, record.getMessage(), fields
            )
        except Exception:  # noqa: BLE001 - logging must not raise into a library; logging's own report is the way out
            self.handleError(record)


def _sink(stream: Stream | None, *, console: bool) -> Any:
    colours = console and (stream or sys.stderr).isatty()
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback, sort_keys=False)
        if console
        else structlog.processors.JSONRenderer()
    )
    return structlog.wrap_logger(
        _Lines(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            clean,
            _in_order,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        context_class=dict,
        cache_logger_on_first_use=True,
    )


def _in_order(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    ordered = {name: event.pop(name) for name in _FIRST if name in event}
    ordered.update(event)
    return ordered


_output = _Output()
