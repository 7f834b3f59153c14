"""Requests and answers over libcurl: the only place where bytes leave or enter the process over HTTP.

One `Transport` holds one CurlMulti on the running event loop; every request is a coroutine, connections are kept and shared.
A response is taken whole into memory, never more than the request says it expects: callers ask for bounded spans.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import certifi
import pycurl

from common.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SLACK_BYTES = 64 * 1024
"""Room above the expected body for an error document."""

_UNTRUSTED_LENGTH = {pycurl.E_PARTIAL_FILE: "the answer ended early", pycurl.E_FILESIZE_EXCEEDED: "the answer is longer than it may be"}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `url` is final: it is sent as it stands, dot segments and all. Header names and values are Latin-1."""

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
    """Names in lower case; of repeated headers all values, joined with ", "."""
    body: bytes


class Transport:
    """HTTP for one event loop. Not thread-safe. `close` gives up what is under way and may be called twice.

    There is no time limit on a whole request (a large part over a thin line takes what it takes), but one on connecting and
    one on silence: fewer than 1 byte per second for `stall_seconds` ends it.
    """

    def __init__(self, *, most_connections: int = 256, connect_seconds: float = 10, stall_seconds: int = 60) -> None:
        self._multi = pycurl.AsyncCurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, most_connections)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, most_connections)
        self._connect_ms = int(connect_seconds * 1000)
        self._stall_seconds = stall_seconds
        self._idle: list[Any] = []
        self._closed = False

    async def send(self, request: Request) -> Response:
        """The answer, whatever its status. Raises Unavailable when there is none, or when it is cut short or too long.

        The error names method, host and path, never the query: it may hold a signature or an upload session.
        """
        if self._closed:
            raise Unavailable("the transport is closed")
        handle = self._idle.pop() if self._idle else self._new_handle()
        body = io.BytesIO()
        lines: list[bytes] = []
        handle.setopt(pycurl.URL, request.url)
        handle.setopt(pycurl.CUSTOMREQUEST, request.method)
        handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}".encode("latin-1") if value else f"{name};".encode("latin-1")
                                          for name, value in (*request.headers, *_QUIET)])
        handle.setopt(pycurl.WRITEFUNCTION, body.write)
        handle.setopt(pycurl.HEADERFUNCTION, lines.append)
        handle.setopt(pycurl.MAXFILESIZE_LARGE, request.expect + SLACK_BYTES)
        if request.method == "HEAD":
            handle.setopt(pycurl.NOBODY, 1)
        elif request.method != "GET":
            handle.setopt(pycurl.POSTFIELDS, request.body)
        try:
            await self._multi.perform(handle)
            status = handle.getinfo(pycurl.RESPONSE_CODE)
        except pycurl.error as error:
            raise _unavailable(request, *error.args) from None
        finally:
            handle.reset()
            self._prepare(handle)
            self._idle.append(handle)
        return Response(status, _parse(lines), body.getvalue())
