"""The server around the connections: an address, a life cycle in a loop or in a thread, and the one method a stand-in writes."""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from tests.fakes.http.connection import Connection
from tests.fakes.http.message import BadRequestError, PeerGoneError, Request, Response

if TYPE_CHECKING:
    import ssl

_TURNS_TO_CONNECT = 4
"""asyncio needs three turns of the loop from an accepted socket to `connection_made`. It loses, unclosed, a socket that was
accepted before `Server.close` and would become a connection after it, so we stop accepting first."""

log = logging.getLogger(__name__)


class HttpServer(ABC):
    """A server; port 0 lets it choose. `failures` holds what escaped `handle`: a test asserts that it is empty."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.host, self.port, self._tls = host, port, tls
        self.connections: set[Connection] = set()
        self.failures: list[Exception] = []
        self._server: asyncio.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @abstractmethod
    async def handle(self, request: Request) -> Response: ...

    async def answer(self, request: Request) -> Response:
        try:
            return await self.handle(request)
        except (PeerGoneError, BadRequestError):
            raise
        except Exception as error:
            log.exception("%s %s", request.method, request.path)
            self.failures.append(error)
            return Response(500, [("Content-Type", "text/plain")], repr(error).encode())

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), self.host, self.port, ssl=self._tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(_TURNS_TO_CONNECT):
            await asyncio.sleep(0)
        server.close()
        tasks = [connection.task for connection in self.connections]
        for connection in list(self.connections):
            connection.transport.abort()
            connection.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self.connections:  # noqa: ASYNC110 - one turn of the loop, in which an aborted transport lets go of its socket
            await asyncio.sleep(0)
        await server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __enter__(self) -> Self:
        ready = threading.Event()
        problem: list[BaseException] = []
        self._thread = threading.Thread(target=self._run_in_thread, args=(ready, problem), name=type(self).__name__, daemon=True)
        self._thread.start()
        ready.wait()
        if problem:
            raise problem[0]
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run_in_thread(self, ready: threading.Event, problem: list[BaseException]) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            try:
                await self.start()
            except OSError as error:
                problem.append(error)
                return
            finally:
                ready.set()
            await self._stop.wait()
            await self.close()

        asyncio.run(main())
