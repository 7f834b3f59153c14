"""Connections to one server: kept, shared, and opened when there is none to spare."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from common.transport.bodiless import Bodiless
from common.transport.connection import BrokenError, Connection
from common.transport.dial import Server
from common.transport.proxy import proxy_for, tunnel

if TYPE_CHECKING:
    import socket

    from common.transport.proxy import Proxy
    from common.trust import Trust


class Pool:
    """All connections to one origin (scheme, host and port), at most `most`. Not thread-safe."""

    def __init__(self, origin: str, *, most: int, connect_seconds: float, trust: Trust, scratch: memoryview) -> None:
        try:
            parts = urlsplit(origin)
            port = parts.port
        except ValueError:
            raise BrokenError("the URL has no host and port that can be read") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BrokenError("the URL is neither http nor https")
        self.host = parts.netloc.rpartition("@")[2]
        self._name = parts.hostname
        self._port = port or (443 if parts.scheme == "https" else 80)
        self._trust = trust
        self._tls = trust.context if parts.scheme == "https" else None
        self._left = most
        self._connect_seconds = connect_seconds
        self._scratch = scratch
        self._idle: deque[Connection] = deque()
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._server = Server(self._name, self._port)
        self._proxy: Proxy | None = None
        self._gate = self._server
        self._bodiless = Bodiless(self.give)
        self.busy: set[Connection] = set()

    async def take(self) -> Connection:
        """A connection for the caller alone, the one used last if there is one. Raises BrokenError when none can be had."""
        connection: Connection | None
        while True:
            while self._idle:
                connection = self._idle.pop()
                if connection.reusable and not connection.closed:
                    self.busy.add(connection)
                    return connection
                self._bodiless.noted(connection)
                self._left += 1
            if self._left > 0:
                return await self.open()
            if connection := await self._wait():
                if connection.reusable and not connection.closed:
                    return connection
                self.give(connection)  # the server has closed it meanwhile

    async def open(self) -> Connection:
        """A connection that nobody has used before."""
        self._left -= 1
        try:
            connection = await self._connect()
        except BaseException:
            self._left += 1
            self._wake()
            raise
        self.busy.add(connection)
        return connection

    def give(self, connection: Connection) -> None:
        """Take a connection back, whatever has become of it. Who has waited longest gets it."""
        self.busy.discard(connection)
        if self._bodiless.holds(connection):
            return
        if not connection.reusable:
            self._left += 1
            self._wake()
        elif not self._wake(connection):
            self._idle.append(connection)

    def close(self) -> None:
        for connection in [*self.busy, *self._idle]:
            connection.fail("the transport was closed")
        self._idle.clear()
        self._bodiless.close()
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(BrokenError("the transport was closed"))

    async def _wait(self) -> Connection | None:
        """A connection that another request is done with, or None: there may be room for one more now."""
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:  # it was ours; let the next one have it
                if connection := turn.result():
                    self.give(connection)
                else:
                    self._wake()
            raise

    def _wake(self, connection: Connection | None = None) -> bool:
        """Whether somebody waited."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                if connection is not None:
                    self.busy.add(connection)
                turn.set_result(connection)
                return True
        return False

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                return await self._connect_by_proxy() or await self._connect_to_any()
        except TimeoutError:
            raise BrokenError(f"no connection within {self._connect_seconds:g} seconds") from None
        except ssl.SSLCertVerificationError as error:
            said = error.verify_message
            raise BrokenError(f"the server's certificate is not trusted: {said}; {self._trust.advice(error)}") from None
        except OSError as error:
            raise BrokenError(f"cannot connect: {error.strerror or error}") from None

    async def _connect_by_proxy(self) -> Connection | None:
        """None where the environment names no proxy for this server."""
        proxy = proxy_for(self._name) if self._tls else None
        if proxy is None or self._tls is None:
            return None
        if proxy != self._proxy:
            self._proxy, self._gate = proxy, Server(proxy.host, proxy.port)
        connection = Connection(self._scratch)
        await tunnel(proxy, self._gate, (self._name, self._port), self._tls(), connection)
        return connection

    async def _connect_to_any(self) -> Connection:
        """To the address that answers first. One that takes the connection and says nothing to TLS costs half of the time."""
        while True:
            sock, address = await self._server.connect()
            try:
                async with asyncio.timeout(self._connect_seconds / 2 if self._tls else None):
                    return await self._speak(sock)
            except ssl.SSLError:
                raise
            except OSError:
                if not self._server.avoid(address):
                    raise

    async def _speak(self, sock: socket.socket) -> Connection:
        context = self._tls() if self._tls else None
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self._scratch), sock=sock, ssl=context, server_hostname=self._name if context else None
        )
        return connection
