"""What a proxy may answer to CONNECT: its heads are read as strictly as those of servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.errors import Unavailable
from common.transport.http import Request, Transport
from common.transport.message import MOST_HEAD, MOST_INTERIM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PASSWORD = "p4ssw0rd"


class Proxy:
    """Answers `says`, in pieces of `size` bytes, to whoever connects, and keeps the connection open."""

    def __init__(self) -> None:
        self.says = b""
        self.size = 1 << 20
        self.came: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.came.append(await reader.readuntil(b"\r\n\r\n"))
            for at in range(0, len(self.says), self.size):
                writer.write(self.says[at : at + self.size])
                await writer.drain()
            await reader.read()
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    for name in ("https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PASSWORD}@127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        yield proxy


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", "it answers 403"),
        (b"HTTP/1.1 407 \r\n\r\n", "it answers 407"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "it answers 204"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n", "a header that is none"),
        (b"HTTP/1.1 200 OK\r\nX y: a\r\n\r\n", "a header that is none"),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", "does not begin"),
        (b"HTTP/1.1 200\nX: a\n\n\r\n\r\n", "does not begin"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "does not begin"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03 forged", "more than that the way is open"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_INTERIM + 1), "of the kind 1xx"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * MOST_HEAD, "headers are longer"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:20].decode("latin-1"),
)
@pytest.mark.parametrize("size", [1 << 20, 997])
async def test_a_proxy_that_says_something_else_is_refused(proxy: Proxy, says: bytes, reason: str, size: int) -> None:
    # Given a proxy that answers so, and keeps the connection open
    proxy.says, proxy.size = says, size
    transport = Transport()
    # When a request goes through it
    with pytest.raises(Unavailable, match=reason) as refused:
        await transport.send(Request("GET", "https://server.example/x?signature=secret"))
    # Then it ends at once with the reason, and nothing that is secret is said
    assert PASSWORD not in str(refused.value)
    assert "secret" not in str(refused.value)
    assert len(proxy.came) == 1
    await transport.close()


async def test_interim_answers_of_a_proxy_are_read_past(proxy: Proxy) -> None:
    proxy.says = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    proxy.size = 3
    transport = Transport()
    with pytest.raises(Unavailable, match="it answers 407"):
        await transport.send(Request("GET", "https://server.example/"))
    await transport.close()
