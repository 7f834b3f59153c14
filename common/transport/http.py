"""Requests and answers over libcurl: the one place where bytes enter and leave the process over HTTP.

One `Transport` holds one CurlMulti on the running event loop; every request is a coroutine, connections are kept and shared.
An answer is taken whole into memory, and never more of it than the request says it expects: callers ask for bounded spans.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import certifi
import pycurl

from common.errors import Unavailable
from common.transport.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ERROR_BYTES = 64 * 1024
"""Room above the expected body for an error document."""

_BUFFER_BYTES = 512 * 1024
"""libcurl's largest receive and upload buffers that still help: fewer calls back into Python per part."""

_SILENT = (("Expect", ""), ("Content-Type", ""), ("Accept-Encoding", "identity"), ("User-Agent", "bucketbrigade"))
"""Sent unless the request says otherwise. "Expect: 100-continue" would cost a round trip for every part, and a compressed
body is not the object: an edge or a proxy may only send the bytes as they are."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `url` is final and sent as it stands, dot segments and all. Header names and values are Latin-1."""

    method: str
    url: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    expect: int = 0
    """The largest body that a good answer may have, in bytes; a longer one is an error, whatever its status."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    """Names in lower case; of a repeated header the last value."""
    body: bytes


class Transport:
    """HTTP for one event loop. Not thread-safe. `close` gives up what is under way and may be called twice.

    There is no time limit on a whole request, because a large part over a thin line takes what it takes, but there is one on
    connecting, and one on silence: less than a byte a second for `stall_seconds` ends the request.
    """

    def __init__(self, *, most_connections: int = 256, connect_seconds: float = 10, stall_seconds: int = 60) -> None:
        self._engine = Engine(most_connections=most_connections)
        self._connect_milliseconds = int(connect_seconds * 1000)
        self._stall_seconds = stall_seconds
        self._idle: list[Any] = []
        self._closed = False

    async def send(self, request: Request) -> Response:
        """The answer, whatever its status. Raises Unavailable when there is none, or when it is cut short or too long.

        The error names method, host and path, never the query: that may hold a signature or an upload session.
        """
        if self._closed:
            raise Unavailable(f"{where(request)}: the transport is closed")
        handle = self._idle.pop() if self._idle else self._new_handle()
        body: list[bytes] = []
        lines: list[bytes] = []
        self._load(handle, request, body, lines)
        try:
            await self._engine.perform(handle)
            status = handle.getinfo(pycurl.RESPONSE_CODE)
        except pycurl.error as error:
            raise Unavailable(f"{where(request)}: {error.args[1]} (curl {error.args[0]})") from None
        finally:
            self._unload(handle)
        return Response(status, _headers(lines), body[0] if len(body) == 1 else b"".join(body))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._engine.close()
            for handle in self._idle:
                handle.close()
            self._idle.clear()

    def _new_handle(self) -> Any:
        handle = pycurl.Curl()
        for option, value in (
            (pycurl.NOSIGNAL, 1),
            (pycurl.PATH_AS_IS, 1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.CONNECTTIMEOUT_MS, self._connect_milliseconds),
            (pycurl.LOW_SPEED_LIMIT, 1),
            (pycurl.LOW_SPEED_TIME, self._stall_seconds),
            (pycurl.TCP_KEEPALIVE, 1),
            (pycurl.BUFFERSIZE, _BUFFER_BYTES),
            (pycurl.CAINFO, certifi.where()),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
        ):
            handle.setopt(option, value)
        return handle

    def _load(self, handle: Any, request: Request, body: list[bytes], lines: list[bytes]) -> None:
        named = {name.lower() for name, _ in request.headers}
        headers = [*request.headers, *(header for header in _SILENT if header[0].lower() not in named)]
        handle.setopt(pycurl.URL, request.url)
        handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}".encode("latin-1") for name, value in headers])
        handle.setopt(pycurl.WRITEFUNCTION, body.append)
        handle.setopt(pycurl.HEADERFUNCTION, lines.append)
        handle.setopt(pycurl.MAXFILESIZE_LARGE, request.expect + ERROR_BYTES)
        if request.method == "GET":
            handle.setopt(pycurl.HTTPGET, 1)
        elif request.method == "HEAD":
            handle.setopt(pycurl.NOBODY, 1)
            handle.setopt(pycurl.MAXFILESIZE_LARGE, 0)  # libcurl holds the announced length against the limit, body or not
        else:
            handle.setopt(pycurl.POSTFIELDS, request.body)
            handle.setopt(pycurl.CUSTOMREQUEST, request.method)

    def _unload(self, handle: Any) -> None:
        """Make the handle ready for the next request: nothing of this one stays, neither its method nor its bytes."""
        handle.setopt(pycurl.NOBODY, 0)
        handle.setopt(pycurl.HTTPGET, 1)
        handle.unsetopt(pycurl.CUSTOMREQUEST)
        handle.setopt(pycurl.POSTFIELDS, b"")
        handle.setopt(pycurl.HTTPGET, 1)
        self._idle.append(handle)


def retry_after(response: Response) -> float | None:
    """Seconds that the service asks to be left alone; None if it does not say, or says a date (S3 and GCS send seconds)."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None


def where(request: Request) -> str:
    """The request as an error may name it: no query, no user."""
    parts = urlsplit(request.url)
    return f"{request.method} {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _headers(lines: list[bytes]) -> dict[str, str]:
    """Of the final answer: a 100 or 103 may have come first, with a status line and headers of its own."""
    headers: dict[str, str] = {}
    for line in b"".join(lines).decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.lower()] = value.strip()
        elif line.startswith("HTTP/"):
            headers.clear()
    return headers
