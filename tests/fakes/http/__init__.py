"""A small HTTP/1.1 server core for the stand-ins of cloud services, fast enough to carry the benchmarks.

The published frameworks hide what a stand-in must control: the raw (undecoded) path, the moment a body is read, a reset in
mid-answer, a Content-Length that lies, a body that ends with the connection. Here a service is a subclass of `HttpServer` with
one method, `handle(request) -> Response`. It runs inside an event loop (`async with Service() as server`) or in a thread of its
own for synchronous tests (`with Service() as server`).
"""

from __future__ import annotations

from tests.fakes.http.message import BadRequestError, Body, End, Framing, PeerGoneError, Request, Response
from tests.fakes.http.server import HttpServer

__all__ = ["BadRequestError", "Body", "End", "Framing", "HttpServer", "PeerGoneError", "Request", "Response"]
