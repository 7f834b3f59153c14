"""One answer as llhttp reads it, and as our connection does: two readings that can be compared."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import httptools

from common.transport.connection import BrokenError, Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRATCH = memoryview(bytearray(64 * 1024))


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of the bytes of one connection. `refused` is the reason, else None; the rest holds for a whole answer only."""

    refused: str | None = None
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    reusable: bool = False
    end: int = 0
    """How many bytes the answer took, of all that came."""


class _Heard:
    """The callbacks of httptools, for one connection. Ends with the first answer that is no 1xx."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.body = b""
        self.began = False
        self.whole = False
        self.reusable = False

    def on_message_begin(self) -> None:
        if not self.whole:
            self.headers, self.body, self.began = {}, b"", False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.began:  # what comes later is a trailer
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1").rstrip(" \t")

    def on_headers_complete(self) -> None:
        self.began = True

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() >= 200:
            self.whole = True
            self.reusable = self.parser.should_keep_alive()

    @property
    def ends_with_the_connection(self) -> bool:
        framed = {"content-length", "transfer-encoding"} & set(self.headers)
        return self.began and not framed and self.parser.get_status_code() >= 200


def llhttp(wire: bytes) -> Reading:
    """Byte by byte, so that it is known where the answer ends."""
    heard = _Heard()
    end = 0
    try:
        while end < len(wire) and not heard.whole:
            heard.parser.feed_data(wire[end : end + 1])
            end += 1
    except httptools.HttpParserUpgrade:
        return Reading("llhttp: the protocol is changed")
    except httptools.HttpParserError as error:
        return Reading(f"llhttp: {error}")
    if not heard.whole and not heard.ends_with_the_connection:
        return Reading("llhttp: cut short")
    status = heard.parser.get_status_code()
    return Reading(None, status, tuple(sorted(heard.headers.items())), heard.body, heard.whole and heard.reusable, end)


class Wire:
    """A transport that takes everything and only knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


async def ours(pieces: Sequence[bytes], *, most: int = 1 << 20, head_only: bool = False) -> Reading:
    """As our connection reads it, in these pieces, the last of which is followed by the end of the connection."""
    connection, wire = Connection(SCRATCH), Wire()
    connection.connection_made(cast("Any", wire))
    task = asyncio.ensure_future(connection.exchange(b"GET / HTTP/1.1\r\n\r\n", b"", most, head_only=head_only))
    await asyncio.sleep(0)
    end = 0
    for piece in pieces:
        if _answered(connection) or wire.closed:
            break
        receive(connection, piece)
        end += len(piece)
    if not _answered(connection) and not wire.closed:
        connection.connection_lost(None)
    try:
        answer = await task
    except BrokenError as error:
        return Reading(str(error))
    return Reading(None, answer.status, tuple(sorted(answer.headers.items())), answer.body, connection.reusable, end)


def _answered(connection: Connection) -> bool:
    return connection._answer is None or connection._answer.done()


def receive(connection: Connection, data: bytes) -> None:
    """As the loop does: into the buffer that it is given, as much as that holds at a time."""
    while data:
        place = connection.get_buffer(-1)
        taken = min(len(place), len(data))
        place[:taken] = data[:taken]
        connection.buffer_updated(taken)
        data = data[taken:]
