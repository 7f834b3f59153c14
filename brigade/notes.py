"""What a sync tells of its log. All lines, of workers and publisher, go to one file in the state directory.

A warning or worse is also noted to the user of the sync, but not more than a few at a time: a bucket without permission
would otherwise say so a hundred thousand times.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

NOTES = 5

PERIOD = 10.0
"""At most NOTES notes in so many seconds, and none of them twice: every worker process has the same to say."""
SAID_ELSEWHERE = frozenset({"object_failed", "object_refused", "scan_failed", "scan_interrupted", "route_parked", "route_held"})
"""Failures are counted in the progress; at the end they are listed, with the reason why the source could not be. That the route
waits is in Redis, and told from there: the workers of an earlier run may have said it.
"""


class Notes:
    """Passes on what is worth telling of the log of `who`, a few lines at a time."""

    def __init__(self, note: Callable[[str], None], who: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._note = note
        self._who = who
        self._clock = clock
        self._began = clock()
        self._said: set[str] = set()

    def line(self, line: bytes) -> None:
        text = _worth_telling(line, self._who)
        if text is None:
            return
        now = self._clock()
        if now - self._began >= PERIOD:
            self._began, self._said = now, set()
        if text in self._said or len(self._said) > NOTES:
            return
        self._said.add(text)
        self._note(text if len(self._said) <= NOTES else "and more warnings, see the log")


class OwnLog:
    """Where this process writes its own log, a line of JSON at a time: to the file, and what is worth it to the notes."""

    def __init__(self, file: BinaryIO, notes: Notes) -> None:
        self._file = file
        self._notes = notes

    def write(self, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace")
        self._notes.line(data)
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def isatty(self) -> bool:
        return False


def _worth_telling(line: bytes, who: str) -> str | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return line.decode("utf-8", "replace").strip().removeprefix("brigade: ") or None
    if not isinstance(fields, dict) or fields.get("level") not in ("warning", "error") or fields.get("action") in SAID_ELSEWHERE:
        return None
    reason = fields.get("error") or fields.get("reason")
    return f"{who}: {fields.get('event')}{f' ({reason})' if reason else ''}"
