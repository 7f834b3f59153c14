"""The HTTP server: waitress in threads of the publisher's process. The API has one, the health pages have another.

Its buffers stay in memory: a reader who is slower than the records makes the sender wait at BUFFER_BYTES, long before the size
at which waitress would write to disk. So the API takes at most THREADS x (BUFFER_BYTES + one page of records).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.server import create_server

from common.errors import SettingsError
from common.telemetry import get_logger
from publisher.api import connections
from publisher.api.cache import StreamBroken

if TYPE_CHECKING:
    from flask import Flask

log = get_logger(__name__)

THREADS = 8
BUFFER_BYTES = 256 * 1024
SPILL_BYTES = 16 * 1024 * 1024
LARGEST_REQUEST = 256 * 1024
"""Above this waitress itself answers 413. Smaller bodies that are still too large get the API's own answer in JSON."""
STOP_SECONDS = 5
TURN_SECONDS = 1.0
"""How often deadlines are looked at."""


class ApiServer:
    """Listens from construction on, serves between `start` and `stop`. `port` is the real one where 0 was asked for.

    Raises SettingsError when the address is not to be had; `name` says whose it is.
    """

    def __init__(self, app: Flask, host: str, port: int, *, name: str = "api", threads: int = THREADS) -> None:
        self._socket = _listen(name, host, port)
        self.port: int = self._socket.getsockname()[1]
        self._channels: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._channels,
            sockets=[self._socket],
            threads=threads,
            connection_limit=connections.MOST_CONNECTIONS,
            ident=None,
            outbuf_high_watermark=BUFFER_BYTES,
            outbuf_overflow=SPILL_BYTES,
            inbuf_overflow=SPILL_BYTES,
            max_request_body_size=LARGEST_REQUEST,
            clear_untrusted_proxy_headers=True,
            log_socket_errors=False,  # readers go away, that is no news
        )
        self._server.channel_class = connections.Channel
        self._looked = 0.0
        self._asked = False
        self._stopping = False
        self._pulled = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        _quieten()

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Take no more requests, wait a little for those under way, close every connection. The event loop goes on meanwhile,
        because those requests wait for it. May be called twice.
        """
        if not self._asked:
            self._asked = True
            # Said in the server's own thread, once it has read the trigger. A flag set from here could be seen before the trigger
            # is pulled: then that is closed, and its number may be another file's.
            self._server.trigger.pull_trigger(self._end)
            self._pulled.set()
        await asyncio.to_thread(self._thread.join)

    def _end(self) -> None:
        self._stopping = True

    def _serve(self) -> None:
        """What waitress's own `run` does, with an end that another thread can ask for."""
        while not self._stopping:
            self._turn(TURN_SECONDS)
            self._hold_deadlines()
        self._server.accepting = False
        patience = time.monotonic() + STOP_SECONDS
        while self._under_way() and time.monotonic() < patience:
            self._turn(0.05)
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()  # wakes a thread that waits for its reader
        self._server.task_dispatcher.shutdown(timeout=STOP_SECONDS)
        # After the threads: they pull the trigger. One that still runs does not, its connection is closed. And after `stop`:
        # woken by a thread, this one may have read what `stop` asks for before `stop` has written to the trigger.
        self._pulled.wait()
        self._server.close()

    def _turn(self, seconds: float) -> None:
        wasyncore.loop(timeout=seconds, use_poll=True, map=self._channels, count=1)

    def _hold_deadlines(self) -> None:
        now = time.monotonic()
        if now - self._looked < TURN_SECONDS:
            return
        self._looked = now
        channels = list(self._server.active_channels.values())
        overdue = [channel for channel in channels if channel.overdue(now)]
        for channel in {*overdue, *connections.too_many(channels)}:
            channel.handle_close()  # wakes a thread that waits for its reader

    def _under_way(self) -> bool:
        """A connection that is merely kept open does not count."""
        return any(getattr(channel, "requests", None) for channel in list(self._channels.values()))


def _listen(name: str, host: str, port: int) -> socket.socket:
    """Bound here and not by waitress, so that a port that is taken is a fault of the settings, said as such."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise SettingsError(
            [f"{name}: cannot listen on {host} port {port}: {error.strerror or error}; choose another"]
        ) from error
    return listener


class _Known(logging.Filter):
    """A stream that broke is in our own log already."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], StreamBroken))


def _quieten() -> None:
    server = logging.getLogger("waitress")
    if not any(isinstance(known, _Known) for known in server.filters):
        server.addFilter(_Known())
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
