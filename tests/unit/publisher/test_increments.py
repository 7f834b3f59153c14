"""Sweeps that look at what has changed only: when they do, when they look at everything, and that nothing falls in between."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from common.config import Location, Route, Settings, StoreOptions
from common.errors import Parked, Unavailable
from common.state.cache import Kind
from common.state.feeds import Feeds
from common.steps import Step
from common.storage import registry
from common.transport.http import Transport
from publisher.increments import Increments
from tests.fakes.drive import DriveServer, Fault
from tests.fakes.drive import Kind as Fails
from tests.unit.publisher.conftest import KillAt, Killed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.state.jobs import Job, JobKind
    from common.steps import OnStep
    from common.task import Task
    from publisher.jobs import Scanner
    from tests.unit.publisher.conftest import Surroundings

DAY = 86400.0


class Followed:
    """A route from a folder of Drive, swept by one publisher."""

    def __init__(self, surroundings: Surroundings, server: DriveServer, transport: Transport) -> None:
        self.surroundings = surroundings
        self.server = server
        self.transport = transport
        self.place = server.folder("place")
        server.folder("elsewhere")
        self.options: dict[str, Any] = {}

    @property
    def route(self) -> Route:
        options = StoreOptions(endpoint=self.server.url, **self.options)
        source, destination = Location.parse("gdrive://root/place"), Location.parse("gs://destination")
        return Route(name="r", source=source, destination=destination, source_options=options)

    def scanner(self, on_step: OnStep) -> Scanner:
        def reader(route: Route) -> Any:
            drive = registry.BACKENDS["gdrive"]
            return drive.reader(route.source, route.source_options, Settings(), self.transport)

        scanner = self.surroundings.scanner({}, on_step=on_step)
        clock = self.surroundings.clock
        return replace(scanner, open_reader=reader, increments=Increments(Feeds(self.surroundings.store), DAY, clock))

    async def scan(self, kind: JobKind = "sweep", *, on_step: OnStep = lambda _: None, job: Job | None = None) -> Job:
        job = job or await self.surroundings.jobs.open("r", kind, self.surroundings.clock())
        await self.scanner(on_step).run(self.route, job, term=1)
        return await self.surroundings.job(job)

    async def sweep(self, kind: JobKind = "sweep") -> tuple[list[str], int]:
        """The keys of the tasks that were sent, which are then consumed, and how many objects were looked at."""
        job = await self.scan(kind)
        return await self.through(), job.listed

    async def through(self) -> list[str]:
        tasks: list[Task] = await self.surroundings.drain()
        await self.surroundings.consume(tasks)
        return sorted(task.key for task in tasks)


@pytest.fixture
async def followed(surroundings: Surroundings) -> AsyncIterator[Followed]:
    transport = Transport()
    async with DriveServer() as server:
        yield Followed(surroundings, server, transport)
        await transport.close()


async def test_after_the_first_sweep_only_changes_are_looked_at(followed: Followed) -> None:
    # Given a folder that was swept
    server, place = followed.server, followed.place
    first = server.put("first", b"x", parent=place)
    server.put("second", b"x", parent=place)
    assert await followed.sweep() == (["first", "second"], 2)

    # When nothing has changed, then nothing is looked at
    assert await followed.sweep() == ([], 0)
    server.requests.clear()

    # When one is changed and one is made, then the sweep sends these two and looks at no other
    server.seed.change(server.store.get(first), {"data": b"changed"})
    server.put("third", b"x", parent=place)
    assert await followed.sweep() == (["first", "third"], 2)
    assert await followed.sweep() == ([], 0)


async def test_once_in_a_while_everything_is_looked_at(followed: Followed) -> None:
    # Given a folder that was swept a day ago, and since then
    followed.server.put("file", b"x", parent=followed.place)
    assert await followed.sweep() == (["file"], 1)
    followed.surroundings.clock.time += DAY - 1
    assert await followed.sweep() == ([], 0)

    # When the day is over
    followed.surroundings.clock.time += 1

    # Then everything is looked at, once
    assert await followed.sweep() == ([], 1)
    assert await followed.sweep() == ([], 0)


@pytest.mark.parametrize("kind", ["demand", "sync"])
async def test_who_asks_for_a_scan_gets_a_full_one(followed: Followed, kind: JobKind) -> None:
    # Given a folder that was swept
    followed.server.put("file", b"x", parent=followed.place)
    await followed.sweep()

    # When somebody asks for a scan, then everything is looked at, and the sweeps go on from there
    assert await followed.sweep(kind) == ([], 1)
    followed.server.put("new", b"x", parent=followed.place)
    assert await followed.sweep() == (["new"], 1)


async def test_what_changes_while_a_sweep_runs_is_seen_by_the_next(followed: Followed) -> None:
    # Given a sweep that has listed the folder
    server, place = followed.server, followed.place
    server.put("file", b"x", parent=place)

    def and_then(step: Step) -> None:
        if step is Step.PAGE_LISTED:
            server.put("meanwhile", b"x", parent=place)

    await followed.scan(on_step=and_then)
    assert await followed.through() == ["file"]

    # When the next looks at the changes, then what was made meanwhile is among them
    keys, _ = await followed.sweep()
    assert keys == ["meanwhile"]


@pytest.mark.parametrize("step", [Step.PAGE_LISTED, Step.SCAN_ENDED])
async def test_a_sweep_that_was_killed_loses_no_change(followed: Followed, step: Step) -> None:
    # Given a change, and a publisher that dies while it looks at the changes
    server, place = followed.server, followed.place
    server.put("file", b"x", parent=place)
    await followed.sweep()
    server.put("new", b"x", parent=place)
    job = await followed.surroundings.jobs.open("r", "sweep", followed.surroundings.clock())
    with pytest.raises(Killed):
        await followed.scan(on_step=KillAt(step), job=job)

    # When another goes on with its job
    resumed = await followed.surroundings.jobs.resumable("r")
    assert resumed is not None
    await followed.scan(job=resumed)

    # Then the change is published, and the next sweep looks at what comes after it
    assert await followed.through() == ["new"]
    assert await followed.sweep() == ([], 0)


async def test_a_sweep_that_failed_leaves_the_changes_to_the_next(followed: Followed) -> None:
    # Given a change, and a feed that is away
    server, place = followed.server, followed.place
    server.put("file", b"x", parent=place)
    await followed.sweep()
    server.put("new", b"x", parent=place)
    fault = Fault(Fails.STATUS, operation="changes.list", status=503, times=0)
    server.faults.add(fault)
    job = await followed.surroundings.jobs.open("r", "sweep", followed.surroundings.clock())
    with pytest.raises(Unavailable):
        await followed.scan(job=job)
    await followed.surroundings.jobs.fail(job.id, 1, "given up")

    # When it is back, then the next sweep brings the change
    server.faults.clear()
    assert await followed.sweep() == (["new"], 1)


async def test_a_limit_of_the_day_leaves_the_sweep_to_be_resumed(followed: Followed) -> None:
    # Given a project whose requests of the day are used up
    followed.server.put("file", b"x", parent=followed.place)
    followed.server.faults.add(Fault(Fails.STATUS, operation="files.list", reason="dailyLimitExceeded"))
    job = await followed.surroundings.jobs.open("r", "sweep", followed.surroundings.clock())

    # When the folder is swept, then the sweep says until when, and its job stays as it is
    with pytest.raises(Parked, match="A limit of the day is used up") as parked:
        await followed.scan(job=job)
    assert parked.value.until > 0
    assert (await followed.surroundings.job(job)).state == "scanning"

    # And later it goes on
    await followed.scan(job=job)
    assert await followed.through() == ["file"]


@pytest.mark.parametrize("change", ["options", "records", "record"])
async def test_another_question_is_answered_from_everything(followed: Followed, change: str) -> None:
    # Given a folder that was swept
    followed.server.put("file", b"x", parent=followed.place)
    await followed.sweep()
    cache = followed.surroundings.cache

    # When the route looks at other things there, or records of it are deleted
    if change == "options":
        followed.options = {"natives": "export"}
    elif change == "records":
        await cache.delete("r", None)
    else:
        await cache.delete_one("r", Kind.CONSUMED, "file")
        await cache.delete_one("r", Kind.PUBLISHED, "file")

    # Then the next sweep looks at everything
    keys, listed = await followed.sweep()
    assert (keys, listed) == (["file"] if change != "options" else [], 1)
