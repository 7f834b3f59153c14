"""The transport against a server that misbehaves in each of the ways that servers do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.errors import Unavailable
from common.transport.http import ERROR_BYTES, Request, Transport
from tests.fakes import http as fake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BODY = b"0123456789" * 10


class Server(fake.HttpServer):
    """Answers by path, and remembers what came."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[fake.Request, bytes]] = []

    async def handle(self, request: fake.Request) -> fake.Response:
        self.seen.append((request, await request.body.read()))
        match request.path:
            case "/short":
                return fake.Response(200, [], BODY[:40], length=len(BODY), end=fake.End.CLOSE)
            case "/reset":
                return fake.Response.none()
            case "/huge":
                return fake.Response(200, [], b"x" * (ERROR_BYTES + 101))
            case "/endless":
                return fake.Response(200, [], b"x" * (ERROR_BYTES + 101), framing=fake.Framing.CHUNKED)
            case "/silent":
                await asyncio.sleep(60)
            case "/redirect":
                return fake.Response(301, [("Location", "/elsewhere")])
        return fake.Response(200, [("X-Twice", "a"), ("ETag", '"e"')], BODY)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running
        assert running.failures == []


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport(stall_seconds=1)
    yield transport
    await transport.close()


@pytest.mark.parametrize("path", ["/a/../b", "/a/%2E%2E/b", "//x//", "/a%2Fb%20c%2B", "/%F0%9F%98%80"])
async def test_paths_arrive_as_they_were_given(server: Server, transport: Transport, path: str) -> None:
    # Whoever folds dot segments reads another object
    response = await transport.send(Request("GET", server.url + path, expect=len(BODY)))
    assert response.body == BODY
    assert server.seen[-1][0].path == path


async def test_bodies_headers_and_methods_do_not_leak_into_the_next_request(server: Server, transport: Transport) -> None:
    # Given requests of every kind, one after the other; the connection on which a HEAD was answered is held back at first
    await transport.send(Request("PUT", server.url + "/1", [("X-One", "1"), ("Content-Type", "a/b")], b"one" * 1000))
    await transport.send(Request("DELETE", server.url + "/2"))
    await transport.send(Request("HEAD", server.url + "/3"))
    await transport.send(Request("POST", server.url + "/4", body=b""))
    await transport.send(Request("GET", server.url + "/5", expect=1000))
    # Then each is what it should be
    seen = [(request.method, request.path, len(body)) for request, body in server.seen]
    assert seen == [("PUT", "/1", 3000), ("DELETE", "/2", 0), ("HEAD", "/3", 0), ("POST", "/4", 0), ("GET", "/5", 0)]
    assert [request.headers.get("x-one") for request, _ in server.seen] == ["1", None, None, None, None]
    assert [request.headers.get("content-type") for request, _ in server.seen] == ["a/b", None, None, None, None]
    assert len(server.connections) == 2


async def test_no_compression_and_no_waiting_for_100_continue_is_asked_for(server: Server, transport: Transport) -> None:
    await transport.send(Request("PUT", server.url + "/", body=b"x" * 3_000_000))
    headers = server.seen[-1][0].headers
    assert headers["accept-encoding"] == "identity"
    assert "expect" not in headers


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/short", "60 bytes missing"),
        ("/reset", "before an answer came"),
        ("/huge", "longer than"),
        ("/endless", "longer than"),
        ("/silent", "slow"),
    ],
)
async def test_an_answer_that_is_not_whole_is_no_answer(server: Server, transport: Transport, path: str, says: str) -> None:
    with pytest.raises(Unavailable, match=says):
        await transport.send(Request("GET", server.url + path, expect=100))
    # And the transport still works
    assert (await transport.send(Request("GET", server.url + "/", expect=100))).body == BODY


async def test_redirects_are_not_followed(server: Server, transport: Transport) -> None:
    # A redirect would take credentials and bytes to wherever the answer says
    assert (await transport.send(Request("GET", server.url + "/redirect"))).status == 301
    assert len(server.seen) == 1


async def test_errors_never_show_the_query(server: Server, transport: Transport) -> None:
    with pytest.raises(Unavailable) as caught:
        await transport.send(Request("GET", server.url + "/reset?upload_id=secret&X-Amz-Signature=secret"))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "/reset" in str(caught.value)


async def test_nobody_listens() -> None:
    transport = Transport()
    with pytest.raises(Unavailable, match="connect"):
        await transport.send(Request("GET", "http://127.0.0.1:1/"))
    await transport.close()


async def test_cancelled_requests_leave_the_others_alone(server: Server, transport: Transport) -> None:
    # Given requests of which half are given up in the middle
    tasks = [asyncio.create_task(transport.send(Request("GET", f"{server.url}/{n}", expect=100))) for n in range(50)]
    await asyncio.sleep(0.001)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    # Then the other half have their answers
    assert all(getattr(result, "body", None) == BODY for result in results[1::2])


async def test_after_close_nothing_is_sent(transport: Transport) -> None:
    await transport.close()
    await transport.close()
    with pytest.raises(Unavailable, match="closed"):
        await transport.send(Request("GET", "http://127.0.0.1:1/"))
