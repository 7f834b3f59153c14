"""A scan that lists the destination as well: what is not there as it was copied is sent again, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.errors import Forbidden
from common.state.cache import Receipt, Settled, Settlement
from common.state.reconciliations import Reconciliations
from common.steps import Step
from publisher.reconcile import Reconciler
from tests.unit.publisher.conftest import KillAt, Killed
from tests.unit.publisher.listing import FakeReader, thing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.objects import StoredObject
    from common.state.jobs import Job
    from common.storage.base import Page
    from common.task import Task
    from publisher.jobs import Scanner
    from tests.unit.publisher.conftest import Surroundings

DAY = 86400.0


class Pair:
    """Ten objects, k0 to k9, at a source and, copied, at a destination."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.around = surroundings
        self.source = [thing(f"k{number}") for number in range(10)]
        self.there = [thing(f"k{number}", "g1") for number in range(10)]
        self.page = 3
        self.destinations: list[FakeReader] = []
        self.fails = False
        self.notes = Reconciliations(surroundings.store)

    def scanner(self, every: float = DAY, **how: object) -> Scanner:
        scanner = self.around.scanner(FakeReader(self.source, page=self.page), **how)  # type: ignore[arg-type]
        reconciler = Reconciler(lambda _: self.destination(), self.notes, self.around.jobs, every, self.around.clock)
        return replace(scanner, reconciler=reconciler)

    def destination(self) -> FakeReader:
        reader = Forbidding(self.there, page=4) if self.fails else FakeReader(self.there, page=4)
        self.destinations.append(reader)
        return reader

    async def scan(self, scanner: Scanner | None = None, **asked: bool) -> Job:
        job = await self.around.open()
        await (scanner or self.scanner()).run(self.around.route(), job, term=1, **asked)  # type: ignore[arg-type]
        return await self.around.job(job)

    async def copied(self) -> None:
        """Everything is, and some time has passed."""
        await self.scan(reconcile=False)
        await self.around.consume(await self.around.drain())
        self.around.clock.time += 10

    def alter(self, key: str, *made: StoredObject) -> None:
        """What the destination has in the place of this object."""
        self.there = [other for item in self.there for other in ((item,) if item.key != key else made)]


class Forbidding(FakeReader):
    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        async for page in super().list(after):
            yield page
            raise Forbidden("403 AccessDenied")


@pytest.fixture
async def pair(surroundings: Surroundings) -> Pair:
    made = Pair(surroundings)
    await made.copied()
    return made


def by_key(tasks: Sequence[Task]) -> dict[str, bool]:
    """Whether each is told that something is there."""
    return {task.key: task.there for task in tasks}


async def test_an_unchanged_pair_costs_two_listings(pair: Pair) -> None:
    # When a pair of which nothing has changed is compared
    job = await pair.scan(reconcile=True)
    # Then both were listed once, and nothing was sent
    assert await pair.around.drain() == []
    assert [(reader.listings, reader.pages, reader.closed) for reader in pair.destinations] == [([None], 3, 1)]
    assert (job.state, job.listed, job.proven, job.distrusted, job.extra, job.unlisted) == ("done", 10, 10, 0, 0, None)


async def test_what_was_deleted_or_altered_is_sent_again(pair: Pair) -> None:
    # Given objects that were deleted, overwritten and cut short at the destination, and one that somebody has put there
    pair.alter("k1")
    pair.alter("k4", thing("k4", "g2"))
    pair.alter("k7", thing("k7", "g1", size=0))
    pair.there.append(thing("theirs", "g1"))
    # And a new object, of which the destination has something, and a changed one
    pair.source += [thing("theirs")]
    pair.source[2] = thing("k2", "e2")
    # When both sides are compared
    job = await pair.scan(reconcile=True)
    # Then those are sent, and whoever writes looks first where something is that no receipt names
    tasks = await pair.around.drain()
    assert by_key(tasks) == {"k1": False, "k4": True, "k7": True, "theirs": True, "k2": False}
    assert (job.listed, job.proven, job.in_flight, job.distrusted, job.extra) == (11, 6, 5, 3, 0)
    # And each is counted once, when it has arrived
    await pair.around.consume(tasks)
    ended = await pair.around.job(job)
    assert (ended.state, ended.moved, ended.proven, ended.unbalanced) == ("done", 5, 6, 0)


