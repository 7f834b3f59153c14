"""Jobs: states, checkpoints, and one open job for each route."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.errors import SettingsError
from common.state.agreements import Agreements
from common.state.cache import Cache, Settled
from common.state.flight import Flight, Scan, entries_of
from common.state.formats import agree_on_format
from common.state.jobs import Checkpoint, Job, JobLost, Jobs
from common.storage.shared import Parking
from tests.unit.state.samples import ETAG, NOW, ROUTE, settlement

if TYPE_CHECKING:
    from common.state.store import Store

WEEK, MONTH, HOUR = 7 * 86400, 31 * 86400, 3600


@pytest.fixture
def flight(store: Store) -> Flight:
    return Flight(store, per_bucket=2, clock=lambda: NOW)


async def read(jobs: Jobs, job: Job) -> Job:
    found = await jobs.get(job.id)
    assert found is not None
    assert found.unbalanced == 0
    return found


async def page(flight: Flight, job: Job, keys: list[str], after: str = "k", proven: int = 0, term: int = 0) -> None:
    scan, entries = Scan(ROUTE, job.id, term), entries_of([(key, ETAG) for key in keys])
    first, _ = await flight.reserve(scan, entries)
    await flight.record(scan, entries, NOW, after, next_number=first + len(keys), proven=proven)


async def end(jobs: Jobs, job: Job) -> Job:
    await jobs.scanned(job, 0)
    return await read(jobs, job)


async def test_a_job_goes_from_scanning_to_done(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    # Given a job that has published three tasks
    job = await jobs.open(ROUTE, "sweep", NOW - 10)
    assert (job.state, job.checkpoint, job.started, job.scans) == ("scanning", Checkpoint(None, 0), NOW - 10, 1)
    assert await jobs.get(job.id) == job
    await page(flight, job, ["a", "b"], "k\udc80\n", proven=3)
    await page(flight, job, ["c"], "l")
    assert (await read(jobs, job)).checkpoint == Checkpoint("l", 3)
    # When some end before the scan does, and the last one after it
    await cache.settle([settlement("a", copied=10), settlement("b", Settled.GONE)])
    scanned = await jobs.scanned(job, 0)
    assert scanned is not None
    assert (scanned.state, scanned.scanned, scanned.in_flight) == ("moving", NOW, 1)
    await cache.settle([settlement("c", Settled.PROVEN)])
    # Then the job is done
    done = await read(jobs, job)
    assert (done.state, done.finished, done.in_flight) == ("done", NOW, 0)
    assert (done.listed, done.published, done.moved, done.proven, done.failed, done.bytes) == (6, 3, 1, 4, 0, 10)
    assert done.left_out == {"gone": 1}


async def test_a_job_without_tasks_is_done_at_once(jobs: Jobs) -> None:
    job = await jobs.open(ROUTE, "demand", NOW)
    ended = await end(jobs, job)
    assert (ended.state, ended.finished) == ("done", NOW)
    assert await jobs.resumable(ROUTE) is None


async def test_deliveries_that_repeat_are_counted_once(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    # Given a task that several workers end, in different ways
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(flight, job, ["a", "b"])
    await cache.settle([settlement("a", Settled.FAILED)])
    for _ in range(3):
        await cache.settle([settlement("a", Settled.FAILED), settlement("b", copied=10), settlement("b", copied=10)])
    # Then each counts once
    ended = await end(jobs, job)
    assert (ended.moved, ended.failed, ended.bytes, ended.state) == (1, 1, 10, "done_with_failures")


async def test_what_failed_and_arrives_all_the_same_is_moved(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    # Given a job that is over, and a failure in it
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(flight, job, ["a"])
    await cache.settle([settlement("a", Settled.FAILED)])
    assert (await end(jobs, job)).state == "done_with_failures"
    # When a second delivery of the same task moves the object after all
    await cache.settle([settlement("a", copied=10)])
    # Then it has not failed
    ended = await read(jobs, job)
    assert (ended.state, ended.moved, ended.failed, ended.bytes) == ("done", 1, 0, 10)


async def test_what_nobody_awaits_counts_nothing(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    # Given a job with one task, and tasks that were made up, or name other versions
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(flight, job, ["a"])
    await cache.settle([settlement("x"), settlement("a", etag="other"), settlement("x", Settled.FAILED)])
    # Then they count nothing and end nothing
    moving = await end(jobs, job)
    assert (moving.state, moving.listed, moving.in_flight, moving.moved, moving.failed) == ("moving", 1, 1, 0, 0)
    await cache.settle([settlement("a")])
    assert (await read(jobs, job)).state == "done"


async def test_tasks_that_end_before_they_are_recorded_count(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    """The queue confirms, a worker is quick, and only then the publisher records."""
    job = await jobs.open(ROUTE, "sweep", NOW)
    scan = Scan(ROUTE, job.id, 0)
    entries = entries_of([("a", ETAG)])
    await flight.reserve(scan, entries)
    await cache.settle([settlement("a")])
    await flight.record(scan, entries, NOW, "a", next_number=1)
    ended = await end(jobs, job)
    assert (ended.state, ended.moved, ended.listed) == ("done", 1, 1)


async def test_a_route_has_one_open_job(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    # Given a job that scans
    first = await jobs.open(ROUTE, "sweep", NOW - 100)
    await page(flight, first, ["a"])
    # When somebody asks for a scan, then it is the one that is under way, with its checkpoint
    found = await jobs.open(ROUTE, "demand", NOW)
    assert (found.id, found.checkpoint, found.scans) == (first.id, Checkpoint("k", 1), 1)
    assert await jobs.resumable(ROUTE) == found
    # When it moves, then it is scanned again, from the beginning
    await jobs.scanned(first, 0)
    assert await jobs.resumable(ROUTE) is None
    again = await jobs.open(ROUTE, "demand", NOW)
    assert (again.id, again.state, again.kind, again.scans, again.checkpoint.after) == (first.id, "scanning", "demand", 2, None)
    # And what it has in flight or has moved is not counted once more
    await cache.settle([settlement("a")])
    await page(flight, again, [], proven=1)
    ended = await end(jobs, again)
    assert (ended.state, ended.listed, ended.moved, ended.proven) == ("done", 1, 1, 0)
    # When that is done, then the next scan is a job of its own
    assert (await jobs.open(ROUTE, "sweep", NOW)).id != first.id
    assert await jobs.resumable("another") is None


async def test_a_scan_may_ask_for_another_one(flight: Flight, jobs: Jobs) -> None:
    # Given a scan that was resumed in the middle, so that its beginning is old
    job = await jobs.open(ROUTE, "sync", NOW)
    await page(flight, job, [], proven=3)
    # When it ends, then the job goes on
    again = await jobs.scanned(job, 0, again=True)
    assert again is not None
    assert (again.state, again.scans, again.checkpoint.after, again.proven) == ("scanning", 2, None, 3)
    assert (await end(jobs, again)).state == "done"


async def test_a_scan_that_cannot_go_on_fails_its_job(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(flight, job, ["a"])
    await jobs.fail(job.id, 0, "no bucket 'ümlaut'")
    failed = await end(jobs, job)
    # It is failed at once, and over when nothing of it is in flight any more
    assert (failed.state, failed.message, failed.finished, failed.in_flight) == ("failed", "no bucket 'ümlaut'", None, 1)
    await cache.settle([settlement("a")])
    failed = await read(jobs, job)
    assert (failed.state, failed.finished, failed.moved) == ("failed", NOW, 1)
    assert (await cache.lookup(ROUTE, ["a"]))[0].published is not None
    assert await jobs.resumable(ROUTE) is None


async def test_the_next_job_goes_on_with_what_a_failed_one_had_in_flight(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    # Given a job that failed with two objects in flight
    failed = await jobs.open(ROUTE, "sweep", NOW)
    await page(flight, failed, ["a", "b"])
    await jobs.fail(failed.id, 0, "no bucket")
    # When the route is scanned again
    job = await jobs.open(ROUTE, "sweep", NOW)
    assert (job.listed, job.in_flight) == (2, 2)
    assert (await read(jobs, failed)).left_out == {"next_job": 2}
    # And one of them has been moved before its page is compared
    await cache.settle([settlement("a")])
    compared = await cache.compare(ROUTE, ["a", "b", "c"], [ETAG] * 3)
    # Then that one is known to be counted
    assert (compared.counted, [place for place, _ in compared.differ]) == ([0], [1, 2])
    await cache.settle([settlement("b")])
    ended = await end(jobs, job)
    assert (ended.state, ended.listed, ended.moved) == ("done", 2, 2)


async def test_the_next_job_goes_on_with_what_a_forgotten_one_had_in_flight(
    flight: Flight, cache: Cache, jobs: Jobs, store: Store
) -> None:
    forgotten = await jobs.open(ROUTE, "sweep", NOW)
    await page(flight, forgotten, ["a"])
    await store.client.delete(store.keys.job(ROUTE, forgotten.id))
    with pytest.raises(JobLost):
        await jobs.scanned(forgotten, 0)
    await cache.settle([settlement("x")])
    job = await jobs.open(ROUTE, "sweep", NOW)
    assert (job.listed, job.in_flight) == (1, 1)
    await cache.settle([settlement("a")])
    assert (await end(jobs, job)).moved == 1


async def test_an_earlier_term_writes_nothing(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    # Given a job that a publisher holds in term 3, and another in term 4
    job = await jobs.open(ROUTE, "sweep", NOW)
    assert await jobs.hold(job.id, 3) == job
    await page(flight, job, ["a"], "one", term=3)
    assert (await jobs.hold(job.id, 4)).checkpoint == Checkpoint("one", 1)
    await page(flight, job, ["b"], "two", term=4)
    before = await read(jobs, job)
    # When the first one goes on as if nothing had happened
    late, third = Scan(ROUTE, job.id, 3), entries_of([("c", ETAG)])
    for call in (
        jobs.hold(job.id, 3),
        flight.reserve(late, third),
        flight.record(late, third, NOW, "three", proven=7),
        flight.refuse(late, [("d", "!forbidden")]),
        flight.decide(late, NOW),
        jobs.scanned(job, 3),
    ):
        with pytest.raises(JobLost):
            await call
    await jobs.fail(job.id, 3, "lost")
    # Then nothing has moved, neither checkpoint nor counter
    assert await read(jobs, job) == before
    # But what is on the queue is known
    assert (await cache.lookup(ROUTE, ["c"]))[0].published is not None


async def test_recent_jobs_come_newest_first(flight: Flight, jobs: Jobs) -> None:
    opened = []
    for n, route in enumerate(["x-1", "y", "x-1", "y", "z"]):
        job = await jobs.open(route, "sweep", NOW + n)
        await flight.reserve(Scan(route, job.id, 0), entries_of([(f"k{n}", ETAG)]))
        await jobs.fail(job.id, 0, "so that the next one is another")
        opened.append(job)
    assert [job.id for job in await jobs.recent(4)] == [job.id for job in reversed(opened)][:4]
    assert [job.id for job in await jobs.recent(9, "x-1")] == [opened[2].id, opened[0].id]
    assert await jobs.recent(9, "none") == []


async def test_jobs_are_forgotten_in_time(flight: Flight, cache: Cache, jobs: Jobs, store: Store) -> None:
    # Given a job that has ended, and one under way
    ended = await jobs.open(ROUTE, "sweep", NOW)
    await page(flight, ended, ["a"])
    await cache.settle([settlement("a")])
    await end(jobs, ended)
    under_way = await jobs.open(ROUTE, "sweep", NOW + 1)
    await page(flight, under_way, ["b"])
    # Then each lives as long as keys.py says
    for job, life in ((under_way, MONTH), (ended, WEEK)):
        assert life - 60 < await store.client.ttl(store.keys.job(ROUTE, job.id)) <= life
    # And what is forgotten is not listed or resumed any more
    await store.client.delete(store.keys.job(ROUTE, under_way.id))
    assert [job.id for job in await jobs.recent(9)] == [ended.id]
    assert await jobs.resumable(ROUTE) is None
    assert await jobs.get(under_way.id) is None
    await jobs.open(ROUTE, "sweep", NOW + 2)
    assert await store.client.zcard(store.keys.jobs(ROUTE)) == 2


async def test_sweeps_that_find_nothing_to_do_become_one_job(flight: Flight, jobs: Jobs, store: Store) -> None:
    # Given a hundred sweeps in which everything is proven
    for number in range(100):
        job = await jobs.open(ROUTE, "sweep", NOW + number * 600)
        await page(flight, job, [], proven=5)
        await end(jobs, job)
    # Then one job stands for them, and the one before can be asked for by its id for an hour
    (left,) = await jobs.recent(200)
    assert (left.id, left.sweeps, left.since, left.listed, left.proven) == (job.id, 100, NOW, 5, 5)
    lives = [await store.client.ttl(name) async for name in store.client.scan_iter(f"{store.keys.job(ROUTE, '')}*")]
    assert sum(life > HOUR for life in lives) == 1
    # When one finds something, then it stands for itself
    busy = await jobs.open(ROUTE, "sweep", NOW + 60_000)
    await page(flight, busy, ["new"])
    await jobs.scanned(busy, 0)
    assert [job.sweeps for job in await jobs.recent(9)] == [1, 100]


async def test_sweeps_that_fail_for_the_same_reason_become_one_job(jobs: Jobs) -> None:
    # Given sweeps over a bucket that is not there, and then over one that refuses us
    for number, message in enumerate(["no bucket", "no bucket", "no bucket", "forbidden", "forbidden"]):
        job = await jobs.open(ROUTE, "sweep", NOW + number)
        await jobs.fail(job.id, 0, message)
    # Then one stands for each reason
    found = [(job.state, job.message, job.sweeps, job.since) for job in await jobs.recent(9)]
    assert found == [("failed", "forbidden", 2, NOW + 3), ("failed", "no bucket", 3, NOW)]


async def test_an_id_of_nobody_is_no_job(jobs: Jobs) -> None:
    for text in ("", "x", "a-b-c", "*", "photos-20260921T141320-zzzzzz"):
        assert await jobs.get(text) is None


async def test_a_job_tells_what_its_route_waits_for(flight: Flight, jobs: Jobs, store: Store) -> None:
    # Given a job that has ended and one under way, of a route that is parked
    ended = await jobs.open(ROUTE, "sweep", NOW)
    await end(jobs, ended)
    under_way = await jobs.open(ROUTE, "sweep", NOW + 1)
    await page(flight, under_way, ["a"])
    parking = Parking(NOW + 60, "750 GB")
    await Agreements(store).park(ROUTE, parking)
    # Then who still has something to do says what for
    assert (await read(jobs, under_way)).parked == parking
    assert [job.parked for job in await jobs.recent(9)] == [parking, None]
    # And nobody does when the time has passed
    later = Jobs(store, clock=lambda: NOW + 60)
    assert (await read(later, under_way)).parked is None


async def test_jobs_of_format_1_are_read_and_ended(jobs: Jobs, store: Store) -> None:
    # Given what revision 7e22b72 has left: a job that is over, and one that scans
    prefix, client = store.keys.job(ROUTE, ""), store.client
    over, scanning = f"{ROUTE}-20260921T141320-aaaaaa", f"{ROUTE}-20260921T141321-bbbbbb"
    counted = {"listed": 9, "unchanged": 3, "published": 6, "consumed": 2, "already": 1, "superseded": 2, "failed": 1}
    common: dict[str, str | int] = {"route": ROUTE, "kind": "sweep", "started": NOW, "after": '=6[["k",null]]'}
    await client.hset(prefix + over, mapping=common | counted | {"id": over, "state": "done", "finished": NOW})  # type: ignore[arg-type]
    await client.hset(prefix + scanning, mapping=common | counted | {"id": scanning, "state": "scanning", "listed": 12})  # type: ignore[arg-type]
    await client.setbit(f"{prefix}{scanning}:settled", 5, 1)
    await client.zadd(store.keys.jobs(ROUTE), {over: NOW, scanning: NOW + 1})
    await client.zadd(f"{store.keys.route(ROUTE)}:scanning", {scanning: NOW + 1})
    await client.sadd(store.keys.routes(), ROUTE)
    # When this version comes, twice
    for _ in range(2):
        await agree_on_format(store)
    # Then the counters are read under their names of today
    older = await jobs.get(over)
    assert older is not None
    assert (older.state, older.listed, older.moved, older.proven, older.failed, older.left_out) == (
        "done",
        9,
        2,
        4,
        1,
        {"gone": 2},
    )
    # And the one that scanned says why it does not, its bitmap is gone, and the next scan is a new job
    ended = await jobs.get(scanning)
    assert ended is not None
    assert (ended.state, ended.message is not None and "counts afresh" in ended.message) == ("failed", True)
    assert (ended.listed, ended.moved, ended.proven, ended.failed, ended.left_out) == (12, 2, 4, 1, {"gone": 2, "next_job": 3})
    assert await client.exists(f"{prefix}{scanning}:settled", f"{store.keys.route(ROUTE)}:scanning") == 0
    assert (await jobs.open(ROUTE, "sweep", NOW)).id not in (over, scanning)


async def test_a_newer_format_is_refused_by_name(store: Store) -> None:
    await store.client.set(store.keys.format(), 3)
    with pytest.raises(SettingsError, match="format 3"):
        await store.check()


async def test_what_is_redriven_is_failed_no_more(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    # Given a job that is over, with two failures
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(flight, job, ["a", "b", "c"])
    await cache.settle([settlement("a", Settled.FAILED), settlement("b", Settled.FAILED), settlement("c")])
    assert (await end(jobs, job)).state == "done_with_failures"
    # When one of them is sent again
    assert await flight.redrive(ROUTE, [("a", ETAG), ("c", ETAG)]) == 1
    # Then it is in flight in a job of its own, and taken off the one that counted it
    redriven = await jobs.current(ROUTE)
    assert redriven is not None
    assert (redriven.kind, redriven.state, redriven.listed, redriven.in_flight) == ("redrive", "moving", 1, 1)
    first = await read(jobs, job)
    assert (first.state, first.failed, first.left_out) == ("done_with_failures", 1, {"redriven": 1})
    # When it arrives, then that job is done
    await cache.settle([settlement("a")])
    assert ((await read(jobs, redriven)).state, (await read(jobs, redriven)).moved) == ("done", 1)
    # And when the other is sent again too, the first job has no failures left
    await flight.redrive(ROUTE, [("b", ETAG)])
    assert (await read(jobs, job)).state == "done"


async def test_what_is_redriven_in_an_open_job_goes_back_to_in_flight(flight: Flight, cache: Cache, jobs: Jobs) -> None:
    # Given a job that is open, and a failure in it
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(flight, job, ["a", "b"])
    await cache.settle([settlement("a", Settled.FAILED)])
    assert (await read(jobs, job)).failed == 1
    # When it is sent again, then it is in flight, and listed once
    assert await flight.redrive(ROUTE, [("a", ETAG)]) == 1
    found = await read(jobs, job)
    assert (found.listed, found.failed, found.in_flight) == (2, 0, 2)
    # And when it arrives before the scan comes to it, the scan does not count it once more
    await cache.settle([settlement("a")])
    compared = await cache.compare(ROUTE, ["a"], [ETAG])
    assert (compared.differ, compared.counted) == ([], [0])
