"""Two workers share the work: every object is moved once, and both are used."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from common.config import RedisSettings
from common.state.cache import Cache, Kind
from common.state.store import Store
from tests.conftest import make_gcs_bucket
from tests.e2e.line import Line, gcs_objects, gcs_put, gcs_writes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

OBJECTS = 2000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


async def until(condition: Callable[[], Awaitable[bool]], line: Line, seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < give_up, line.logs()
        await asyncio.sleep(0.2)


async def one_job_done(line: Line) -> bool:
    return any(job.state == "done" for job in await line.jobs())


@pytest.fixture
def line(redis_address: str, fresh: str, tmp_path: Path) -> Line:
    return Line(fresh, redis_address, tmp_path)


async def test_two_workers_move_every_object_once_between_them(line: Line, gcs_endpoint: str) -> None:
    # Given 2,000 objects, one publisher and two workers
    source = make_gcs_bucket(gcs_endpoint, f"{line.name}-a")
    destination = make_gcs_bucket(gcs_endpoint, f"{line.name}-b")
    for number in range(OBJECTS):
        gcs_put(gcs_endpoint, source, f"k{number:05}", os.urandom(1000))
    line.settings(f"gs://{source}", f"gs://{destination}", {"STORAGE_EMULATOR_HOST": gcs_endpoint, "SYSTEM_MAX_WORKERS": "16"})
    # When
    with line.running("work"), line.running("work"), line.running("publish"):
        await until(lambda: one_job_done(line), line)
    # Then everything is there, and was written once
    assert gcs_objects(gcs_endpoint, destination) == gcs_objects(gcs_endpoint, source)
    assert gcs_writes(gcs_endpoint, destination) == dict.fromkeys((f"k{number:05}" for number in range(OBJECTS)), 1)
    # And the receipts name both workers
    store = await Store.open(RedisSettings(address=line.redis, prefix=line.name))
    records, _ = await Cache(store).page("r", Kind.CONSUMED, None, OBJECTS + 1)
    await store.close()
    workers = [record["worker"] for _, record in records]
    assert len(workers) == OBJECTS
    assert len(set(workers)) == 2
    assert min(workers.count(worker) for worker in set(workers)) > OBJECTS // 20
    assert await line.left() == (0, 0)


async def test_a_worker_that_is_asked_to_stop_hands_back_what_it_has(line: Line, gcs_endpoint: str) -> None:
    # Given a worker in the middle of many objects
    source = make_gcs_bucket(gcs_endpoint, f"{line.name}-a")
    destination = make_gcs_bucket(gcs_endpoint, f"{line.name}-b")
    for number in range(500):
        gcs_put(gcs_endpoint, source, f"k{number:05}", os.urandom(100_000))
    places = f"gs://{source}", f"gs://{destination}"
    line.settings(*places, {"STORAGE_EMULATOR_HOST": gcs_endpoint, "SYSTEM_MAX_WORKERS": "8", "BRIGADE_GRACE_SECONDS": "0"})

    async def some_arrived() -> bool:
        return len(gcs_writes(gcs_endpoint, destination)) > 20

    with line.running("publish"):
        # When it is stopped with no time to finish (`running` checks that it exits with 0)
        with line.running("work"):
            await until(some_arrived, line)
        assert len(gcs_writes(gcs_endpoint, destination)) < 500, "the worker was too fast for this test: give it more objects"
        # Then another one finds the rest at once: nothing waits for a lease to run out
        started = time.monotonic()
        with line.running("work"):
            await until(lambda: one_job_done(line), line)
    assert gcs_objects(gcs_endpoint, destination) == gcs_objects(gcs_endpoint, source)
    assert set(gcs_writes(gcs_endpoint, destination).values()) == {1}
    assert time.monotonic() - started < 60


async def test_one_dead_process_does_not_take_the_others_along(line: Line, gcs_endpoint: str) -> None:
    # Given a worker of two processes, of which each dies at its fiftieth object
    source = make_gcs_bucket(gcs_endpoint, f"{line.name}-a")
    destination = make_gcs_bucket(gcs_endpoint, f"{line.name}-b")
    for number in range(120):
        gcs_put(gcs_endpoint, source, f"k{number:05}", b"x" * number)
    line.settings(f"gs://{source}", f"gs://{destination}", {"STORAGE_EMULATOR_HOST": gcs_endpoint, "SYSTEM_MAX_WORKERS": "4"})
    # When
    with line.running("publish"), line.running("work", "--processes", "2", BRIGADE_KILL_AT="worker.written:50"):
        await until(lambda: one_job_done(line), line, 100)
    # Then the dead were replaced and everything is there
    assert line.logged("worker_died") >= 2
    assert gcs_objects(gcs_endpoint, destination) == gcs_objects(gcs_endpoint, source)
    assert set(gcs_writes(gcs_endpoint, destination).values()) == {1}