async def test_what_is_there_beside_is_only_counted(pair: Pair) -> None:
    # Given objects at the destination that the source does not have
    pair.there += [thing("a"), thing("k55"), thing("z"), thing("marker/", size=0)]
    # When both sides are compared, then they are counted, and are no part of the sum
    job = await pair.scan(reconcile=True)
    assert (job.listed, job.proven, job.extra, job.unbalanced) == (10, 10, 3, 0)
    # And a scan that does not look says nothing of them
    assert (await pair.scan(reconcile=False)).extra is None


async def test_a_destination_that_cannot_be_listed_is_said_and_distrusts_nothing(pair: Pair) -> None:
    # Given a destination that lets only its first page be read
    pair.fails, pair.page = True, 10
    pair.source += [thing("new")]
    # When both sides are to be compared
    job = await pair.scan()
    # Then only what is new is sent, and the reason is told, with what to check
    assert by_key(await pair.around.drain()) == {"new": False}
    assert (job.proven, job.distrusted, job.extra) == (10, 0, None)
    assert job.unlisted == (
        "route r: cannot list gs://destination-r/out/: 403 AccessDenied. Check that the credentials are the right ones, and that "
        "they may list it (s3:ListBucket, storage.objects.list; on Drive, that the folder is shared with them)."
    )
    # And the next sweep tries again
    pair.fails = False
    again = await pair.scan()
    assert (again.unlisted, again.extra) == (None, 0)


async def test_sweeps_look_once_in_a_while_and_when_asked(pair: Pair) -> None:
    # Given a route that was never reconciled
    looked = [await looks(pair)]
    # When it is swept again and again, once after a day
    looked.append(await looks(pair))
    pair.around.clock.time += DAY
    looked += [await looks(pair), await looks(pair)]
    # And somebody asks
    await pair.notes.want("r")
    looked += [await looks(pair), await looks(pair)]
    # Then the destination is listed at first, once a day, and when somebody asks
    assert looked == [True, False, True, False, True, False]
    # And never by itself where the settings say so
    pair.around.clock.time += 10 * DAY
    assert not await looks(pair, every=0)


async def looks(pair: Pair, every: float = DAY) -> bool:
    pair.destinations.clear()
    await pair.scan(pair.scanner(every))
    return bool(pair.destinations)


@pytest.mark.parametrize("step", [Step.PAGE_DIFFED, Step.BATCH_QUEUED, Step.BATCH_RECORDED, Step.SCAN_ENDED])
@pytest.mark.parametrize("time", [1, 2])
async def test_a_crash_at_any_step_costs_looks_and_no_more(pair: Pair, step: Step, time: int) -> None:
    # Given a destination where every other object is gone, and a publisher that dies while it compares
    for number in range(0, 10, 2):
        pair.alter(f"k{number}")
    job = await pair.around.open()
    with pytest.raises(Killed):
        await pair.scanner(on_step=KillAt(step, 1 if step is Step.SCAN_ENDED else time)).run(pair.around.route(), job, term=1)
    # When another one goes on, then it compares the rest as well
    pair.destinations.clear()
    await pair.scan()
    assert bool(pair.destinations) == (step is not Step.SCAN_ENDED)
    # And what is gone is sent, at once, and counted once
    tasks = await pair.around.drain()
    assert by_key(tasks) == {f"k{number}": False for number in range(0, 10, 2)}
    await pair.around.consume(tasks)
    ended = await pair.around.job(job)
    assert (ended.state, ended.listed, ended.moved, ended.proven, ended.unbalanced) == ("done", 10, 5, 5, 0)
    assert ended.distrusted == 5


async def test_what_is_copied_while_the_destination_is_listed_is_not_distrusted(pair: Pair) -> None:
    # Given an object that is gone at the destination, and is brought back while both sides are listed
    pair.alter("k3")
    job = await pair.around.open()
    now = int(pair.around.clock.time)

    def brought(step: Step) -> None:
        if step is Step.PAGE_LISTED:
            pair.around.clock.time += 1

    receipt = Receipt("e1", 1, None, "g9", now + 1, "w")
    await pair.around.cache.settle([Settlement("r", "k3", "e1", "w", Settled.PROVEN, receipt)])
    await pair.scanner(on_step=brought).run(pair.around.route(), job, term=1, reconcile=True)
    # Then its receipt, being newer, stands
    assert await pair.around.drain() == []
    assert (await pair.around.job(job)).distrusted == 0
