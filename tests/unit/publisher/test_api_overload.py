"""Clients that take their time, come in crowds, guess passwords, or send what two servers would read differently."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from common.config import RedisSettings
from publisher.api import connections
from publisher.api.auth import FREE_GUESSES, LONGEST_DELAY, MOST_CLIENTS, Guesses
from publisher.api.health import create_health_app
from publisher.api.server import ApiServer
from publisher.health import ALIVE_SECONDS, Health
from tests.unit.publisher.served import TOKEN, USER, Api, fill_many, name, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flask import Flask

    from tests.servers import Server

BASIC = f"Authorization: Basic {TOKEN}\r\n"


@asynccontextmanager
async def listening(app: Flask) -> AsyncIterator[int]:
    server = ApiServer(app, "127.0.0.1", 0)
    server.start()
    try:
        yield server.port
    finally:
        await server.stop()


def healthy() -> Health:
    return Health({})


def exchange(port: int, data: bytes) -> bytes:
    """Everything that the server answers before it closes the connection, or is silent for a while."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        connection.settimeout(2)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except TimeoutError:
            return answer + b"<kept open>"
        return answer


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("POST /jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
        ("POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n", "12345"),
        ("POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n", "1234"),
        ("POST /jobs HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("HEAD /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n", "1234"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n", ""),
        ("GET /healthz HTTP/1.1\r\n", ""),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n", "1234"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\n b\r\n", ""),
        ("GET /healthz HTTP/1.1\nHost: x\n", ""),
    ],
    ids=lambda text: text.replace("\r\n", "|")[:60],
)
async def test_what_two_servers_could_read_differently_is_refused_and_the_connection_closed(
    api: Api, head: str, body: str
) -> None:
    # Given a request with another one hidden behind it
    data = (head + BASIC + "\r\n" + body + "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").encode()
    # When it is sent
    answer = await asyncio.to_thread(exchange, api.port, data)
    # Then it is refused, and what came behind it is not answered
    assert answer.split(b" ", 2)[1] in (b"400", b"501"), answer
    assert len(re.findall(rb"HTTP/1\.[01] \d{3} ", answer)) == 1
    assert not answer.endswith(b"<kept open>")


async def test_health_answers_beside_many_idle_and_slow_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a health listener, and more silent and half-said requests than one client may have, none of them overdue
    monkeypatch.setattr(connections, "MOST_PER_CLIENT", 40)
    monkeypatch.setattr("publisher.api.server.TURN_SECONDS", 0.05)
    async with listening(create_health_app(healthy())) as port:
        with ExitStack() as stack:
            for number in range(200):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                if number % 2:
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            # Then whoever asks is answered as soon as those that are too many are gone
            give_up = time.monotonic() + 20
            while b"200 OK" not in (await asyncio.to_thread(exchange, port, b"GET /healthz HTTP/1.0\r\n\r\n")):
                assert time.monotonic() < give_up


