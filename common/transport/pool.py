"""Connections to one server: kept, shared, and opened when there is none to spare."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from common.transport.connection import BrokenError, Connection
from common.transport.proxy import proxy_for, tunnel

if TYPE_CHECKING:
    from common.trust import Trust

NAMES_KEPT_SECONDS = 30.0
"""How long the addresses of a server are believed. S3 answers with several, and others every few seconds: connections are spread
over them."""

_Address = tuple[str, int]


class Pool:
    """All connections to one origin (scheme, host and port), at most `most`. Not thread-safe."""

    def __init__(self, origin: str, *, most: int, connect_seconds: float, trust: Trust, scratch: memoryview) -> None:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BrokenError("the URL is neither http nor https")
        self.host = parts.netloc
        self._name = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._trust = trust
        self._tls = trust.context if parts.scheme == "https" else None
        self._left = most
        self._connect_seconds = connect_seconds
        self._scratch = scratch
        self._idle: deque[Connection] = deque()
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._addresses: list[_Address] = []
        self._asked = float("-inf")
        self._resolving = asyncio.Lock()
        self._turn = 0
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
        if not connection.reusable:
            self._left += 1
            self._wake()
        elif not self._wake(connection):
            self._idle.append(connection)

    def close(self) -> None:
        for connection in [*self.busy, *self._idle]:
            connection.fail("the transport was closed")
        self._idle.clear()
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
        connection = Connection(self._scratch)
        await tunnel(proxy, self._name, self._port, self._tls(), connection)
        return connection

    async def _connect_to_any(self) -> Connection:
        """To the next address in turn. One that does not answer is left out until the name is looked up again."""
        failure: OSError | None = None
        addresses = await self._resolve()
        while addresses:
            self._turn += 1
            address = addresses[self._turn % len(addresses)]
            try:
                async with asyncio.timeout(self._connect_seconds / 2 if len(addresses) > 1 else None):
                    return await self._connect_to(*address)
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
                if address in addresses:
                    addresses.remove(address)
        raise failure or OSError("its name has no address")

    async def _connect_to(self, host: str, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        context = self._tls() if self._tls else None
        transport, connection = await loop.create_connection(
            lambda: Connection(self._scratch), host, port, ssl=context, server_hostname=self._name if context else None
        )
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    async def _resolve(self) -> list[_Address]:
        loop = asyncio.get_running_loop()
        async with self._resolving:
            if not self._addresses or loop.time() - self._asked > NAMES_KEPT_SECONDS:
                found = await loop.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
                self._addresses = list(dict.fromkeys((str(info[4][0]), int(info[4][1])) for info in found))
                self._asked = loop.time()
        return self._addresses
