"""Who scans what and when: every route, one publisher of several, nothing twice at a time, nothing forgotten."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from common.errors import LocationMissing, Unavailable
from common.state.locks import Leader
from common.state.reconciliations import Reconciliations
from publisher.leadership import Leadership
from publisher.position import Position
from publisher.schedule import Scheduler
from tests.unit.publisher.listing import FakeReader, thing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from common.config import Route
    from common.objects import StoredObject
    from common.state.jobs import Job
    from tests.unit.publisher.conftest import Surroundings

LEASE = 0.9


class MortalLock:
    """The lock in Redis. From `die` on its holder does nothing any more, as if it had been killed."""

    def __init__(self, leader: Leader) -> None:
        self.leader = leader
        self.dead = False

    def die(self) -> None:
        self.dead = True

    async def take(self) -> int:
        if self.dead:
            await asyncio.Event().wait()
        return await self.leader.take()

    async def give_up(self) -> bool:
        return not self.dead and await self.leader.give_up()


class Ticks:
    """The scheduler's clock, moved by tests."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class Publisher:
    """One of several publishers: its scheduler, its lock, and its own readers for each route."""

    def __init__(
        self, around: Surroundings, name: str, readers: dict[str, FakeReader], ticks: Ticks, routes: list[Route], lock: float
    ) -> None:
        self.readers = readers
        self.lock = MortalLock(Leader(around.store, "publisher", name, lock))
        self.scheduler = Scheduler(
            routes,
            jobs=around.jobs,
            scanner=around.scanner(readers, owner=name),
            leadership=Leadership(self.lock, LEASE),
            sweep_seconds=600,
            reconciliations=Reconciliations(around.store),
            poll_seconds=0.02,
            clock=ticks,
            now=around.clock,
        )
        self.stop = asyncio.Event()

    @property
    def idle(self) -> bool:
        """No scan is running, to the last line of its bookkeeping."""
        return all(turn.idle for turn in self.scheduler._turns.values())


class Bench:
    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.ticks = Ticks()

    @asynccontextmanager
    async def running(
        self, readers: dict[str, FakeReader], name: str = "one", lock_seconds: float = LEASE
    ) -> AsyncIterator[Publisher]:
        routes = [self.around.route(route) for route in readers]
        publisher = Publisher(self.around, name, readers, self.ticks, routes, lock_seconds)
        running = asyncio.create_task(publisher.scheduler.run(publisher.stop))
        try:
            yield publisher
        finally:
            publisher.stop.set()
            await asyncio.wait_for(running, 15)

    async def jobs(self, route: str) -> list[Job]:
        return list(reversed(await self.around.jobs.recent(100, route)))

    async def settled(self) -> None:
        """Long enough for the scheduler to do something it should not."""
        await asyncio.sleep(0.15)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.01)


@pytest.fixture
def bench(surroundings: Surroundings) -> Bench:
    return Bench(surroundings)


async def test_every_route_is_swept_at_start_and_at_every_step_of_the_grid(bench: Bench) -> None:
    # Given two routes
    readers = {"a": FakeReader([thing("x")]), "b": FakeReader([thing("y")])}
    async with bench.running(readers) as publisher:
        # Then both are swept at start, once
        await until(lambda: all(reader.closed == 1 for reader in readers.values()) and publisher.idle)
        await bench.settled()
        assert [len(reader.listings) for reader in readers.values()] == [1, 1]
        # And again when the time has come
        bench.ticks.time = 599
        await bench.settled()
        assert [len(reader.listings) for reader in readers.values()] == [1, 1]
        bench.ticks.time = 600
        await until(lambda: all(reader.closed == 2 for reader in readers.values()))
    # In one job, because what it is about is still in flight
    assert [(job.kind, job.scans, job.listed, job.in_flight) for job in await bench.jobs("a")] == [("sweep", 2, 1, 1)]


async def test_missed_steps_do_not_pile_up(bench: Bench) -> None:
    # Given a sweep
    reader = FakeReader([thing("x")])
    async with bench.running({"a": reader}) as publisher:
        await until(lambda: reader.closed == 1 and publisher.idle)
        # When nine steps pass at once
        bench.ticks.time = 5500
        # Then there is one sweep, and the next one is due at the next step
        await until(lambda: reader.closed == 2 and publisher.idle)
        await bench.settled()
        assert reader.closed == 2
        bench.ticks.time = 6000
        await until(lambda: reader.closed == 3)


