"""Requests and answers: the one place where bytes enter and leave the process over HTTP.

One `Transport` serves one event loop; every request is a coroutine, connections are kept and shared. An answer is taken whole
into memory, and never more of it than the request says it expects: callers ask for bounded spans.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import Refused, Unavailable
from common.transport.connection import Answer, BrokenError, Connection
from common.transport.message import ProtocolError, request_head
from common.transport.pool import Pool
from common.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

ERROR_BYTES = 64 * 1024
"""Room above the expected body for an error document."""

_SCRATCH_BYTES = 256 * 1024
_BODILESS = ("GET", "HEAD", "DELETE")

Response = Answer
"""`status`; `headers`, with names in lower case, of a repeated one the last value; `body`."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `url` is final and sent as it stands, dot segments and all. Header names and values are Latin-1; one with
    an empty value is left out.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    expect: int = 0
    """The largest body that a good answer may have, in bytes; a longer one is an error, whatever its status."""


class Transport:
    """HTTP/1.1 for one event loop. Not thread-safe. `close` gives up what is under way and may be called twice.

    Redirects are not followed: they would take credentials and bytes to wherever the answer says. There is no time limit on a
    whole request, because a large part over a thin line takes what it takes, but there is one on connecting, and one on silence:
    no byte in either direction for `stall_seconds` ends the request.
    """

    def __init__(self, *, most_connections: int = 256, connect_seconds: float = 10, stall_seconds: float = 60) -> None:
        self._most_connections = most_connections
        self._connect_seconds = connect_seconds
        self._stall_seconds = stall_seconds
        self._pools: dict[str, Pool] = {}
        self._trust = Trust(os.environ)
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._watch: asyncio.TimerHandle | None = None
        self._seen: dict[Connection, tuple[object, float]] = {}
        self._closed = False

    async def send(self, request: Request) -> Response:
        """The answer, whatever its status. Raises Unavailable when there is none, or when it is cut short or too long, and
        Refused when the request cannot be sent at all.

        The error names method, host and path, never the query: that may hold a signature or an upload session.
        """
        if self._closed:
            raise Unavailable(f"{where(request)}: the transport is closed")
        try:
            return await self._send(request)
        except BrokenError as error:
            raise Unavailable(f"{where(request)}: {error}") from None
        except (ProtocolError, UnicodeEncodeError) as error:
            raise Refused(f"{where(request)}: {error}") from None

    async def _send(self, request: Request) -> Response:
        origin, target = _split(request.url)
        pool = self._pools.get(origin) or self._pool(origin)
        body = request.body
        length = len(body) if body or request.method not in _BODILESS else None
        head = request_head(request.method, target, pool.host, request.headers, length)
        connection = await pool.take()
        if self._watch is None:
            self._watch_over()
        fresh = not connection.used
        while True:
            try:
                return await connection.exchange(head, body, request.expect + ERROR_BYTES, head_only=request.method == "HEAD")
            except BrokenError as error:
                if fresh or not error.unanswered or self._closed:
                    raise
            finally:
                pool.give(connection)
            # The server closed a connection that had been idle as the request was on its way: nothing is known to have happened,
            # and whatever did is found out by the precondition, as after any lost answer.
            connection, fresh = await pool.open(), True

    async def close(self) -> None:
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        for pool in self._pools.values():
            pool.close()
        await asyncio.sleep(0)  # an aborted connection closes its socket in the next turn of the loop

    def _pool(self, origin: str) -> Pool:
        pool = self._pools[origin] = Pool(
            origin,
            most=self._most_connections,
            connect_seconds=self._connect_seconds,
            trust=self._trust,
            scratch=self._scratch,
        )
        return pool

    def _watch_over(self) -> None:
        """End every exchange in which nothing has moved for too long. Runs for as long as there are any."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        busy = [connection for pool in self._pools.values() for connection in pool.busy]
        seen: dict[Connection, tuple[object, float]] = {}
        for connection in busy:
            progress, since = self._seen.get(connection, (None, now))
            if progress != connection.progress:
                since = now
            elif now - since >= self._stall_seconds:
                connection.fail(f"nothing moved for {self._stall_seconds:g} seconds: too slow, or gone")
            seen[connection] = connection.progress, since
        self._seen = seen
        self._watch = loop.call_later(self._stall_seconds / 4, self._watch_over) if busy else None


def retry_after(response: Response) -> float | None:
    """Seconds that the service asks to be left alone; None if it does not say, or says a date (S3 and GCS send seconds)."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None


def where(request: Request) -> str:
    """The request as an error may name it: no query, no user."""
    origin, target = _split(request.url)
    scheme, _, place = origin.partition("://")
    return f"{request.method} {scheme}://{place.rpartition('@')[2]}{target.partition('?')[0]}"


def _split(url: str) -> tuple[str, str]:
    """Origin and target of a URL."""
    start = url.find("/", 8)
    mark = url.find("?", 8)
    if 0 <= mark < start or (start < 0 <= mark):
        return url[:mark], "/" + url[mark:]
    return (url, "/") if start < 0 else (url[:start], url[start:])
