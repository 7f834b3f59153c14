"""The publisher as a whole: starts with what is there, waits for what is not, stops in order, keeps its memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest
from pydantic import SecretStr

from common.config import ApiSettings, Location, LogSettings, PublisherSettings, QueueSettings, RedisSettings, Route, Settings
from common.errors import LocationMissing, SettingsError
from common.objects import Headers
from common.queues.registry import open_queue
from common.state.cache import Cache
from common.state.jobs import Jobs
from common.state.store import Store
from common.storage import memory
from common.storage.base import Absent, Body
from common.task import decode
from common.telemetry import configure
from publisher import runner
from tests.unit.publisher.conftest import surrounded
from tests.unit.publisher.listing import FakeReader, thing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.servers import Server
    from tests.unit.publisher.conftest import Surroundings


@pytest.fixture
def source(fresh: str) -> Iterator[memory.Store]:
    store = memory.create(fresh)
    for key in ("a", "b/c", "ä"):
        store.write(key.encode(), Body(b"x", google_crc32c.value(b"x"), Headers()), Absent())
    yield store
    memory.drop(fresh)


def routes(*names: str) -> tuple[Route, ...]:
    return tuple(
        Route(name=name, source=Location.parse(f"memory://{name}"), destination=Location.parse(f"memory://{name}-copy"))
        for name in names
    )


@pytest.fixture
def with_api(settings: Settings, fresh: str) -> Settings:
    api = ApiSettings(port=0, username="u", password=SecretStr("p"))
    return settings.model_copy(update={"routes": routes(fresh), "api": api})


async def queued(settings: Settings) -> list[str]:
    queue = await open_queue(settings)
    keys = []
    while deliveries := await queue.receive(100, 0.05):
        keys += [decode(delivery.payload).key for delivery in deliveries]
        for delivery in deliveries:
            await delivery.ack()
    await queue.close()
    return sorted(keys)


class Lines:
    """The log of a run, line by line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure(LogSettings(format="json"))
        self.capsys = capsys
        self.lines: list[dict[str, Any]] = []

    async def wait(self, action: str, seconds: float = 15) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.lines += [json.loads(line) for line in self.capsys.readouterr().err.splitlines() if line.startswith("{")]
            for line in self.lines:
                if line["action"] == action:
                    return line
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {action!r} in {[line['action'] for line in self.lines]}")


