"""The HTTP core under the fakes: framing, bodies, 100-continue, and the ways to end a connection."""

from __future__ import annotations

import contextlib
import gc
import http.client
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.fakes.http import End, Framing, HttpServer, Request, Response
from tests.unit.fakes.wire import ask, raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Echo(HttpServer):
    """Answers what was asked for in the path."""

    async def handle(self, request: Request) -> Response:
        match request.path:
            case "/refuse":
                return Response(403)
            case "/broken":
                raise RuntimeError("a mistake in a handler")
            case "/stream":
                return Response(200, body=_pieces(), framing=Framing.CHUNKED)
            case "/until-close":
                return Response(200, body=b"to the end", framing=Framing.CLOSE)
            case "/short":
                return Response(200, body=b"half", length=8, end=End.CLOSE)
            case "/reset":
                return Response.none()
            case "/reset-later":
                return Response(200, body=b"half", length=8, end=End.RESET)
            case "/peek":
                seen = await request.body.peek(lambda data: data if len(data) >= 3 else None)
                return Response(200, body=(seen or b"") + b"|" + await request.body.read())
        body = await request.body.read()
        text = f"{request.method} {request.path} {request.query} {len(body)} ".encode()
        return Response(200, [("Content-Type", "text/plain")], text + body)


async def _pieces() -> AsyncIterator[bytes]:
    yield b"one,"
    yield b"two"


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


def test_the_path_stays_undecoded_and_the_query_is_decoded(echo: Echo) -> None:
    # When a path with encoded slashes, dots and percent signs is asked for
    answer = ask(echo, "GET", "/b/a%2F..%2F%25//x?name=a%20b+c&empty=")
    # Then the service sees the path as it was sent
    assert answer.body == b"GET /b/a%2F..%2F%25//x {'name': 'a b c', 'empty': ''} 0 "


def test_several_requests_share_a_connection(echo: Echo) -> None:
    # Given two requests written at once, the second asking for the end
    data = b"PUT /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nConnection: close\r\n\r\n"
    # When both are answered
    text = raw(echo, data)
    # Then in order, each with its own body
    assert text.count(b"HTTP/1.1 200 OK") == 2
    assert text.index(b"PUT /1 {} 3 abc") < text.index(b"GET /2 {} 0 ")


def test_a_chunked_request_body_is_joined(echo: Echo) -> None:
    head = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    body = b"4;x=y\r\nWiki\r\n5\r\npedia\r\n0\r\nTrailer: x\r\n\r\n"
    assert raw(echo, head + body).endswith(b"POST /c {} 9 Wikipedia")


def test_a_large_body_arrives_whole(echo: Echo) -> None:
    body = bytes(range(256)) * 20_000
    answer = ask(echo, "PUT", "/big", body)
    assert answer.body.endswith(body)
    assert answer.headers["content-length"] == str(len(answer.body))


def test_100_continue_is_said_when_the_body_is_wanted(echo: Echo) -> None:
    # Given a client that waits before it sends its body
    with socket.create_connection((echo.host, echo.port), timeout=20) as sock:
        sock.sendall(b"PUT /x HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        # Then the server asks for it
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"ok")
        assert b"".join(iter(lambda: sock.recv(1000), b"")).endswith(b"PUT /x {} 2 ok")


def test_100_continue_is_not_said_when_the_request_is_refused(echo: Echo) -> None:
    text = raw(echo, b"PUT /refuse HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert text.startswith(b"HTTP/1.1 403 Forbidden")
    assert b"100 Continue" not in text
    # And the client is told not to send another request on this connection
    assert b"\r\nConnection: close\r\n" in text


def test_a_client_that_sends_what_it_was_not_asked_for_still_reads_the_answer(echo: Echo) -> None:
    # Given a client that waits, and then sends a body of more than the sockets hold
    with socket.create_connection((echo.host, echo.port), timeout=20) as sock:
        sock.sendall(b"PUT /refuse HTTP/1.1\r\nContent-Length: 20000000\r\nExpect: 100-continue\r\n\r\n")
        sock.sendall(bytes(20_000_000))
        # Then the refusal has arrived
        assert sock.recv(1000).startswith(b"HTTP/1.1 403 Forbidden")


def test_an_unread_body_does_not_disturb_the_next_request(echo: Echo) -> None:
    data = b"PUT /refuse HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /GET /2 HTTP/1.1\r\nConnection: close\r\n\r\n"
    text = raw(echo, data)
    assert text.startswith(b"HTTP/1.1 403")
    assert text.endswith(b"GET /2 {} 0 ")


def test_peeking_leaves_the_body_in_place(echo: Echo) -> None:
    assert ask(echo, "PUT", "/peek", b"abcdef").body == b"abcdef|abcdef"


def test_framings(echo: Echo) -> None:
    assert raw(echo, b"GET /stream HTTP/1.1\r\nConnection: close\r\n\r\n").endswith(b"4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n")
    until_close = ask(echo, "GET", "/until-close")
    assert until_close.body == b"to the end"
    assert "content-length" not in until_close.headers


def test_a_head_request_has_the_length_and_no_body(echo: Echo) -> None:
    answer = ask(echo, "HEAD", "/x")
    assert answer.body == b""
    assert int(answer.headers["content-length"]) > 0


def test_a_truncated_answer_is_noticed_as_such(echo: Echo) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(echo, "GET", "/short")
    assert caught.value.partial == b"half"


@pytest.mark.parametrize("path", ["/reset", "/reset-later"])
def test_a_reset_is_a_reset_and_not_an_end(echo: Echo, path: str) -> None:
    with pytest.raises(ConnectionResetError):
        ask(echo, "GET", path)


def test_what_is_not_http_is_refused(echo: Echo) -> None:
    assert raw(echo, b"hello\r\n\r\n").startswith(b"HTTP/1.1 400 Bad Request")
    assert raw(echo, b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n").startswith(b"HTTP/1.1 400 Bad Request")


def test_a_mistake_in_a_handler_is_kept_for_the_test(echo: Echo) -> None:
    assert ask(echo, "GET", "/broken").status == 500
    assert [repr(error) for error in echo.failures] == ["RuntimeError('a mistake in a handler')"]


async def test_in_an_event_loop_closing_ends_open_connections() -> None:
    # Given a server with a connection that waits
    server = Echo()
    await server.start()
    with socket.create_connection((server.host, server.port), timeout=20) as sock:
        # When the server closes
        await server.close()
        # Then the client sees the end, and closing again is harmless
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
    await server.close()


def test_a_taken_port_is_reported_to_whoever_starts_the_thread(echo: Echo) -> None:
    with pytest.raises(OSError, match="in use"), Echo(port=echo.port):
        pass


def test_closing_while_clients_come_leaves_no_socket_open() -> None:
    # Given clients that never stop connecting
    stop = threading.Event()

    def connect(address: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                with socket.create_connection(address, timeout=20) as sock:
                    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    sock.recv(100)

    # When servers come and go
    for _ in range(10):
        with Echo() as server:
            client = threading.Thread(target=connect, args=((server.host, server.port),))
            client.start()
        # Then every client is let go, and nothing is left for the collector to complain of
        stop.set()
        client.join(timeout=10)
        assert not client.is_alive()
        stop.clear()
    gc.collect()
