"""Servers with several addresses, of which some refuse and some swallow packets. No network: connecting is replaced."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from common.errors import Unavailable
from common.transport import dial
from common.transport.dial import AVOIDED_SECONDS, NAMES_KEPT_SECONDS, Server
from common.transport.http import Request, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Network:
    """What the loop asks: names lead to `addresses`; each of them accepts, refuses, or says nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = asyncio.get_running_loop()
        self.seconds = 1000.0
        self.addresses: Sequence[str] = ()
        self.refusing: set[str] = set()
        self.silent: set[str] = set()
        self.tried: list[str] = []
        self.lookups = 0
        self.port = 0
        monkeypatch.setattr(self.loop, "getaddrinfo", self.getaddrinfo)
        monkeypatch.setattr(self.loop, "sock_connect", self.sock_connect)
        monkeypatch.setattr(dial, "_now", lambda: self.seconds)

    async def getaddrinfo(self, *_: Any, **__: Any) -> list[Any]:
        self.lookups += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, self.port)) for address in self.addresses]

    async def sock_connect(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self.tried.append(address[0])
        if address[0] in self.refusing:
            raise ConnectionRefusedError(111, "Connection refused")
        if address[0] in self.silent:
            await asyncio.Event().wait()
        # At once, without the loop: on a busy machine no address is ever too slow
        sock.setblocking(True)
        sock.connect(address)
        sock.setblocking(False)


@pytest.fixture
async def network(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Network]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    network = Network(monkeypatch)
    server = await asyncio.start_server(serve, "0.0.0.0", 0)
    network.port = server.sockets[0].getsockname()[1]
    async with server:
        yield network


async def reached(server: Server) -> str:
    sock, address = await server.connect()
    sock.close()
    return str(address[0])


async def test_connections_are_spread_over_all_addresses(network: Network) -> None:
    network.addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    server = Server("several.example", network.port)
    assert {await reached(server) for _ in range(3)} == set(network.addresses)
    # The name is looked up once for a while
    assert network.lookups == 1
    network.seconds += NAMES_KEPT_SECONDS + 1
    await reached(server)
    assert network.lookups == 2


@pytest.mark.parametrize("kind", ["silent", "refusing"])
async def test_an_address_that_does_not_answer_is_left_for_last_for_a_while(network: Network, kind: str) -> None:
    # Given two addresses, of which one does not answer
    network.addresses = ["127.0.0.1", "127.0.0.2"]
    getattr(network, kind).add("127.0.0.2")
    server = Server("several.example", network.port)
    # When connections are made, then each gets through by the other, and it is tried by the first of them at most
    assert {await reached(server) for _ in range(6)} == {"127.0.0.1"}
    assert network.tried.count("127.0.0.2") == 1
    # And when the name has been looked up again, it is still known
    network.seconds += NAMES_KEPT_SECONDS + 1
    assert {await reached(server) for _ in range(4)} == {"127.0.0.1"}
    assert network.tried.count("127.0.0.2") == 1
    # And tried again after a while; by then it answers
    getattr(network, kind).clear()
    network.seconds += AVOIDED_SECONDS
    assert {await reached(server) for _ in range(4)} == set(network.addresses)


async def test_an_address_that_was_avoided_is_used_when_no_other_answers(network: Network) -> None:
    network.addresses = ["127.0.0.1", "127.0.0.2"]
    network.refusing = {"127.0.0.2"}
    server = Server("several.example", network.port)
    assert {await reached(server) for _ in range(2)} == {"127.0.0.1"}
    network.refusing = {"127.0.0.1"}
    assert {await reached(server) for _ in range(2)} == {"127.0.0.2"}


async def test_a_name_that_leads_nowhere_any_more_is_looked_up_again_at_once(network: Network) -> None:
    # Given a server that has moved, as in a failover
    network.addresses, network.refusing = ["127.0.0.1"], {"127.0.0.1"}
    server = Server("moving.example", network.port)
    with pytest.raises(OSError, match="refused"):
        await reached(server)
    # When its name leads to the new place, then that is found at the next attempt
    network.addresses = ["127.0.0.2"]
    assert await reached(server) == "127.0.0.2"


async def test_both_families_are_tried_by_turns() -> None:
    def found(family: int, address: str) -> Any:
        return (family, socket.SOCK_STREAM, 6, "", (address, 443))

    six, four = [found(socket.AF_INET6, f"::{n}") for n in range(3)], [found(socket.AF_INET, "10.0.0.1")]
    assert dial._by_families([*six, *four]) == [six[0], four[0], six[1], six[2]]
    assert dial._by_families([*four, *six]) == [four[0], *six]


async def test_requests_get_through_by_the_address_that_answers(network: Network) -> None:
    # Given a server of which all addresses but one swallow packets
    network.addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    network.silent = {"127.0.0.2", "127.0.0.3"}
    transport = Transport()
    # When a request is sent, then it is answered
    request = Request("GET", f"http://several.example:{network.port}/", expect=10)
    assert (await transport.send(request)).body == b"ok"
    await transport.close()


async def test_all_addresses_silent_ends_with_the_time_for_connecting(network: Network) -> None:
    network.addresses = network.silent = {"127.0.0.1", "127.0.0.2"}  # type: ignore[assignment]
    transport = Transport(connect_seconds=0.1)
    with pytest.raises(Unavailable, match=r"no connection within 0\.1 seconds"):
        await transport.send(Request("GET", f"http://several.example:{network.port}/"))
    await transport.close()


async def test_no_address_at_all_is_said(network: Network) -> None:
    transport = Transport()
    with pytest.raises(Unavailable, match="cannot connect: its name has no address"):
        await transport.send(Request("GET", f"http://several.example:{network.port}/"))
    await transport.close()