async def test_a_request_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a server with little patience
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.3)
    monkeypatch.setattr("publisher.api.server.TURN_SECONDS", 0.05)
    async with listening(create_health_app(healthy())) as port:
        for beginning in (
            b"",
            b"GET /healthz HTTP/1.1\r\nX-Slow: ",
            b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12",
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                # When a client says a little now and then, or nothing
                connection.sendall(beginning)
                # Then its connection is closed
                assert await asyncio.to_thread(connection.recv, 1) == b""


async def test_what_needs_redis_is_refused_at_once_while_redis_is_known_to_be_away(redis_own: Server) -> None:
    # Given an API whose Redis has gone
    async with served(RedisSettings(address=redis_own.address), "one") as api:
        await asyncio.to_thread(redis_own.kill)
        await api.ready({"ready": False, "missing": ["redis"]})
        # When many clients ask at once, more than the server has threads
        began = time.monotonic()
        answers = await asyncio.gather(*(api.ask("GET", "/jobs") for _ in range(30)))
        # Then each is told so without having waited for Redis
        assert {answer.status for answer in answers} == {503}
        assert all(answer.headers["Retry-After"] for answer in answers)
        assert time.monotonic() - began < 10
        assert (await api.ask("GET", "/healthz", auth=None)).status == 200


async def test_streams_are_refused_at_once_when_all_places_are_taken(redis_address: str, fresh: str) -> None:
    # Given readers that ask for everything and take nothing
    async with served(RedisSettings(address=redis_address, prefix=fresh), "one") as api:
        await fill_many(api, 30_000)
        with ExitStack() as stack:
            for _ in range(20):
                connection = stack.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", api.port))
                connection.sendall(f"GET /cache HTTP/1.1\r\nHost: x\r\n{BASIC}\r\n".encode())
            # Then everything else is answered, and one more listing is refused
            assert (await api.ask("GET", "/healthz", auth=None)).status == 200
            assert (await api.ask("GET", name("k"))).status == 404
            give_up = time.monotonic() + 20
            while (await api.ask("GET", "/cache")).status != 503:
                assert time.monotonic() < give_up


async def test_guessing_is_slowed_down(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    # When a client guesses, then the first few are answered as usual
    answers = [await api.ask("GET", "/jobs", auth=f"{USER}:guess{number}") for number in range(FREE_GUESSES + 1)]
    assert [answer.status for answer in answers] == [401] * (FREE_GUESSES + 1)
    # And soon it is not listened to any more, and told when it will be; the delays grow, however slow this machine is
    for number in range(20):
        answer = await api.ask("GET", "/jobs", auth=f"{USER}:again{number}")
        if answer.status == 429:
            break
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    # And health is open to it all the same
    assert (await api.ask("GET", "/healthz", auth=None)).status == 200


def test_guesses_are_counted_by_client() -> None:
    # Given a clock that we turn
    now = [1000.0]
    guesses = Guesses(lambda: now[0])
    # When one client guesses and another one does not
    for _ in range(FREE_GUESSES):
        guesses.wrong("10.0.0.1")
    assert guesses.barred("10.0.0.1") == 0
    delays = []
    for _ in range(10):
        guesses.wrong("10.0.0.1")
        delays.append(guesses.barred("10.0.0.1"))
        now[0] += delays[-1]
    # Then only the first waits, longer each time, within a bound
    assert delays == [1, 2, 4, 8, 16, 32, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY]
    assert guesses.barred("10.0.0.2") == 0
    # And a right password, or time, makes good
    guesses.wrong("10.0.0.1")
    guesses.right("10.0.0.1")
    assert guesses.barred("10.0.0.1") == 0


def test_the_clients_that_are_remembered_are_bounded() -> None:
    guesses = Guesses()
    for number in range(MOST_CLIENTS * 2):
        guesses.wrong(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(guesses._clients) == MOST_CLIENTS


def test_a_crowd_of_wrong_passwords_is_one_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now = [1000.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(500):
        guesses.wrong("10.0.0.1")
    now[0] += 61
    guesses.wrong("10.0.0.1")
    said = [line for line in capsys.readouterr().err.splitlines() if "http_wrong_passwords" in line]
    assert len(said) == 2


async def test_health_says_when_the_loop_is_stuck_and_when_nobody_asks_any_more() -> None:
    # Given a loop that turned a while ago
    now = [0.0]
    health = Health({"redis": _fine}, clock=lambda: now[0])
    await health.ask()
    assert (health.alive, health.missing) == (True, ())
    # When it does not any more
    now[0] += ALIVE_SECONDS + 10
    # Then neither its life nor what it last found is taken for true
    assert (health.alive, health.missing) == (False, ("redis",))


async def _fine() -> None:
    return


def test_the_longest_idle_give_way_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given eight places, and ten connections of as many clients, of which two are at work
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 8)

    class Seen:
        def __init__(self, number: int) -> None:
            self.opened = self.idle_since = float(number)
            self.client = f"10.0.0.{number}"
            self.requests = [object()] if number < 2 else []

    seen = [Seen(number) for number in range(10)]
    # Then the longest idle go, down to seven, and none that is at work
    assert connections.too_many(seen) == seen[2:5]  # type: ignore[arg-type]