async def ask(port: int, path: str) -> tuple[int, Any]:
    def get() -> tuple[int, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return await asyncio.to_thread(get)


async def ready(port: int, status: int, missing: list[str]) -> None:
    """Return when /readyz says so: it tells what was found a moment ago."""
    give_up = time.monotonic() + 20
    while (said := await ask(port, "/readyz")) != (status, {"ready": not missing, "missing": missing}):
        assert time.monotonic() < give_up, said
        await asyncio.sleep(0.05)


async def test_a_publisher_publishes_serves_and_stops(
    with_api: Settings, source: memory.Store, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a publisher with one route
    log = Lines(capsys)
    running = asyncio.create_task(runner.run(with_api))
    # When it has swept
    listening = await log.wait("api_listening")
    await log.wait("scan_ended")
    # Then everything is queued, and the API answers
    assert await queued(with_api) == ["a", "b/c", "ä"]
    await ready(listening["port"], 200, [])
    await ready(listening["health_port"], 200, [])
    assert (await ask(listening["port"], "/cache"))[0] == 401
    # When it is told to stop
    os.kill(os.getpid(), signal.SIGTERM)
    # Then it does, well within the time that Kubernetes gives it
    assert await asyncio.wait_for(running, 10) == 0
    with pytest.raises(urllib.error.URLError):
        await ask(listening["port"], "/healthz")


async def test_a_publisher_starts_without_redis_and_goes_on_when_it_comes(
    with_api: Settings, source: memory.Store, redis_own: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a Redis that is not there yet
    settings = with_api.model_copy(update={"redis": RedisSettings(address=redis_own.address)})
    redis_own.stop()
    log = Lines(capsys)
    running = asyncio.create_task(runner.run(settings))
    # Then the publisher is alive and says what it waits for
    port = (await log.wait("api_listening"))["port"]
    await log.wait("redis_away")
    assert await ask(port, "/healthz") == (200, {"alive": True})
    await ready(port, 503, ["queue", "redis"])
    # When Redis comes
    redis_own.start()
    # Then the sweep takes place
    await log.wait("scan_ended")
    assert await queued(settings) == ["a", "b/c", "ä"]
    await ready(port, 200, [])
    # When Redis goes away for good, then the publisher still stops when told to
    redis_own.stop()
    os.kill(os.getpid(), signal.SIGINT)
    assert await asyncio.wait_for(running, 20) == 0


async def test_a_publisher_that_waits_can_be_stopped(with_api: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a Redis that never comes
    settings = with_api.model_copy(update={"redis": RedisSettings(address="127.0.0.1:9"), "api": None})
    log = Lines(capsys)
    running = asyncio.create_task(runner.run(settings))
    await log.wait("redis_away")
    # When the publisher is told to stop
    os.kill(os.getpid(), signal.SIGTERM)
    # Then it stops at once
    assert await asyncio.wait_for(running, 3) == 0


async def test_what_cannot_work_is_said_at_start(with_api: Settings) -> None:
    # Given no route at all, or a port that is taken
    with pytest.raises(SettingsError, match="routes"):
        await runner.run(with_api.model_copy(update={"routes": ()}))
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    api = ApiSettings(port=port, username="u", password=SecretStr("p"))
    # Then the publisher does not start, and says what to change
    with pytest.raises(SettingsError, match=f"port {port}"):
        await runner.run(with_api.model_copy(update={"api": api}))
    server.close()
    await server.wait_closed()


async def test_run_once_gives_the_job(settings: Settings, source: memory.Store, fresh: str) -> None:
    # Given one route
    once = settings.model_copy(update={"routes": routes(fresh)})
    # When it is scanned once
    job = await runner.run_once(once, kind="sync")
    # Then the job says what is in flight, and the tasks are queued
    assert (job.kind, job.state, job.published, job.in_flight) == ("sync", "moving", 3, 3)
    assert await queued(once) == ["a", "b/c", "ä"]
    # When it is scanned again, then within the same job, and what is in flight is not proven
    again = await runner.run_once(once, kind="sync")
    assert (again.id, again.state, again.scans) == (job.id, "moving", 2)
    assert (again.published, again.listed, again.in_flight, again.proven, again.unbalanced) == (3, 3, 3, 0, 0)
    assert await queued(once) == []


async def test_run_once_resumes_and_raises(settings: Settings, fresh: str) -> None:
    # Given a job that was left in the middle, over a source that does not exist
    once = settings.model_copy(update={"routes": routes(f"missing-{fresh}")})
    store = await Store.open(settings.redis)
    left = await Jobs(store).open(f"missing-{fresh}", "sync", 1_800_000_000)
    # When it is scanned
    with pytest.raises(LocationMissing, match="memory://missing"):
        await runner.run_once(once, kind="sync")
    # Then that job has failed, and there is no other
    jobs = await Jobs(store).recent(10)
    await store.close()
    assert [(job.id, job.state) for job in jobs] == [(left.id, "failed")]


async def test_redis_going_away_in_mid_scan_loses_nothing(redis_own: Server) -> None:
    # Given a scan during which Redis is restarted
    settings = Settings(
        queue=QueueSettings(kind="redis", topic="tasks"),
        redis=RedisSettings(address=redis_own.address),
        publisher=PublisherSettings(),
    )
    restarts: list[asyncio.Task[None]] = []

    def restart(number: int) -> None:
        if number == 5:
            redis_own.stop()
            restarts.append(asyncio.create_task(back()))

    async def back() -> None:
        await asyncio.sleep(0.3)
        await asyncio.to_thread(redis_own.start)

    reader = FakeReader([thing(f"{number:04}") for number in range(1000)], page=100, before_page=restart)
    async with surrounded(settings) as around:
        job = await around.open()
        # When it goes on
        assert await around.scanner(reader).run(around.route(), job, term=1)
        await restarts[0]
        # Then every object is queued and recorded
        assert {task.key for task in await around.drain()} == {f"{number:04}" for number in range(1000)}
        ended = await around.job(job)
        assert (ended.state, ended.listed, ended.published) == ("moving", 1000, 1000)


@pytest.mark.slow
async def test_a_hundred_thousand_objects_in_bounded_memory(surroundings: Surroundings, record_property: Any) -> None:
    # Given a source of 100,000 objects that makes its pages as they are asked for
    samples = [_resident()]

    class Endless(FakeReader):
        async def list(self, after: str | None = None) -> AsyncIterator[Any]:
            for start in range(0, 100_000, 1000):
                samples.append(_resident())
                self.objects = [thing(f"folder/{number:080}", f"{number:032x}") for number in range(start, start + 1000)]
                async for page in FakeReader.list(self):
                    last = start == 99_000
                    yield type(page)(page.objects, None if last else page.objects[-1].key)

    job = await surroundings.open()
    scanner = surroundings.scanner(Endless([]))
    began = time.monotonic()
    # When it is scanned
    assert await scanner.run(surroundings.route(), job, term=1)
    # Then all of it is published, and memory has hardly grown
    seconds = time.monotonic() - began
    grown = max(samples) - samples[0]
    ended = await surroundings.job(job)
    assert (ended.listed, ended.published) == (100_000, 100_000)
    # The figures, for whoever asks with -s or reads the report
    figures = f"100,000 objects published in {seconds:.1f} s; peak RSS {max(samples):.0f} MiB, of which {grown:.0f} MiB new"
    print(figures)  # noqa: T201
    record_property("figures", figures)
    assert grown < 60
    assert (await Cache(surroundings.store).counts("r")) == {"published": 100_000, "consumed": 0}


def _resident() -> float:
    """This process's resident memory in MiB."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - a file of the kernel
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_a_listing_that_comes_no_further_has_its_time_and_no_more() -> None:
    # Given a clock that we turn
    now = [0.0]
    patience = runner._Patience(lambda: now[0])
    # When a listing stands still, then the waits grow, and end
    waits = []
    while (pause := patience.pause("k5")) is not None:
        waits.append(pause)
        now[0] += pause
    assert waits[:6] == [1, 2, 4, 8, 16, 30]
    assert runner.PATIENCE <= sum(waits) < runner.PATIENCE + runner.LONGEST_PAUSE
    # When it has come further, then it has all its time again
    assert patience.pause("k9") == 1
