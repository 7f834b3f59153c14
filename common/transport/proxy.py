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

from common.transport.message import MOST_HEAD, MOST_INTERIM, ProtocolError, answer_head

if TYPE_CHECKING:
    import ssl

    from common.transport.connection import Connection
    from common.transport.dial import Server


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


async def tunnel(proxy: Proxy, gate: Server, server: tuple[str, int], context: ssl.SSLContext, connection: Connection) -> None:
    """Connect to the server (host and port) through the proxy at `gate`, with TLS from here to the server. Raises OSError."""
    host, port = server
    loop = asyncio.get_running_loop()
    sock, _ = await gate.connect()
    transport, heard = await loop.create_connection(_Gate, sock=sock)
    try:
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {name} HTTP/1.1", f"Host: {name}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        transport.write("\r\n".join([*lines, "\r\n"]).encode("latin-1"))
        heard.check(await heard.opened, f"the proxy {proxy.host}:{proxy.port}", name)
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
        self._interim = 0

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return  # the transport is closed: what was to be heard has been heard
        self._heard += data
        try:
            status = self._status()
        except ProtocolError as error:
            self.opened.set_exception(OSError(f"what HTTPS_PROXY names does not speak HTTP as a proxy does: {error}"))
        else:
            if status is not None:
                self.opened.set_result(status)

    def _status(self) -> int | None:
        """What the proxy says at last; None while that is still to come. Raises ProtocolError."""
        while (end := self._heard.find(b"\r\n\r\n")) >= 0:
            head, rest = answer_head(bytes(self._heard[:end])), self._heard[end + 4 :]
            if head.status >= 200:
                if head.status == 200 and rest:
                    raise ProtocolError("it says more than that the way is open")  # the server waits for us to begin (TLS)
                return head.status
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise ProtocolError(f"more than {MOST_INTERIM} answers of the kind 1xx")
            self._heard = rest
        if len(self._heard) > MOST_HEAD:
            raise ProtocolError(f"its headers are longer than {MOST_HEAD} bytes")
        return None

    def check(self, status: int, proxy: str, name: str) -> None:
        if status != 200:
            raise OSError(f"{proxy} does not let us through to {name}: it answers {status}")

    def connection_lost(self, _: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(OSError("the proxy closed the connection"))
