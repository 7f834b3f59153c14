"""What goes over the wire, seen from a stand-in: a request with a body that is read when the service wants it, and an answer."""

from __future__ import annotations

import email.utils
import http
import time
import urllib.parse
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.fakes.http.connection import Connection

T = TypeVar("T")

MOST_HEAD = 64 * 1024
NO_BODY = frozenset({204, 304})


class PeerGoneError(Exception):
    """The client closed the connection in the middle of an exchange."""


class BadRequestError(Exception):
    """What came in is not HTTP/1.1; the connection cannot be used any further."""


class Framing(StrEnum):
    """How the client learns where the body ends."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class End(StrEnum):
    """What happens to the connection after the answer."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"


@dataclass(slots=True)
class Response:
    """An answer. `length` is the Content-Length to declare when it is not that of `body` (a streamed or a truncated one)."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""
    framing: Framing = Framing.LENGTH
    length: int | None = None
    end: End = End.KEEP

    @classmethod
    def none(cls) -> Response:
        """No answer at all: the connection just ends."""
        return cls(status=0, end=End.RESET)


class Body:
    """The request body. Nothing is asked of the client (100-continue) before the first read."""

    __slots__ = ("_chunked", "_connection", "_expect", "_mark", "_reached", "_remaining", "received")

    def __init__(self, connection: Connection, headers: dict[str, str]) -> None:
        self._connection = connection
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise BadRequestError(f"Content-Length {length!r}")
        self._remaining = 0 if self._chunked else int(length)
        self._expect = headers.get("expect", "").lower() == "100-continue"
        self._mark: int | None = None
        self._reached: Callable[[], Awaitable[None]] | None = None
        self.received = 0

    def mark(self, at: int, reached: Callable[[], Awaitable[None]]) -> None:
        """Call `reached` when exactly `at` bytes have been read; what it raises comes out of the read."""
        self._mark, self._reached = at, reached

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.stream()])

    async def stream(self) -> AsyncIterator[bytes | bytearray]:
        while piece := await self._next():
            yield piece

    async def peek(self, found: Callable[[bytes], T | None]) -> T | None:
        """Look at the first 64 KiB without consuming them, as they arrive, until `found` returns something."""
        self._continue()
        most = MOST_HEAD if self._chunked else min(self._remaining, MOST_HEAD)
        while True:
            seen = bytes(self._connection.buffer[:most])
            if (answer := found(seen)) is not None or len(seen) >= most:
                return answer
            await self._connection.wait()

    @property
    def withheld(self) -> bool:
        """Whether the client waits to be asked for it (100-continue), and after any other answer may never send it."""
        return self._expect and (self._chunked or self._remaining > 0)

    async def drain(self) -> None:
        """Throw the rest away so that the next request can follow."""
        self._mark = None
        async for _ in self.stream():
            continue

    def _continue(self) -> None:
        if self._expect:
            self._expect = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _next(self) -> bytes | bytearray:
        most = 1 << 62
        if self._mark is not None and self._reached is not None:
            if self.received >= self._mark:
                self._mark = None
                await self._reached()
            else:
                most = self._mark - self.received
        self._continue()
        if self._chunked and not self._remaining:
            await self._next_chunk()
        if not self._remaining:
            return b""
        piece = await self._connection.take(min(most, self._remaining))
        self.received += len(piece)
        self._remaining -= len(piece)
        if self._chunked and not self._remaining:
            await self._connection.line()
        return piece

    async def _next_chunk(self) -> None:
        size = (await self._connection.line()).partition(b";")[0].strip()
        try:
            self._remaining = int(size, 16)
        except ValueError:
            raise BadRequestError(f"chunk size {size!r}") from None
        if not self._remaining:
            self._chunked = False
            while await self._connection.line():
                continue


@dataclass(slots=True)
class Request:
    """One request. Header names are lower case; the path is as it came, not decoded."""

    method: str
    path: str
    query_string: str
    headers: dict[str, str]
    body: Body
    keep_alive: bool

    @property
    def query(self) -> dict[str, str]:
        """The query, decoded; of a repeated name the last value counts."""
        return dict(urllib.parse.parse_qsl(self.query_string, keep_blank_values=True))


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return email.utils.formatdate(second, usegmt=True)


@lru_cache(maxsize=100)
def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Unknown"


def head(response: Response, length: int | None) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}", f"Date: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    if response.framing is Framing.CHUNKED:
        lines.append("Transfer-Encoding: chunked")
    elif response.framing is Framing.LENGTH and response.status not in NO_BODY:
        lines.append(f"Content-Length: {length}")
    if response.end is not End.KEEP:
        lines.append("Connection: close")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1")
