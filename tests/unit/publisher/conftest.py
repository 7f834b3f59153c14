"""A publisher's surroundings: the real Redis, a real queue in it, and a clock that tests set."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import pytest

from common.config import Location, PublisherSettings, QueueSettings, RedisSettings, Route, Settings
from common.objects import Version
from common.queues.registry import open_errors, open_queue
from common.report import Report
from common.report import decode as decode_report
from common.state.cache import Cache, Receipt, Settled, Settlement
from common.state.flight import Flight
from common.state.jobs import Job, Jobs
from common.state.store import Store
from common.steps import OnStep, Step, ignore
from common.task import Task, decode
from publisher.jobs import Scanner
from publisher.outlet import Outlet
from tests.unit.publisher.served import Api, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.queues.base import Queue
    from common.storage.base import Reader


class Clock:
    """Unix time, as tests set it."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@dataclass
class Surroundings:
    settings: Settings
    store: Store
    cache: Cache
    jobs: Jobs
    queue: Queue
    outlet: Outlet
    errors: Outlet
    clock: Clock = field(default_factory=Clock)

    def route(self, name: str = "r", *, skip_directory_markers: bool = True) -> Route:
        return Route(
            name=name,
            source=Location.parse(f"s3://source-{name}/in"),
            destination=Location.parse(f"gs://destination-{name}/out"),
            skip_directory_markers=skip_directory_markers,
        )

    @property
    def flight(self) -> Flight:
        return Flight(self.store, clock=self.clock)

    def scanner(self, reader: Reader | Mapping[str, Reader], *, on_step: OnStep = ignore, owner: str = "test") -> Scanner:
        """For one reader, whatever the route, or for one reader per route."""
        return Scanner(
            lambda route: reader[route.name] if isinstance(reader, Mapping) else reader,
            cache=self.cache,
            jobs=self.jobs,
            flight=self.flight,
            outlet=self.outlet,
            errors=self.errors,
            settings=self.settings.publisher,
            owner=owner,
            clock=self.clock,
            on_step=on_step,
        )

    async def open(self, route: str = "r") -> Job:
        return await self.jobs.open(route, "sweep", self.clock())

    async def job(self, job: Job) -> Job:
        found = await self.jobs.get(job.id)
        assert found is not None
        return found

    async def drain(self) -> list[Task]:
        """Every task on the queue, in the order of their numbers; they are acknowledged."""
        tasks = []
        while deliveries := await self.queue.receive(1000, 0.05):
            tasks += [decode(delivery.payload) for delivery in deliveries]
            for delivery in deliveries:
                await delivery.ack()
        return sorted(tasks, key=lambda task: task.number)

    async def tasks_of(self, *keys: str) -> list[Task]:
        """Tasks for these objects in version "e1", as a publisher would make them."""
        made = datetime.fromtimestamp(self.clock(), UTC)
        return [Task("r", key, Version("e1"), 1, None, key, "r-job", number, made) for number, key in enumerate(keys)]

    async def reports(self) -> list[Report]:
        """What is on the error topic; it stays there."""
        errors = await open_errors(self.settings)
        deliveries = [delivery for _ in range(2) for delivery in await errors.receive(1000, 0.05)]
        for delivery in deliveries:
            await delivery.nack()
        await errors.close()
        return [decode_report(delivery.payload) for delivery in deliveries]

    async def consume(self, tasks: Sequence[Task]) -> None:
        """What workers do, as far as the state sees it."""
        now = int(self.clock())
        await self.cache.settle(
            [
                Settlement(
                    route=task.route,
                    key=task.key,
                    etag=task.version.token,
                    owner="w",
                    outcome=Settled.MOVED,
                    receipt=Receipt(task.version.token, task.size, None, "g1", now, "w"),
                    copied_bytes=task.size,
                )
                for task in tasks
            ]
        )


@pytest.fixture
def settings(redis_address: str, fresh: str) -> Settings:
    return Settings(
        queue=QueueSettings(kind="redis", topic=fresh),
        redis=RedisSettings(address=redis_address, prefix=fresh),
        publisher=PublisherSettings(republish_after=3600, batch=1000),
    )


@asynccontextmanager
async def surrounded(settings: Settings) -> AsyncIterator[Surroundings]:
    """Surroundings in the Redis that the settings name."""
    store = await Store.open(settings.redis)
    queue = await open_queue(settings)
    outlet = Outlet(partial(open_queue, settings))
    await outlet.open()
    errors = Outlet(partial(open_errors, settings))
    yield Surroundings(settings, store, Cache(store), Jobs(store), queue, outlet, errors)
    await errors.close()
    await outlet.close()
    await queue.close()
    await store.close()


@pytest.fixture
async def surroundings(settings: Settings) -> AsyncIterator[Surroundings]:
    async with surrounded(settings) as made:
        yield made


@pytest.fixture
async def api(redis_address: str, fresh: str) -> AsyncIterator[Api]:
    """An API with one route, "one"."""
    async with served(RedisSettings(address=redis_address, prefix=fresh), "one") as made:
        yield made


class Killed(BaseException):
    """The process is gone: nothing after it runs but what the interpreter itself unwinds."""


class KillAt:
    """Ends the work at a step, the n-th time it is reached."""

    def __init__(self, step: Step, time: int = 1) -> None:
        self.step = step
        self.left = time
        self.seen: list[Step] = []

    def __call__(self, step: Step) -> None:
        self.seen.append(step)
        if step is self.step:
            self.left -= 1
            if self.left == 0:
                raise Killed