async def test_a_sweep_that_outlasts_its_interval_is_not_joined_by_another(bench: Bench) -> None:
    # Given a listing that takes its time
    slow = SlowReader([thing("x"), thing("y")], page=1)
    async with bench.running({"a": slow}):
        await asyncio.wait_for(slow.reached.wait(), 10)
        # When the next steps come meanwhile
        bench.ticks.time = 1300
        await bench.settled()
        # Then the route is scanned once at a time, and what was missed stays missed
        assert len(slow.listings) == 1
        slow.go.set()
        await until(lambda: slow.closed == 1)
        await bench.settled()
        assert len(slow.listings) == 1


async def test_a_route_that_fails_stops_no_other_and_is_tried_again(bench: Bench) -> None:
    # Given a bucket that does not exist, a reader that breaks, and a good route
    def missing(number: int) -> None:
        if number == 0:
            raise LocationMissing("no such bucket")

    def broken(number: int) -> None:
        if number == 0:
            raise ZeroDivisionError

    readers = {
        "bad": FakeReader([thing("x")], before_page=missing),
        "broken": FakeReader([thing("y")], before_page=broken),
        "good": FakeReader([thing("z")]),
    }
    async with bench.running(readers) as publisher:
        await until(lambda: all(reader.closed == 1 for reader in readers.values()) and publisher.idle)
        await bench.settled()
        # Then the good one is done, the bad one says why not, and neither is hammered
        (failed,) = await bench.jobs("bad")
        assert failed.state == "failed"
        assert "no such bucket" in (failed.message or "")
        assert [len(reader.listings) for reader in readers.values()] == [1, 1, 1]
        # And the next sweep tries all again
        bench.ticks.time = 600
        bench.around.clock.time += 600
        await until(lambda: all(reader.closed == 2 for reader in readers.values()))
    assert [job.state for job in await bench.jobs("bad")] == ["failed", "moving"]
    assert [job.state for job in await bench.jobs("broken")] == ["moving"]
    assert {task.key for task in await bench.around.drain()} == {"x", "y", "z"}


async def test_an_interrupted_scan_is_resumed_by_the_next_sweep_or_on_demand(bench: Bench) -> None:
    # Given a source that goes away twice
    trouble = {1, 2}

    def refuse(number: int) -> None:
        if number in trouble:
            raise Unavailable("503")

    reader = FakeReader([thing("x"), thing("y")], page=1, before_page=refuse)
    async with bench.running({"a": reader}) as publisher:
        await until(lambda: reader.closed == 1 and publisher.idle)
        await bench.settled()
        assert reader.listings == [None]
        # When the next sweep comes, it goes on with the same job
        bench.ticks.time = 600
        await until(lambda: reader.closed == 2 and publisher.idle)
        # When someone asks, it goes on at once
        (asked,) = await publisher.scheduler.request(["a"])
        await until(lambda: reader.closed == 3)
    (job,) = await bench.jobs("a")
    assert (job.id, job.state) == (asked.id, "moving")
    assert reader.listings == [None, "x", "x"]


async def test_a_scan_can_be_asked_for(bench: Bench) -> None:
    # Given a route that has been swept
    reader = FakeReader([thing("x")])
    async with bench.running({"a": reader}) as publisher:
        await until(lambda: reader.closed == 1 and publisher.idle)
        # When someone asks for a scan
        (job,) = await publisher.scheduler.request(["a"])
        # Then it happens at once, as a job of its own
        await until(lambda: reader.closed == 2)
        assert job.kind == "demand"
        await bench.settled()
        assert reader.closed == 2


async def test_asking_during_a_scan_gives_the_scan_under_way(bench: Bench) -> None:
    # Given a scan under way
    slow = SlowReader([thing("x"), thing("y")], page=1)
    async with bench.running({"a": slow}) as publisher:
        await asyncio.wait_for(slow.reached.wait(), 10)
        # When someone asks for another, twice at once
        first, second = await asyncio.gather(publisher.scheduler.request(["a"]), publisher.scheduler.request(["a"]))
        slow.go.set()
        await until(lambda: slow.closed == 1)
        await bench.settled()
    # Then there was one
    (job,) = await bench.jobs("a")
    assert [asked.id for asked in (*first, *second)] == [job.id, job.id]
    assert len(slow.listings) == 1


