"""The way out of a network that lets nobody out but its proxy: HTTPS_PROXY and NO_PROXY, as other programs read them.

A tunnel (RFC 9110, 9.3.6): the proxy learns the server's name and sees ciphertext. Plain HTTP goes to its server directly; that
is an emulator or a store next door.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from common.transport.message import MOST_HEAD

if TYPE_CHECKING:
    import ssl

    from common.transport.connection import Connection


@dataclass(frozen=True, slots=True)
class Proxy:
    host: str
    port: int
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def proxy_for(host: str) -> Proxy | None:
    """The proxy that the environment names for TLS connections to `host`. Raises OSError when it names something else."""
    named = getproxies_environment().get("https")
    if not named or proxy_bypass(host):
        return None
    parts = urlsplit(named if "://" in named else f"http://{named}")
    if parts.scheme != "http" or not parts.hostname:
        raise OSError("HTTPS_PROXY is to be http://[user:password@]host:port")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname, parts.port or 3128, authorization)


async def tunnel(proxy: Proxy, host: str, port: int, context: ssl.SSLContext, connection: Connection) -> None:
    """Connect to the server through the proxy, with TLS from here to the server. Raises OSError."""
    loop = asyncio.get_running_loop()
    transport, gate = await loop.create_connection(_Gate, proxy.host, proxy.port)
    try:
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        transport.write("\r\n".join([*lines, "\r\n"]).encode("latin-1"))
        gate.check(await gate.opened, f"the proxy {proxy.host}:{proxy.port}", name)
        secured = await loop.start_tls(transport, connection, context, server_hostname=host)
    except BaseException:
        transport.abort()
        raise
    connection.connection_made(cast("asyncio.Transport", secured))


class _Gate(asyncio.Protocol):
    """Listens to the proxy until it says whether the tunnel is open."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._heard = b""

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self.opened.done() or (b"\r\n\r\n" not in self._heard and len(self._heard) <= MOST_HEAD):
            return
        words = self._heard.split(b"\r\n", 1)[0].split(b" ")
        if len(words) > 1 and words[1].isdigit() and words[0].startswith(b"HTTP/1."):
            self.opened.set_result(int(words[1]))
        else:
            self.opened.set_exception(OSError("what HTTPS_PROXY names does not speak HTTP"))

    def check(self, status: int, proxy: str, name: str) -> None:
        if status != 200:
            raise OSError(f"{proxy} does not let us through to {name}: it answers {status}")

    def connection_lost(self, _: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(OSError("the proxy closed the connection"))
