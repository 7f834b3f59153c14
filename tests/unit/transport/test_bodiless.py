"""Servers that send the body after all which they announce in the answer to HEAD: it is never taken for another answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.transport import bodiless
from common.transport.http import Request, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FORGED = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
REAL = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nreal"


class Server:
    """Answers HEAD with the length of a body; whether the body comes, and when, is `late`'s business."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.lying = False
        self.late = asyncio.Event()
        self.ended = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not head.startswith(b"HEAD"):
                    writer.write(REAL)
                    continue
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(FORGED))
                if self.lying:
                    await writer.drain()
                    await self.late.wait()
                    writer.write(FORGED)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            self.ended.release()
            writer.close()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    # The time of listening ends when a test says so
    monkeypatch.setattr(bodiless, "LISTEN_SECONDS", 3600)
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    await transport.close()


async def ask(transport: Transport, server: Server, method: str) -> bytes:
    return (await transport.send(Request(method, server.url + "/", expect=100))).body


def listened(transport: Transport, server: Server) -> None:
    transport._pools[server.url]._bodiless._end()


async def test_a_body_behind_head_is_never_another_answer(server: Server, transport: Transport) -> None:
    # Given a server that sends the body of HEAD a moment later, and it looks like an answer
    server.lying = True
    assert await ask(transport, server, "HEAD") == b""
    # When another request is sent meanwhile, then it goes out on another connection
    assert await ask(transport, server, "GET") == b"real"
    assert server.connections == 2
    # When the body comes, then its connection is ended
    server.late.set()
    await asyncio.wait_for(server.ended.acquire(), 20)
    listened(transport, server)
    # And no connection is used again behind a HEAD, to this server
    for _ in range(3):
        assert await ask(transport, server, "HEAD") == b""
        assert await ask(transport, server, "GET") == b"real"
    await asyncio.wait_for(server.ended.acquire(), 20)


async def test_a_server_that_keeps_the_body_back_is_listened_to_once(server: Server, transport: Transport) -> None:
    # Given a server that does as it should
    for _ in range(2):
        await ask(transport, server, "HEAD")
    assert server.connections == 2
    # When it has been listened to
    listened(transport, server)
    # Then connections are used again, those that were held back as well
    for method in ("HEAD", "GET", "HEAD", "HEAD", "GET"):
        assert await ask(transport, server, method) == (b"real" if method == "GET" else b"")
    assert server.connections == 2


async def test_one_that_begins_to_lie_later_is_noticed(server: Server, transport: Transport) -> None:
    await ask(transport, server, "HEAD")
    listened(transport, server)
    # Given a server that was quiet, and is not any more
    server.lying = True
    await ask(transport, server, "HEAD")
    server.late.set()
    await asyncio.wait_for(server.ended.acquire(), 20)
    # Then what it sent ends the connection, and the next HEAD's is not used again
    assert await ask(transport, server, "GET") == b"real"
    await ask(transport, server, "HEAD")
    assert await ask(transport, server, "GET") == b"real"
    assert server.connections == 3


async def test_requests_that_wait_for_a_connection_get_those_that_were_held_back(server: Server) -> None:
    transport = Transport(most_connections=1)
    await ask(transport, server, "HEAD")
    waiting = asyncio.create_task(ask(transport, server, "GET"))
    await asyncio.sleep(0)
    listened(transport, server)
    assert await waiting == b"real"
    assert server.connections == 1
    await transport.close()


async def test_closing_ends_what_is_held_back(server: Server, transport: Transport) -> None:
    await ask(transport, server, "HEAD")
    await transport.close()
    await asyncio.wait_for(server.ended.acquire(), 20)
