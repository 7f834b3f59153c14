"""One client connection, as a raw asyncio protocol: asyncio's streams would hide its end and its buffers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import TYPE_CHECKING

from tests.fakes.http.message import (
    MOST_HEAD,
    NO_BODY,
    BadRequestError,
    Body,
    End,
    Framing,
    PeerGoneError,
    Request,
    Response,
    head,
)

if TYPE_CHECKING:
    from tests.fakes.http.server import HttpServer

_MOST_BUFFERED = 1024 * 1024
_SLICE = 256 * 1024
_LINGER_SECONDS = 2.0

log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """One client connection: requests one after the other, answered by the server it belongs to."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self.buffer = bytearray()
        self._gone = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.transport: asyncio.Transport
        self.task: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=_MOST_BUFFERED)
        self.transport = transport
        self.task = asyncio.get_running_loop().create_task(self._serve())
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) >= _MOST_BUFFERED and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._gone = True
        self._wake()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self._server.connections.discard(self)
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until more has arrived."""
        if self._gone:
            raise PeerGoneError
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _took(self) -> None:
        if self._paused and len(self.buffer) < _MOST_BUFFERED:
            self._paused = False
            self.transport.resume_reading()

    async def take(self, most: int) -> bytearray:
        """1 to `most` bytes."""
        while not self.buffer:
            await self.wait()
        if len(self.buffer) <= most:
            piece, self.buffer = self.buffer, bytearray()
        else:
            piece = self.buffer[:most]
            del self.buffer[:most]
        self._took()
        return piece

    async def line(self, end: bytes = b"\r\n") -> bytes:
        """Everything up to `end`, which is removed."""
        start = 0
        while (at := self.buffer.find(end, start)) < 0:
            start = max(0, len(self.buffer) - len(end) + 1)
            if start > MOST_HEAD:
                raise BadRequestError("a line or head without end")
            await self.wait()
        found = bytes(self.buffer[:at])
        del self.buffer[: at + len(end)]
        self._took()
        return found

    def write(self, data: bytes | memoryview) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    async def flush(self, *, wholly: bool = False) -> None:
        if wholly:
            self.transport.set_write_buffer_limits(high=0)
        await self._writable.wait()
        if self.transport.is_closing():
            raise PeerGoneError

    def reset(self) -> None:
        """End with an RST: the client sees 'connection reset', not an orderly end."""
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # already gone
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def _serve(self) -> None:
        try:
            with contextlib.suppress(PeerGoneError):
                while await self._exchange():
                    continue
        except BadRequestError as error:
            self.write(head(Response(400, end=End.CLOSE), 0))
            log.info("refused: %s", error)
        finally:
            self.transport.close()

    async def _exchange(self) -> bool:
        while not (raw := await self.line(b"\r\n\r\n")).strip():
            continue
        request = self._parse(raw)
        response = await self._server.answer(request)
        # What is closed without a word (Connection: close) may be given the client's next request first.
        if response.framing is Framing.CLOSE or not request.keep_alive or request.body.withheld:
            response.end = response.end if response.end is End.RESET else End.CLOSE
        if response.status:
            await self._send(request, response)
        if response.end is End.RESET:
            if response.status:
                await self.flush(wholly=True)
                await asyncio.sleep(0.02)  # an RST overtakes what the client has not read yet
            self.reset()
            return False
        if request.body.withheld:
            await self._linger()
        else:
            await request.body.drain()
        return response.end is End.KEEP

    async def _linger(self) -> None:
        """A client that tires of waiting sends its body after all, and a close over bytes that nobody has read is a reset, which
        may overtake the answer.
        """
        if self.transport.can_write_eof():
            self.transport.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while True:
                    self.buffer.clear()
                    self._took()
                    await self.wait()

    def _parse(self, raw: bytes) -> Request:
        first, *lines = raw.decode("latin-1").lstrip("\r\n").split("\r\n")
        try:
            method, target, version = first.split(" ")
        except ValueError:
            raise BadRequestError(f"request line {first!r}") from None
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if not target.startswith("/"):  # the absolute form, as sent to a proxy
            target = "/" + target.partition("://")[2].partition("/")[2]
        path, _, query = target.partition("?")
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return Request(method, path, query, headers, Body(self, headers), keep)

    async def _send(self, request: Request, response: Response) -> None:
        body = response.body
        silent = request.method == "HEAD" or response.status in NO_BODY
        if not isinstance(body, bytes):
            self.write(head(response, response.length))
            async for piece in body:
                await self._send_piece(piece, chunked=response.framing is Framing.CHUNKED)
            if response.framing is Framing.CHUNKED:
                self.write(b"0\r\n\r\n")
            return
        top = head(response, len(body) if response.length is None else response.length)
        if silent:
            self.write(top)
        elif response.framing is Framing.CHUNKED:
            self.write(top)
            await self._send_piece(body, chunked=True)
            self.write(b"0\r\n\r\n")
        elif len(body) < _SLICE:
            self.write(top + body)
        else:
            self.write(top)
            await self._send_piece(body, chunked=False)
        await self.flush()

    async def _send_piece(self, piece: bytes, *, chunked: bool) -> None:
        if not piece:
            return
        if chunked:
            self.write(b"%x\r\n" % len(piece))
        view = memoryview(piece)
        for start in range(0, len(piece), _SLICE):  # a whole large body in one write would be copied into the transport's buffer
            self.write(view[start : start + _SLICE])
            await self.flush()
        if chunked:
            self.write(b"\r\n")
