"""One request and its answer, byte for byte: the fakes are tested below the level of any client library."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.http import HttpServer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The machine-readable reason of a JSON error, its shape checked on the way."""
        error = self.json["error"]
        assert error["code"] == self.status
        assert error["message"] == error["errors"][0]["message"]
        assert error["errors"][0]["domain"] == "global"
        return str(error["errors"][0]["reason"])


def ask(server: HttpServer, method: str, path: str, body: Any = None, /, **headers: str) -> Answer:
    """`body`: bytes, or something to send as JSON. Header names are written with underscores. `path` may be a full URL."""
    if path.startswith("http"):
        parts = urlsplit(path)
        path = f"{parts.path}?{parts.query}"
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection(server.host, server.port, timeout=20)
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def raw(server: HttpServer, data: bytes) -> bytes:
    """Send bytes, then read until the server ends the connection."""
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        sock.sendall(data)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def send_and_stop(server: HttpServer, data: bytes) -> None:
    """Send bytes and no more; returns when the server has noticed."""
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
