"""One connection to a server, and one request on it at a time.

A protocol on the event loop's own transport, and not libcurl: a small request costs 19 µs of CPU instead of 32, over TLS 25
instead of 80, and the bytes of a large one are received where they stay (docs/performance.md tells how that was measured).
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from common.transport.message import MOST_HEAD, MOST_INTERIM, Chunks, Head, ProtocolError, answer_head, chunked, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

SLICE = 512 * 1024
"""Bytes of a request that are given to the socket, or to TLS, at a time: a whole part at once would be held twice."""

SLOW_STEPS = 64
"""So many times a body may grow by a single byte and count as moving (S3 keeps a connection alive with a space now and then while
it puts an object together); after that by SLOW_BYTES at a time. So a body that drips is given up in the end."""
SLOW_BYTES = 1024

_WITHOUT_BODY = (204, 304)


class BrokenError(Exception):
    """The exchange ended without a whole answer. The text says how, for people."""

    def __init__(self, text: str, *, unanswered: bool = False) -> None:
        super().__init__(text)
        self.unanswered = unanswered
        """The connection was closed before the first byte of an answer, as a server may do with one that was idle."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.BufferedProtocol):
    """Belongs to one event loop. `scratch` may be shared by all connections of that loop: between `get_buffer` and
    `buffer_updated` nothing else runs.
    """

    def __init__(self, scratch: memoryview) -> None:
        self.reusable = False
        self.used = False
        """An answer has come on it before."""
        self.announced = False
        """The last answer announced a body that it does not have: to HEAD, or with 304."""
        self.out_of_step = False
        """Bytes came that belong to no answer."""
        self._scratch = scratch
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Head] | None = None
        self._head_only = False
        self._most = 0
        self._exchanges = 0
        self._interim = 0
        self._received = 0
        self._unsent: memoryview | None = None
        self._paused = False
        self._begin()

    def _begin(self) -> None:
        self._pending = b""
        self._heading = bytearray()
        self._head: Head | None = None
        self._body: bytearray | None = None
        self._counted: io.BytesIO | None = None
        self._place: memoryview | None = None
        self._filled = 0
        self._chunks: Chunks | None = None
        self._to_its_end = False

    async def exchange(self, head: bytes, body: bytes, most: int, *, head_only: bool) -> Answer:
        """Send a request and return the answer to it, with a body of at most `most` bytes; `head_only` for HEAD.

        Raises BrokenError. Afterwards `reusable` tells whether another request may follow; a cancelled one leaves the
        connection closed.
        """
        if self._transport.is_closing():  # nobody would tell: `connection_lost` has been called already, or finds nobody waiting
            raise BrokenError("the connection was closed before the request was sent", unanswered=True)
        answer: asyncio.Future[Head] = self._loop.create_future()
        self._answer = answer
        self._head_only = head_only
        self._most = most
        self._exchanges += 1
        self._interim = 0
        self._received = 0
        self.reusable = False
        if len(body) <= SLICE:
            self._transport.write(head + body if body else head)
        else:
            self._transport.write(head)
            self._unsent = memoryview(body)
            self._send()
        try:
            found = await answer
            return Answer(found.status, found.headers, self._whole())
        finally:
            self._answer = None
            self._unsent = None
            self._begin()
            if not self.reusable:
                self.abort()

    @property
    def progress(self) -> tuple[int, ...]:
        """Changes whenever the exchange gets on: bytes are sent, a head is whole, a body grows. A head, a chunk's own line and
        the trailers have to come whole in the time in which something must move: by the byte they could take for ever.
        """
        body = self._grown()
        steps = min(body, SLOW_STEPS) + body // SLOW_BYTES
        got = (self._interim, bool(self._received), self._head is None, steps)
        return self._exchanges, *got, len(self._unsent or b""), self._transport.get_write_buffer_size()

    def _grown(self) -> int:
        """Bytes of the body that have come."""
        if self._place is not None:
            return self._filled
        return len(self._chunks.body) if self._chunks is not None else len(self._body or b"")

    @property
    def closed(self) -> bool:
        return self._transport.is_closing()

    def fail(self, text: str, *, unanswered: bool = False) -> None:
        """End the exchange, and the connection with it."""
        self.reusable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(BrokenError(text, unanswered=unanswered))
        self.abort()

    def abort(self) -> None:
        """Close without sending what is left."""
        self.reusable = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._transport.set_write_buffer_limits(high=SLICE)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send()

    def _send(self) -> None:
        while self._unsent and not self._paused and not self._transport.is_closing():
            piece, self._unsent = self._unsent[:SLICE], self._unsent[SLICE:]
            self._transport.write(piece)

    def get_buffer(self, _: int) -> memoryview:
        return self._scratch if self._place is None else self._place[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._answer is None or self._answer.done():
            self.out_of_step = True
            self.abort()
            return
        self._received += nbytes
        if self._place is not None:
            self._filled += nbytes
            if self._filled == len(self._place):
                self._finish()
            return
        try:
            self._feed(bytes(self._scratch[:nbytes]))
        except ProtocolError as error:
            self.fail(str(error))

    def eof_received(self) -> None:
        """The transport closes itself; what that means is for `connection_lost` to say."""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is None or self._answer.done():
            self.reusable = False
            return
        if exc is None and self._to_its_end:
            self._finish()  # the end of the connection is the end of the body (RFC 9112, 6.3)
            return
        how = "was closed" if exc is None else f"broke ({exc})"
        if self._head is None:
            self.fail(f"the connection {how} before an answer came", unanswered=self._received == 0)
        elif self._place is not None:
            self.fail(f"the connection {how} with {len(self._place) - self._filled} bytes missing")
        else:
            self.fail(f"the connection {how} before the end of the body")

    def _feed(self, data: bytes) -> None:
        if self._head is None:
            self._feed_head(data)
        elif self._chunks is not None:
            whole = self._chunks.feed(data)
            self._not_too_long(len(self._chunks.body))
            if whole:
                self._finish(surplus=bool(self._chunks.rest))
        elif self._body is not None:
            self._not_too_long(len(self._body) + len(data))
            self._body += data

    def _feed_head(self, data: bytes) -> None:
        while data:
            end = data.find(b"\r\n\r\n") if not self._heading else -1
            if end < 0:
                end, data = self._gather(data)
                if end < 0:
                    return
            if end > MOST_HEAD:
                raise ProtocolError(f"the answer's headers are longer than {MOST_HEAD} bytes")
            head, data = answer_head(data[:end]), data[end + 4 :]
            if head.status >= 200:
                self._begin_body(head, data)
                return
            self._pass_interim(head)

    def _gather(self, data: bytes) -> tuple[int, bytes]:
        """Put a head together that comes in pieces: where it ends, or -1, and all that came."""
        heading = self._heading
        known = max(0, len(heading) - 3)
        heading += data
        end = heading.find(b"\r\n\r\n", known)
        if end < 0 and len(heading) > MOST_HEAD:
            raise ProtocolError(f"the answer's headers are longer than {MOST_HEAD} bytes")
        if end < 0:
            return end, b""
        self._heading = bytearray()
        return end, bytes(heading)

    def _pass_interim(self, head: Head) -> None:
        """100 or 103: the answer itself is still to come."""
        self._interim += 1
        if head.status == 101:
            raise ProtocolError("the answer changes the protocol, and nobody asked for that")
        if self._interim > MOST_INTERIM:
            raise ProtocolError(f"more than {MOST_INTERIM} answers of the kind 1xx came, and none behind them")

    def _begin_body(self, head: Head, rest: bytes) -> None:
        self._head = head
        in_chunks, length = chunked(head), counted(head)
        self.announced = False
        if self._head_only or head.status in _WITHOUT_BODY:
            self.announced = in_chunks or bool(length)
            self.out_of_step = bool(rest)
            self._finish(surplus=bool(rest))
        elif in_chunks:
            self._chunks = Chunks()
            self._feed(rest)
        elif length is not None:
            self._not_too_long(length)
            self._take_counted(rest, length)
        else:
            self._body = bytearray()
            self._to_its_end = True
            self._feed(rest)

    def _take_counted(self, data: bytes, length: int) -> None:
        if len(data) >= length:
            self._pending = data[:length]
            self._finish(surplus=len(data) > length)
            return
        # Received where it stays: the memory of a BytesIO becomes its value, without a copy. Lengthened by writing its last byte.
        self._counted = io.BytesIO()
        self._counted.seek(length - 1)
        self._counted.write(b"\0")
        self._place = self._counted.getbuffer()
        self._place[: len(data)] = data
        self._filled = len(data)

    def _not_too_long(self, length: int) -> None:
        if length > self._most:
            raise ProtocolError(f"the answer is longer than the {self._most} bytes that were expected at most")

    def _finish(self, *, surplus: bool = False) -> None:
        head, answer = self._head, self._answer
        if head is None or answer is None or answer.done():
            return
        self._place = None  # what comes now is none of it, be it only the end of the connection
        # An answer that came before the whole request was sent (a refusal) leaves the rest of it on the line.
        sent = not self._unsent and not self._transport.get_write_buffer_size()
        self.reusable = head.reusable and sent and not surplus and not self._to_its_end
        self.used = True
        answer.set_result(head)

    def _whole(self) -> bytes:
        if self._counted is not None:
            return self._counted.getvalue()
        if self._chunks is not None:
            return bytes(self._chunks.body)
        return self._pending if self._body is None else bytes(self._body)
