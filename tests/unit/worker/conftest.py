"""A worker's parts around memory stores, a real Redis and deliveries that remember what became of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from common.checksums import crc32c
from common.config import RedisSettings, Settings, StoreOptions
from common.location import Location
from common.objects import Headers
from common.state.agreements import Agreements
from common.state.cache import Cache
from common.state.flight import Flight
from common.state.holds import Holds
from common.state.jobs import Job, Jobs
from common.state.reported import Reported
from common.state.store import Store
from common.state.uploads import Uploads
from common.storage import memory
from common.storage.base import MIB, Absent, Body, Matches
from common.task import Task, decode, encode
from common.transport.http import Transport
from tests.published import publish
from worker.budget import Budget
from worker.claim import Claims
from worker.failure import Failures
from worker.holding import Holding
from worker.newcomers import Newcomers
from worker.parking import ParkedRoutes
from worker.replicate import Ends, Replicator
from worker.settle import Settler
from worker.tally import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.objects import StoredObject
    from common.steps import OnStep, Step
    from common.storage.base import Reader, Writer

ROUTE = "photos"
NOW = 1_800_000_000.0
ATTEMPTS = 3
PATIENCE = 900.0
DEATHS = 3
HOLD_AFTER, PAUSES = 10, (15.0, 300.0)


@dataclass
class Delivered:
    """A delivery; `fate` is what became of it."""

    payload: bytes
    attempt: int = 1
    fate: list[str] = field(default_factory=list)
    delay: float = -1.0
    report: bytes = b""

    async def ack(self) -> None:
        self.fate.append("ack")

    async def nack(self, delay: float = 0.0) -> None:
        self.fate.append("nack")
        self.delay = delay

    async def reject(self, report: bytes) -> None:
        self.fate.append("reject")
        self.report = report

    async def extend(self) -> None:
        self.fate.append("extend")


class Sent:
    """The sending side of a queue."""

    lease = 60.0

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def send(self, messages: Sequence[bytes]) -> None:
        self.messages += messages

    async def receive(self, most: int, wait: float) -> Sequence[Delivered]:
        raise AssertionError("a replicator does not receive")

    async def backlog(self) -> int | None:
        return None

    async def close(self) -> None:
        return None


class World:
    """One worker, its source and its destination."""

    def __init__(self, name: str, redis: Store) -> None:
        self.source_store = memory.create(f"{name}-source")
        self.destination_store = memory.create(f"{name}-destination")
        options, settings, transport = StoreOptions(), Settings(), Transport()
        source, destination = Location.parse(f"memory://{name}-source"), Location.parse(f"memory://{name}-destination/to")
        self.source_reader = memory.reader(source, options, settings, transport)
        self.source_writer = memory.writer(source, options, settings, transport)
        self.destination_reader = memory.reader(destination, options, settings, transport)
        self.destination_writer = memory.writer(destination, options, settings, transport)
        self.reader: Reader = self.source_reader
        self.writer: Writer = self.destination_writer
        self.redis = redis
        self.now: float = NOW
        self.marks_reports = False
        """As with an error topic that cannot replace a report."""
        self.patience = 0.0
        """How long messages that the worker does not know wait, in seconds."""
        self.beside: dict[str, Ends] = {}
        """Other routes of the same worker."""
        self.cache = Cache(redis, clock=lambda: NOW)
        self.jobs = Jobs(redis)
        self.uploads = Uploads(redis)
        self.queue = Sent()
        self.budget = Budget(32 * MIB)
        self.steps: list[Step] = []
        self.on_step: OnStep = self.steps.append
        self._job: Job | None = None
        self._tasks = 0

    def replicator(self, worker: str = "worker-1") -> Replicator:
        """Built anew for each call, with whatever reader and writer stand in the world now."""
        claims = Claims(self.cache, worker, 60)
        settler = Settler(self.cache, Flight(self.redis, clock=lambda: NOW), worker, Tally(), self.on_step)
        now = lambda: self.now  # noqa: E731 - of this world
        holding = Holding(Holds(self.redis), after=HOLD_AFTER, pauses=PAUSES, trial_seconds=60, now=now)
        failures = Failures(
            name=worker,
            cache=self.cache,
            claims=claims,
            settler=settler,
            parking=ParkedRoutes(Agreements(self.redis), now, holding),
            attempts=ATTEMPTS,
            backoff_seconds=1,
            lease_seconds=60,
            random=lambda: 0.5,
            now=now,
            newcomers=Newcomers(Agreements(self.redis), self.patience, random=lambda: 0.5, now=now),
            reported=Reported(self.redis, now) if self.marks_reports else None,
        )
        return Replicator(
            name=worker,
            ends={ROUTE: Ends(self.reader, self.writer), **self.beside},
            queue=self.queue,
            claims=claims,
            settler=settler,
            failures=failures,
            uploads=self.uploads,
            budget=self.budget,
            part_bytes=MIB,
            now=lambda: self.now,
            on_step=self.on_step,
            deaths=DEATHS,
        )

    async def replicate(self, task: Task, worker: str = "worker-1") -> Delivered:
        delivery = Delivered(encode(task))
        await self.replicator(worker).replicate(delivery)
        return delivery

    async def put(self, key: str, data: bytes, headers: Headers | None = None) -> StoredObject:
        """Write an object at the source, over whatever is there."""
        there = await self.source_writer.stat(key)
        precondition = Absent() if there is None else Matches(there.version)
        return await self.source_writer.put(key, Body(data, crc32c(data), headers or Headers()), precondition)

    async def task(self, found: StoredObject) -> Task:
        """A task as the publisher makes and records it."""
        if self._job is None:
            self._job = await self.jobs.open(ROUTE, "demand", NOW)
        number, self._tasks = self._tasks, self._tasks + 1
        await publish(self.redis, ROUTE, self._job.id, [(found.key, found.version.token)], at=NOW, after=found.key)
        url = f"memory://destination/to/{found.key}"
        queued = datetime.fromtimestamp(NOW, UTC)
        return Task(ROUTE, found.key, found.version, found.size, found.modified, url, self._job.id, number, queued)

    async def job(self) -> Job:
        assert self._job is not None
        found = await self.jobs.get(self._job.id)
        assert found is not None
        return found

    async def arrived(self, key: str) -> bytes:
        return (await self.destination_reader.read(key, None, None)).data

    def sent(self) -> list[Task]:
        return [decode(message) for message in self.queue.messages]


@pytest.fixture
async def world(redis_address: str, fresh: str) -> AsyncIterator[World]:
    store = await Store.open(RedisSettings(address=redis_address, prefix=fresh))
    yield World(fresh, store)
    memory.drop(f"{fresh}-source")
    memory.drop(f"{fresh}-destination")
    await store.close()


def noise(size: int) -> bytes:
    return os.urandom(size)
