"""Every way in which a request can fail, with secrets in every place where one may be: no error and no log line shows one."""

from __future__ import annotations

import asyncio
import base64
import traceback
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import ObjectError
from common.redaction import clean
from common.transport.http import Request, Transport

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SECRETS = st.text(TOKEN_LETTERS, min_size=16, max_size=60)
FAILURES = [
    "cut",
    "half",
    "no http",
    "folded",
    "long",
    "chunks",
    "coding",
    "echo in coding",
    "echo in status",
    "refused",
    "no name",
    "bad port",
    "ftp",
    "line break",
    "not latin",
    "proxy",
    "proxy echoes",
]


class Server:
    """Reads a request and answers as its path says, with what it was sent where that makes it worse."""

    def __init__(self) -> None:
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            sent = head.partition(b"uthorization: ")[2].partition(b"\r\n")[0]
            writer.write(self.answer(head.split(b" ")[1].partition(b"?")[0].decode(), sent))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    @staticmethod
    def answer(path: str, sent: bytes) -> bytes:
        head = b"HTTP/1.1 200 OK\r\n"
        answers = {
            "/half": head + b"content-length: 90\r\n\r\n" + sent,
            "/no-http": sent + b"\r\n\r\n",
            "/folded": head + b"x: a\r\n " + sent + b"\r\n\r\n",
            "/long": head + b"content-length: 99999999\r\n\r\n" + sent,
            "/chunks": head + b"transfer-encoding: chunked\r\n\r\n" + sent + b"\r\n",
            "/coding": head + b"transfer-encoding: gzip\r\n\r\n",
            "/echo-in-coding": head + b"transfer-encoding: " + sent + b"\r\n\r\n",
            "/echo-in-status": b"HTTP/1.1 " + sent + b"\r\n\r\n",
            "server.example:443": sent + b"\r\n\r\n",
        }
        return answers.get(path, b"")


class Ground:
    """One server and one loop for all examples."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.server = Server()
        self.listening = self.runner.run(asyncio.start_server(self.server.serve, "127.0.0.1", 0))
        self.port = self.listening.sockets[0].getsockname()[1]

    def close(self) -> None:
        self.listening.close()
        self.runner.run(self.listening.wait_closed())
        self.runner.close()

    def fails(self, failure: str, token: str, signature: str, password: str) -> ObjectError:
        query = f"X-Amz-Signature={signature}&upload_id={signature}"
        place = {"refused": "127.0.0.1:1", "bad port": "127.0.0.1:99999", "no name": ""}.get(failure, f"127.0.0.1:{self.port}")
        scheme = "ftp" if failure == "ftp" else "http"
        url = f"{scheme}://me:{password}@{place}/{failure.replace(' ', '-')}?{query}"
        if failure.startswith("proxy"):
            url = f"https://me:{password}@server.example/?{query}"
        headers = [("Authorization", f"Bearer {token}")]
        if failure == "line break":
            headers.append(("X-Other", "a\r\nb"))
        if failure == "not latin":
            headers.append(("X-Other", "€"))
        return self.runner.run(self._send(Request("PUT", url, headers, b"body", 10)))

    async def _send(self, request: Request) -> ObjectError:
        transport = Transport(connect_seconds=20)
        try:
            with pytest.raises(ObjectError) as failed:
                await transport.send(request)
        finally:
            await transport.close()
        return failed.value


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    ground = Ground()
    yield ground
    ground.close()


@given(failure=st.sampled_from(FAILURES), token=SECRETS, signature=SECRETS, password=SECRETS)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_failure_shows_a_secret(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, failure: str, token: str, signature: str, password: str
) -> None:
    # Given a request with a token, a signature, an upload session and a password, and a way in which it fails
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("no_proxy", raising=False)
    proxy = f"http://me:{password}@127.0.0.1:{ground.port if failure == 'proxy echoes' else 1}"
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    # When it has failed
    error = ground.fails(failure, token, signature, password)
    # Then neither the error, nor its traceback, nor what is logged of either shows any of them
    shown = "".join(traceback.format_exception(error))
    logged = str(clean(None, "info", {"error": str(error), "exception": shown, "action": "x"}))
    pair = base64.b64encode(f"me:{password}".encode()).decode()
    for secret in (token, signature, password, pair):
        assert not any(secret[:12] in text for text in (str(error), repr(error), shown, logged)), failure
