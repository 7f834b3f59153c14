"""Requests that wait for a connection: who gets it, and what becomes of them when the transport is closed."""

from __future__ import annotations

import asyncio

from common.transport.http import Request, Transport
from common.transport.pool import Pool
from common.trust import Trust
from tests.fakes import http as fake


class Holding(fake.HttpServer):
    """Holds every answer until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.one_came = asyncio.Event()
        self.go_on = asyncio.Event()

    async def handle(self, request: fake.Request) -> fake.Response:
        await request.body.read()
        self.seen.append(request.path)
        self.one_came.set()
        await self.go_on.wait()
        return fake.Response(200, [], b"done")


async def test_a_connection_goes_from_one_request_to_the_one_that_has_waited_longest() -> None:
    transport = Transport(most_connections=1)
    async with Holding() as server:
        # Given five requests for one connection, of which the second is given up while it waits
        requests = [Request("GET", f"{server.url}/{number}", expect=4) for number in range(5)]
        tasks = [asyncio.create_task(transport.send(request)) for request in requests]
        await server.one_came.wait()
        tasks[1].cancel()
        # When the first is answered
        server.go_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Then the others follow in their order, over the same connection
        assert server.seen == ["/0", "/2", "/3", "/4"]
        assert len(server.connections) == 1
        await transport.close()


async def test_one_that_is_given_up_as_it_gets_the_connection_passes_it_on() -> None:
    async with Holding() as server:
        # Given a connection that two wait for
        pool = Pool(server.url, most=1, connect_seconds=5, trust=Trust({}), scratch=memoryview(bytearray(1024)))
        connection = await pool.take()
        connection.reusable = True
        waiting = [asyncio.create_task(pool.take()) for _ in range(2)]
        await asyncio.sleep(0)
        # When the first of them is cancelled in the very turn in which the connection becomes free
        pool.give(connection)
        waiting[0].cancel()
        # Then the other one has it
        assert await waiting[1] is connection
        assert waiting[0].cancelled()
        assert pool.busy == {connection}
        pool.close()


async def test_closing_ends_the_requests_that_still_wait_and_sends_none_of_them() -> None:
    transport = Transport(most_connections=1)
    async with Holding() as server:
        # Given one request under way and two that wait for its connection
        tasks = [asyncio.create_task(transport.send(Request("GET", f"{server.url}/{number}"))) for number in range(3)]
        await server.one_came.wait()
        # When
        await transport.close()
        # Then all end, and nothing more is sent
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert ["the transport was closed" in str(error) for error in errors] == [True, True, True]
        assert (server.seen, len(server.connections)) == (["/0"], 1)
