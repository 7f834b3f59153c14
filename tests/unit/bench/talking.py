"""How the tests speak to the benchmark server: through boto3, and byte by byte."""

from __future__ import annotations

import base64
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import boto3
import google_crc32c
from botocore.config import Config

if TYPE_CHECKING:
    from tests.bench.serve import BenchServer

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def s3_client(server: BenchServer) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
        verify=str(server.ca) if server.ca else None,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


def conversation(server: BenchServer, *pieces: bytes, pause: float = 0) -> bytes:
    """All that the server says to these bytes on one connection. Raises ConnectionError when that is nothing."""
    host, _, port = server.url.rpartition("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        with suppress(OSError):  # not connected any more: the next line tells why
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    if not answer:
        raise ConnectionResetError("no answer")
    return answer


def put(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"PUT {path} HTTP/1.1", "Host: bench", *headers]
    if not any(line.lower().startswith("transfer-encoding") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def read(server: BenchServer, path: str) -> bytes:
    with DIRECT.open(f"{server.url}{path}", timeout=10) as answer:
        return bytes(answer.read())
