"""A job from its first page to its end, with a real Redis and a real queue: complete, resumable, counted right."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.errors import Forbidden, LocationMissing, ObjectError, Unavailable
from common.state.claims import Missed, Settled, Settlement
from common.steps import Step
from common.storage.base import Fault
from publisher.jobs import COMPARED_AHEAD
from publisher.position import Position
from publisher.publish import PAGES_UNDER_WAY
from publisher.scan import QUEUED
from tests.unit.publisher.conftest import KillAt, Killed
from tests.unit.publisher.listing import MODIFIED, FakeReader, Service, thing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.storage.base import Page
    from common.task import Task
    from tests.unit.publisher.conftest import Surroundings

NASTY = ["a b", "a+b", "a%20b", "a#b?c", "ключ", "x//y", "../up", "new\nline", "*", "published:a:b", "k" * 900]


def keys(tasks: list[Task]) -> list[str]:
    return sorted(task.key for task in tasks)


async def test_everything_new_is_published_once_with_all_that_a_worker_needs(surroundings: Surroundings) -> None:
    # Given objects with all kinds of names, and a marker
    reader = FakeReader([*(thing(key, "e1", 7) for key in NASTY), thing("dir/", size=0)], page=4)
    route = surroundings.route()
    job = await surroundings.open()
    # When the job is scanned
    assert await surroundings.scanner(reader).run(route, job, term=1)
    # Then there is one task for each, numbered without a gap
    tasks = await surroundings.drain()
    assert keys(tasks) == sorted(NASTY)
    assert [task.number for task in tasks] == list(range(len(NASTY)))
    task = next(task for task in tasks if task.key == "a b")
    assert (task.route, task.version.token, task.size, task.modified, task.job) == ("r", "e1", 7, MODIFIED, job.id)
    assert task.destination == "gs://destination-r/out/a b"
    assert task.queued.timestamp() == surroundings.clock()
    # And each is recorded as published, and the job waits for its tasks
    records = await surroundings.cache.lookup("r", NASTY)
    assert all(record.published is not None and record.published.etag == "e1" for record in records)
    ended = await surroundings.job(job)
    assert (ended.state, ended.published, ended.in_flight, ended.proven) == ("moving", len(NASTY), len(NASTY), 0)
    assert (ended.listed, ended.left_out, ended.unbalanced) == (len(NASTY) + 1, {"marker": 1}, 0)
    assert reader.closed == 1
    # When the workers are through
    await surroundings.consume(tasks)
    # Then the job is done
    assert (await surroundings.job(job)).state == "done"


async def test_the_second_scan_sends_only_what_changed(surroundings: Surroundings) -> None:
    # Given ten consumed objects
    route = surroundings.route()
    objects = [thing(f"k{number}") for number in range(10)]
    await surroundings.scanner(FakeReader(objects)).run(route, await surroundings.open(), term=1)
    await surroundings.consume(await surroundings.drain())
    # When one has changed and one is new
    objects[3] = thing("k3", "e2")
    job = await surroundings.open()
    await surroundings.scanner(FakeReader([*objects, thing("new")], page=3)).run(route, job, term=1)
    # Then those two are sent
    tasks = await surroundings.drain()
    assert [(task.key, task.version.token) for task in tasks] == [("k3", "e2"), ("new", "e1")]
    found = await surroundings.job(job)
    assert (found.listed, found.proven, found.published, found.unbalanced) == (11, 9, 2, 0)


async def test_a_scan_with_nothing_to_send_is_done_at_once(surroundings: Surroundings) -> None:
    # Given an empty source
    job = await surroundings.open()
    # When it is scanned
    await surroundings.scanner(FakeReader([])).run(surroundings.route(), job, term=1)
    # Then the job has ended
    assert (await surroundings.job(job)).state == "done"


async def test_what_is_published_but_never_consumed_is_published_again_later(surroundings: Surroundings) -> None:
    # Given an object whose task is lost
    route, reader = surroundings.route(), FakeReader([thing("a")])
    await surroundings.scanner(reader).run(route, await surroundings.open(), term=1)
    assert keys(await surroundings.drain()) == ["a"]
    # When it is scanned again soon, then it is taken to be in flight
    surroundings.clock.time += 3599
    await surroundings.scanner(reader).run(route, await surroundings.open(), term=1)
    assert await surroundings.drain() == []
    # When `republish_after` has passed, then it is sent again
    surroundings.clock.time += 1
    await surroundings.scanner(reader).run(route, await surroundings.open(), term=1)
    assert keys(await surroundings.drain()) == ["a"]


STEPS = [Step.PAGE_LISTED, Step.PAGE_DIFFED, Step.PAGE_RESERVED, Step.BATCH_QUEUED, Step.BATCH_RECORDED, Step.SCAN_ENDED]


@pytest.mark.parametrize("workers_go_on", [False, True])
@pytest.mark.parametrize("time", [1, 2, 5])
@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_at_any_step_loses_nothing_and_counts_right(
    surroundings: Surroundings, step: Step, time: int, workers_go_on: bool
) -> None:
    # Given seven pages of two, and a publisher that dies at some step, some time
    route = surroundings.route()
    objects = [thing(f"{number:02}") for number in range(14)]
    reader = FakeReader(objects, page=2)
    job = await surroundings.open()
    delivered: list[Task] = []
    dies = KillAt(step, 1 if step is Step.SCAN_ENDED else time)
    with pytest.raises(Killed):
        await surroundings.scanner(reader, on_step=dies).run(route, job, term=1)
    # And workers that meanwhile move what was sent, or do not
    if workers_go_on:
        delivered = await surroundings.drain()
        await surroundings.consume(delivered)
    # When another publisher resumes the job
    resumed = await surroundings.jobs.resumable("r")
    assert resumed is not None
    assert resumed.id == job.id
    assert await surroundings.scanner(reader).run(route, resumed, term=1)
    # Then it is not done before every object is
    rest = await surroundings.drain()
    delivered += rest
    assert set(keys(delivered)) == {item.key for item in objects}
    # And nothing counts twice
    last = [task for task in rest if task.key == rest[-1].key]
    await surroundings.consume([task for task in rest if task not in last])
    before = await surroundings.job(job)
    if rest:
        assert (before.state, before.in_flight) == ("moving", 1)
    await surroundings.consume(last)
    ended = await surroundings.job(job)
    assert ended.state == "done"
    assert (ended.listed, ended.moved + ended.proven, ended.in_flight, ended.unbalanced) == (14, 14, 0, 0)
    assert ended.proven == 0
    # And every object is recorded as consumed
    assert all(record.consumed for record in await surroundings.cache.lookup("r", [item.key for item in objects]))


@pytest.mark.parametrize("side_by_side", [False, True])
async def test_crash_after_crash_ends_in_the_same_place(
    surroundings: Surroundings, side_by_side: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a publisher that dies again and again, at random steps, while workers consume some of what was sent, and late
    route = surroundings.route()
    objects = [thing(f"{number:03}") for number in range(60)]
    dice = random.Random(7)
    # And a listing from end to end, or one in several ranges
    monkeypatch.setattr("publisher.ranges.WORTH_DIVIDING", 0)
    slow = Service([item.key for item in objects], page=5, seconds=0.01)
    job = await surroundings.open()
    waiting: list[Task] = []
    for _ in range(40):
        resumed = await surroundings.jobs.resumable("r")
        if resumed is None:
            break
        dies = KillAt(dice.choice(STEPS), dice.randint(1, 4))
        with contextlib.suppress(Killed):
            await surroundings.scanner(slow if side_by_side else FakeReader(objects, page=5), on_step=dies).run(
                route, resumed, term=1
            )
        waiting += await surroundings.drain()
        dice.shuffle(waiting)
        some = dice.randint(0, len(waiting))
        await surroundings.consume(waiting[:some])
        del waiting[:some]
    # When the scan has ended at last, and everything that was sent is consumed but one object
    assert (await surroundings.job(job)).state in ("moving", "done")
    await surroundings.consume(waiting)
    # Then the job is done, and so is every object
    ended = await surroundings.job(job)
    assert (ended.state, ended.listed, ended.moved, ended.in_flight, ended.unbalanced) == ("done", 60, 60, 0, 0)
    assert (slow.most_at_once > 1) is side_by_side
    assert all(record.consumed for record in await surroundings.cache.lookup("r", [item.key for item in objects]))


async def test_a_job_is_not_done_while_an_object_of_a_later_page_is_on_its_way(surroundings: Surroundings) -> None:
    # Given a publisher that dies after the first page was queued, and workers that move that page at once
    route = surroundings.route()
    reader = FakeReader([thing(key) for key in "abcd"], page=2)
    job = await surroundings.open()
    with pytest.raises(Killed):
        await surroundings.scanner(reader, on_step=KillAt(Step.BATCH_QUEUED)).run(route, job, term=1)
    first = [task for task in await surroundings.drain() if task.key in "ab"]
    await surroundings.consume(first)
    # When the scan is resumed: it finds the first page unchanged and sends the second
    resumed = await surroundings.jobs.resumable("r")
    assert resumed is not None
    await surroundings.scanner(reader).run(route, resumed, term=1)
    # Then what was settled in the first life does not end the job
    assert (await surroundings.job(job)).state == "moving"
    rest = await surroundings.drain()
    assert keys(rest) == ["c", "d"]
    assert min(task.number for task in rest) > max(task.number for task in first)
    await surroundings.consume(rest)
    ended = await surroundings.job(job)
    assert (ended.state, ended.listed, ended.moved, ended.proven, ended.unbalanced) == ("done", 4, 4, 0, 0)


async def test_a_resumed_scan_lists_from_its_checkpoint(surroundings: Surroundings) -> None:
    # Given a scan that was told to stop after two pages
    route = surroundings.route()
    reader = FakeReader([thing(key) for key in "abcdef"], page=2)
    job = await surroundings.open()
    answers = iter([True, True, False])
    assert not await surroundings.scanner(reader).run(route, job, wanted=lambda: next(answers), term=1)
    # When it is resumed
    stopped = await surroundings.job(job)
    assert (stopped.state, Position.of(stopped.checkpoint).after) == ("scanning", "d")
    await surroundings.scanner(reader).run(route, stopped, term=1)
    # Then it goes on where it was, and nothing was sent twice
    assert reader.listings == [None, "d"]
    assert keys(await surroundings.drain()) == list("abcdef")
    assert (await surroundings.job(job)).listed == 6


async def test_a_scan_that_was_taken_over_moves_no_checkpoint(surroundings: Surroundings) -> None:
    # Given a publisher that loses the lead after its first page
    route = surroundings.route()
    reader = FakeReader([thing(key) for key in "abcd"], page=1)
    job = await surroundings.open()
    held = iter([True, True])
    # When it goes on as if nothing had happened
    assert not await surroundings.scanner(reader).run(route, job, held=lambda: next(held, False), term=1)
    # Then what it may no longer record is not recorded, and the job can be resumed
    resumed = await surroundings.jobs.resumable("r")
    assert resumed is not None
    await surroundings.scanner(reader).run(route, resumed, term=1)
    assert set(keys(await surroundings.drain())) == set("abcd")


@pytest.mark.parametrize("error", [LocationMissing("no such bucket"), Forbidden("AccessDenied")])
async def test_what_needs_a_person_fails_the_job_and_says_what_to_check(surroundings: Surroundings, error: ObjectError) -> None:
    # Given a source that cannot be listed any more at its second page
    def refuse(number: int) -> None:
        if number == 1:
            raise error

    reader = FakeReader([thing(key) for key in "ab"], page=1, before_page=refuse)
    job = await surroundings.open()
    # When it is scanned
    with pytest.raises(type(error)) as raised:
        await surroundings.scanner(reader).run(surroundings.route(), job, term=1)
    # Then the job has failed, and says where, why, and what to check
    failed = await surroundings.job(job)
    assert (failed.state, failed.message) == ("failed", str(raised.value))
    assert "s3://source-r/in/" in str(raised.value)
    assert str(error) in str(raised.value)
    assert "Check that" in str(raised.value)
    assert await surroundings.jobs.resumable("r") is None
    # And what was listed before is on its way, and the reader is closed
    assert keys(await surroundings.drain()) == ["a"]
    assert reader.closed == 1


async def test_what_passes_leaves_the_job_where_it_was(surroundings: Surroundings) -> None:
    # Given a source that is away at its third page, once
    trouble = [2]

    def refuse(number: int) -> None:
        if number in trouble:
            trouble.clear()
            raise Unavailable("503")

    reader = FakeReader([thing(key) for key in "abcd"], page=1, before_page=refuse)
    route = surroundings.route()
    job = await surroundings.open()
    with pytest.raises(Unavailable):
        await surroundings.scanner(reader).run(route, job, term=1)
    # When it is scanned again
    resumed = await surroundings.jobs.resumable("r")
    assert resumed is not None
    assert resumed.id == job.id
    await surroundings.scanner(reader).run(route, resumed, term=1)
    # Then it went on at the page that failed, and everything was sent once
    assert reader.listings == [None, "b"]
    assert keys(await surroundings.drain()) == list("abcd")


async def test_a_scan_side_by_side_resumes_where_each_range_stood(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a slow service, and a scan in several ranges that was told to stop in the middle
    monkeypatch.setattr("publisher.ranges.WORTH_DIVIDING", 0)
    names = [f"logs/{number:04}" for number in range(300)]
    route, job = surroundings.route(), await surroundings.open()
    answers = iter([True] * 20 + [False])
    assert not await surroundings.scanner(Service(names, page=5, seconds=0.01)).run(
        route, job, wanted=lambda: next(answers), term=1
    )
    stopped = await surroundings.job(job)
    gaps = Position.of(stopped.checkpoint).gaps
    assert len(gaps) > 1
    assert stopped.listed < 300
    # When it is resumed
    await surroundings.scanner(Service(names, page=5)).run(route, stopped, term=1)
    # Then it has listed the rest and nothing twice, and sent everything once, each with a number of its own
    ended = await surroundings.job(job)
    assert (ended.listed, ended.published, ended.state, ended.unbalanced) == (300, 300, "moving", 0)
    tasks = await surroundings.drain()
    assert keys(tasks) == names
    assert [task.number for task in tasks] == list(range(300))
    await surroundings.consume(tasks)
    assert (await surroundings.job(job)).state == "done"


async def test_a_queue_that_is_slow_holds_the_listing_back(surroundings: Surroundings) -> None:
    # Given a queue that confirms nothing for now
    go = asyncio.Event()
    send = surroundings.outlet.send

    async def slow(messages: Sequence[bytes]) -> None:
        await go.wait()
        await send(messages)

    surroundings.outlet.send = slow  # type: ignore[method-assign]
    reader = FakeReader([thing(f"{number:02}") for number in range(50)], page=1)
    job = await surroundings.open()
    # When a scan goes as far as it can
    scanning = asyncio.create_task(surroundings.scanner(reader).run(surroundings.route(), job, term=1))
    await asyncio.sleep(0.3)
    # Then it has stopped after the pages that may be under way, the one in hand, and those compared and listed ahead
    assert reader.pages == PAGES_UNDER_WAY + 1 + COMPARED_AHEAD + 1 + QUEUED + 1
    assert all(record.published is None for record in await surroundings.cache.lookup("r", ["00", "01"]))
    # When the queue confirms
    go.set()
    # Then everything goes through
    assert await scanning
    assert len(await surroundings.drain()) == 50


async def test_the_location_itself_is_no_object(surroundings: Surroundings) -> None:
    # Given a route that wants markers too
    reader = FakeReader([thing("", size=0), thing("", size=5), thing("dir/", size=0)])
    job = await surroundings.open()
    # When it is scanned
    await surroundings.scanner(reader).run(surroundings.route(skip_directory_markers=False), job, term=1)
    # Then markers with a name are sent, and what has none is not
    assert keys(await surroundings.drain()) == ["dir/"]
    # But what has bytes has failed, by name, and is reported once, however often it is listed
    for _ in range(2):
        found = await surroundings.job(job)
        assert (found.listed, found.in_flight, found.failed, found.left_out) == (3, 1, 1, {"marker": 1})
        await surroundings.scanner(reader).run(
            surroundings.route(skip_directory_markers=False), await surroundings.open(), term=1
        )
    (report,) = await surroundings.reports()
    assert (report.category, report.route, report.key, report.payload) == ("invalid_name", "r", "", b"")
    assert "make the prefix of the route shorter" in report.message


async def test_a_key_that_no_task_can_hold_is_refused_by_name(surroundings: Surroundings) -> None:
    # Given a key that is longer than a task may be, among others
    long = "d/" * 38_500
    reader = FakeReader([thing("a"), thing(long), thing("z")])
    job = await surroundings.open()
    # When it is scanned
    await surroundings.scanner(reader).run(surroundings.route(), job, term=1)
    # Then the others are sent, and that one has failed
    assert keys(await surroundings.drain()) == ["a", "z"]
    found = await surroundings.job(job)
    assert (found.listed, found.in_flight, found.failed, found.unbalanced) == (3, 2, 1, 0)
    (report,) = await surroundings.reports()
    assert (report.category, report.key) == ("invalid_name", long)
    # And the next job has it as failed too, and says nothing new
    await surroundings.consume(await surroundings.tasks_of("a", "z"))
    assert (await surroundings.job(job)).state == "done_with_failures"
    second = await surroundings.open()
    await surroundings.scanner(reader).run(surroundings.route(), second, term=1)
    found = await surroundings.job(second)
    assert (found.state, found.listed, found.proven, found.failed) == ("done_with_failures", 3, 2, 1)
    assert len(await surroundings.reports()) == 1


async def test_an_entry_that_cannot_be_replicated_fails_alone(surroundings: Surroundings) -> None:
    # Given a listing with a directory that cannot be read, and with something that the reader leaves out
    class Faulty(FakeReader):
        faults: tuple[Fault, ...] = (Fault("lost+found", Forbidden("permission denied")),)

        async def list(self, after: str | None = None) -> AsyncIterator[Page]:
            async for page in super().list(after):
                yield replace(page, faults=self.faults, left_out={"socket": 2})

    reader = Faulty([thing("a")])
    job = await surroundings.open()
    # When it is scanned
    await surroundings.scanner(reader).run(surroundings.route(), job, term=1)
    # Then all of it is counted
    found = await surroundings.job(job)
    assert (found.listed, found.in_flight, found.failed, found.left_out, found.unbalanced) == (4, 1, 1, {"socket": 2}, 0)
    assert [report.key for report in await surroundings.reports()] == ["lost+found"]
    # When it can be read, and the route is scanned again within the job, then it is failed no more
    reader.faults = ()
    await surroundings.scanner(reader).run(surroundings.route(), await surroundings.open(), term=1)
    found = await surroundings.job(job)
    assert (found.listed, found.failed, found.left_out, found.unbalanced) == (4, 0, {"gone": 1, "socket": 2}, 0)


async def test_what_a_worker_misses_is_decided_by_the_next_scan(surroundings: Surroundings) -> None:
    # Given three objects, of which a worker finds two missing
    route, job = surroundings.route(), await surroundings.open()
    await surroundings.scanner(FakeReader([thing(key) for key in "abc"])).run(route, job, term=1)
    missed = [Missed("r", key, "e1", "w") for key in "ab"]
    tasks = await surroundings.drain()
    assert await surroundings.flight.miss(missed) == [True, True]
    await surroundings.consume([task for task in tasks if task.key == "c"])
    found = await surroundings.job(job)
    assert (found.state, found.in_flight, found.missing) == ("moving", 2, 2)
    # When one of them is listed again, then it is sent again, and the other is gone
    await surroundings.scanner(FakeReader([thing(key) for key in "bc"])).run(route, await surroundings.open(), term=1)
    assert keys(await surroundings.drain()) == ["b"]
    found = await surroundings.job(job)
    assert (found.state, found.listed, found.in_flight, found.missing, found.left_out) == ("moving", 3, 1, 0, {"gone": 1})
    # When that one is missed once more, then it has failed
    assert await surroundings.flight.miss(missed[1:]) == [False]
    await surroundings.cache.settle([Settlement("r", "b", "e1", "w", Settled.FAILED)])
    found = await surroundings.job(job)
    assert (found.state, found.moved, found.failed, found.unbalanced) == ("done_with_failures", 1, 1, 0)


async def test_a_lost_task_of_an_object_that_is_gone_ends_too(surroundings: Surroundings) -> None:
    # Given an object whose task is lost, and that is deleted
    route, job = surroundings.route(), await surroundings.open()
    await surroundings.scanner(FakeReader([thing("a")])).run(route, job, term=1)
    await surroundings.drain()
    # When the route is scanned soon, then nobody knows that the task is lost
    surroundings.clock.time += 3599
    await surroundings.scanner(FakeReader([])).run(route, await surroundings.open(), term=1)
    assert (await surroundings.job(job)).in_flight == 1
    # When it is scanned after `republish_after`, then the job ends
    surroundings.clock.time += 2
    await surroundings.scanner(FakeReader([])).run(route, await surroundings.open(), term=1)
    found = await surroundings.job(job)
    assert (found.state, found.in_flight, found.left_out) == ("done", 0, {"gone": 1})


async def test_what_failed_is_not_in_flight(surroundings: Surroundings) -> None:
    # Given an object that failed
    route, reader = surroundings.route(), FakeReader([thing("a")])
    first = await surroundings.open()
    await surroundings.scanner(reader).run(route, first, term=1)
    await surroundings.drain()
    await surroundings.cache.settle([Settlement("r", "a", "e1", "w", Settled.FAILED)])
    assert (await surroundings.job(first)).state == "done_with_failures"
    # When it is scanned again soon, then it stands as failed
    second = await surroundings.open()
    await surroundings.scanner(reader).run(route, second, term=1)
    found = await surroundings.job(second)
    assert (found.state, found.listed, found.failed, found.in_flight) == ("done_with_failures", 1, 1, 0)
    # When `republish_after` has passed, then it is tried again
    surroundings.clock.time += 3600
    third = await surroundings.open()
    await surroundings.scanner(reader).run(route, third, term=1)
    await surroundings.consume(await surroundings.drain())
    found = await surroundings.job(third)
    assert (found.state, found.listed, found.moved, found.unbalanced) == ("done", 1, 1, 0)