async def test_of_two_publishers_one_sweeps_and_both_can_be_asked(bench: Bench) -> None:
    # Given two publishers
    mine, theirs = FakeReader([thing("x")]), FakeReader([thing("x")])
    async with bench.running({"a": mine}, "one") as leader:
        await until(lambda: mine.closed == 1 and leader.idle)
        async with bench.running({"a": theirs}, "two") as follower:
            await bench.settled()
            # When the next sweep is due
            bench.ticks.time = 600
            await until(lambda: mine.closed == 2 and leader.idle)
            await bench.settled()
            # Then one publisher has listed
            assert (len(mine.listings), len(theirs.listings)) == (2, 0)
            # When the other one is asked for a scan
            await follower.scheduler.request(["a"])
            # Then the leader sees to it
            await until(lambda: mine.closed == 3)
            assert theirs.listings == []


async def test_when_the_leader_stops_the_other_takes_over_at_once(bench: Bench) -> None:
    # Given a leader and a follower, and a lock that would outlast this test
    mine, theirs = FakeReader([thing("x")]), FakeReader([thing("x")])
    async with bench.running({"a": mine}, "one", lock_seconds=600) as leader:
        await until(lambda: mine.closed == 1)
        async with bench.running({"a": theirs}, "two", lock_seconds=600):
            # When the leader is told to stop
            leader.stop.set()
            # Then the other sweeps without waiting for the lock to run out
            await until(lambda: theirs.closed == 1)


async def test_when_the_leader_is_killed_the_other_resumes_its_scan(bench: Bench) -> None:
    # Given a leader in the middle of a scan, and a follower
    objects = [thing(key) for key in "abcdef"]
    slow, theirs = SlowReader(objects, page=2, at=2), FakeReader(objects, page=2)
    async with bench.running({"a": slow}, "one") as leader:
        await asyncio.wait_for(slow.reached.wait(), 10)
        async with bench.running({"a": theirs}, "two") as follower:
            await bench.settled()
            assert theirs.listings == []
            # When the leader is killed
            leader.lock.die()
            await until(lambda: theirs.closed == 1 and follower.idle)
            # Then the other takes over as soon as the lock has run out, and goes on from the checkpoint
            assert len(theirs.listings) == 1
            assert theirs.listings[0] in (None, "b", "d")
            (job,) = await bench.jobs("a")
            assert (job.state, job.listed, job.in_flight, job.unbalanced) == ("moving", 6, 6, 0)
            # When the dead one turns out to have been asleep
            slow.go.set()
            await until(lambda: slow.closed == 1)
            # Then it stops without touching what is not its own any more
            assert await bench.jobs("a") == [job]
    tasks = await bench.around.drain()
    assert {task.key for task in tasks} == set("abcdef")


async def test_stopping_finishes_the_pages_under_way(bench: Bench) -> None:
    # Given a scan in the middle
    objects = [thing(key) for key in "abcdef"]
    slow = SlowReader(objects, page=2, at=2)
    async with bench.running({"a": slow}) as publisher:
        await asyncio.wait_for(slow.reached.wait(), 10)
        while Position.of((await bench.jobs("a"))[-1].checkpoint).after != "d":  # noqa: ASYNC110 - it is in Redis
            await asyncio.sleep(0.01)
        # When the publisher is told to stop
        publisher.stop.set()
        await asyncio.sleep(0.05)
        slow.go.set()
    # Then no further page was begun, what was begun is recorded, and the next publisher goes on from there
    again = FakeReader(objects, page=2)
    async with bench.running({"a": again}):
        await until(lambda: again.closed == 1)
    assert again.listings == ["d"]
    assert [task.key for task in await bench.around.drain()] == list("abcdef")


class SlowReader(FakeReader):
    """Stops before page `at` until told to `go`."""

    def __init__(self, objects: list[StoredObject], *, page: int, at: int = 1) -> None:
        super().__init__(objects, page=page)
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self.at = at

    async def list(self, after: str | None = None):
        async for page in super().list(after):
            if self.pages == self.at + 1:
                self.reached.set()
                await self.go.wait()
            yield page


async def test_a_reconciliation_that_is_asked_for_is_noted_before_its_scan_begins(bench: Bench) -> None:
    # Given a publisher whose first sweep is over
    notes = Reconciliations(bench.around.store)
    reader = FakeReader([thing("a")])
    async with bench.running({"one": reader}) as publisher:
        await until(lambda: bool(reader.listings) and publisher.idle)
        assert not await notes.due("one", 0, 0)
        # When a scan is asked for, and then one that lists the destination as well
        await publisher.scheduler.request(["one"])
        assert not await notes.due("one", 0, 0)
        await publisher.scheduler.request(["one"], reconcile=True)
        # Then the next scan that begins is told so
        assert await notes.due("one", 0, 0)
