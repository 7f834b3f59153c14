"""Listings that are larger than anything that may be held in memory, and readers of every kind."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from common.config import RedisSettings
from publisher.api.cache import MOST_STREAMS
from tests.unit.publisher.served import TOKEN, Api, fill_many, name, resident, served

if TYPE_CHECKING:
    from tests.servers import Server


async def test_many_at_once(api: Api) -> None:
    # Given some records
    await api.fill(*(f"k{number}" for number in range(50)))
    # When fifty clients ask at the same time
    answers = await asyncio.gather(*(api.ask("GET", name(f"k{number}")) for number in range(50)))
    # Then each gets its own
    assert [list(answer.json) for answer in answers] == [[f"published:k{number}"] for number in range(50)]


@pytest.mark.slow
async def test_a_hundred_thousand_records_are_streamed_with_flat_memory(api: Api) -> None:
    # Given 100,000 records, some 27 MB of JSON
    await fill_many(api, 100_000)
    samples = [resident()]

    def download() -> tuple[int, int, str]:
        """Read the answer piece by piece, watching the memory of the process, which is the server's too."""
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=60)
        connection.request("GET", "/cache", headers={"Authorization": f"Basic {TOKEN}"})
        answer = connection.getresponse()
        size = records = 0
        last = b""
        while piece := answer.read(64 * 1024):
            size += len(piece)
            records += piece.count(b'"etag"')
            last = piece
            samples.append(resident())
        connection.close()
        return size, records, last.decode()[-3:]

    # When they are all asked for
    size, records, end = await asyncio.to_thread(download)
    # Then they all come, and memory does not grow with them
    assert abs(records - 100_000) < 100  # a name cut in two by a piece is not counted
    assert end.endswith("}\n")
    assert max(samples) - samples[0] < 20
    assert size > 20_000_000


async def test_a_reader_that_goes_away_frees_its_stream(api: Api) -> None:
    # Given more records than the buffers hold
    await fill_many(api, 10_000)
    # When more readers than there are streams begin, and go away
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", api.port)) as connection:
            connection.sendall(f"GET /cache HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {TOKEN}\r\n\r\n".encode())
            await asyncio.to_thread(connection.recv, 1000)
    # Then the next one is served in full
    assert len((await api.ask("GET", "/cache")).json) == 10_000


async def test_a_reader_that_takes_nothing_is_given_up(redis_address: str, fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given readers that ask and then take nothing, as many as there are streams
    monkeypatch.setattr("publisher.api.connections.STALL_SECONDS", 1)
    monkeypatch.setattr("publisher.api.server.TURN_SECONDS", 0.1)
    async with served(RedisSettings(address=redis_address, prefix=fresh), "one") as api:
        await fill_many(api, 30_000)
        stalled = []
        for _ in range(MOST_STREAMS):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", api.port))
            connection.sendall(f"GET /cache HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {TOKEN}\r\n\r\n".encode())
            stalled.append(connection)
        # When another one asks, then it is refused at once, until the others have lost their places
        while (answer := await api.ask("GET", "/cache")).status == 503:
            assert answer.headers["Retry-After"]
            await asyncio.sleep(0.1)
        assert len(answer.json) == 30_000
        for connection in stalled:
            connection.close()


async def test_a_stream_that_breaks_does_not_look_complete(redis_own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a listing under way
    monkeypatch.setattr("publisher.api.cache.STATE_SECONDS", 0.5)
    async with served(RedisSettings(address=redis_own.address), "one") as api:
        await fill_many(api, 20_000)
        began, gone = threading.Event(), threading.Event()

        def download() -> bytes:
            connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
            connection.request("GET", "/cache", headers={"Authorization": f"Basic {TOKEN}"})
            answer = connection.getresponse()
            assert answer.status == 200
            first = answer.read(1000)
            began.set()
            gone.wait(20)
            try:
                return first + answer.read()
            except http.client.IncompleteRead as error:
                raise ConnectionError("cut short") from error
            finally:
                connection.close()

        reading = asyncio.create_task(asyncio.to_thread(download))
        await asyncio.to_thread(began.wait, 20)
        # When Redis goes away
        await asyncio.to_thread(redis_own.kill)
        gone.set()
        # Then the reader is told that this was not all
        with pytest.raises(ConnectionError):
            await reading
        # And other questions are answered with 503 until it is back
        answer = await api.ask("GET", name("k"))
        assert (answer.status, list(answer.json)) == (503, ["error"])
        assert answer.headers["Retry-After"]
        assert (await api.ask("GET", "/cache")).status == 503
        await api.ready({"ready": False, "missing": ["redis"]})
        assert (await api.ask("GET", "/healthz", auth=None)).status == 200
        await asyncio.to_thread(redis_own.start)
        for _ in range(100):
            if (await api.ask("GET", name("k"))).status == 404:
                break
            await asyncio.sleep(0.1)
        assert (await api.ask("GET", name("k"))).status == 404
