"""Jobs: states, checkpoints, and counters that count every task once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.state.agreements import Agreements
from common.state.cache import Cache, Settled
from common.state.jobs import Checkpoint, Job, Jobs
from common.storage.shared import Parking
from tests.unit.state.samples import ETAG, NOW, ROUTE, settlement

if TYPE_CHECKING:
    from common.state.store import Store

WEEK, MONTH = 7 * 86400, 31 * 86400


async def read(jobs: Jobs, job: Job) -> Job:
    found = await jobs.get(job.id)
    assert found is not None
    return found


async def page(cache: Cache, job: Job, keys: list[str], checkpoint: Checkpoint, listed: int | None = None) -> None:
    listed = len(keys) if listed is None else listed
    await cache.record_published(ROUTE, job.id, [(key, ETAG) for key in keys], NOW, checkpoint, listed, listed - len(keys))


async def test_a_job_goes_from_scanning_to_done(cache: Cache, jobs: Jobs) -> None:
    # Given a job that has published three tasks
    job = await jobs.open(ROUTE, "sweep", NOW - 10)
    assert (job.state, job.checkpoint, job.started) == ("scanning", Checkpoint(None, 0), NOW - 10)
    assert await jobs.get(job.id) == job
    await page(cache, job, ["a", "b"], Checkpoint("k\udc80\n", 2), listed=5)
    await page(cache, job, ["c"], Checkpoint("l", 3), listed=1)
    assert (await read(jobs, job)).checkpoint == Checkpoint("l", 3)
    # When some end before the scan does, and the last one after it
    await cache.settle([settlement("a", 0, job.id, copied=10), settlement("b", 1, job.id, Settled.SUPERSEDED)])
    scanned = await jobs.scanned(job.id)
    assert scanned is not None
    assert (scanned.state, scanned.scanned, scanned.outstanding) == ("moving", NOW, 1)
    await cache.settle([settlement("c", 2, job.id, Settled.ALREADY)])
    # Then the job is done
    done = await read(jobs, job)
    assert (done.state, done.finished, done.outstanding) == ("done", NOW, 0)
    assert (done.listed, done.unchanged, done.published) == (6, 3, 3)
    assert (done.consumed, done.already, done.superseded, done.failed, done.bytes) == (1, 1, 1, 0, 10)


async def test_a_job_without_tasks_is_done_at_once(jobs: Jobs) -> None:
    job = await jobs.open(ROUTE, "demand", NOW)
    scanned = await jobs.scanned(job.id)
    assert scanned is not None
    assert (scanned.state, scanned.finished) == ("done", NOW)
    assert await jobs.resumable(ROUTE) is None


async def test_deliveries_that_repeat_are_counted_once(cache: Cache, jobs: Jobs) -> None:
    # Given a task that several workers end, in different ways
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(cache, job, ["a", "b"], Checkpoint("b", 2))
    await cache.settle([settlement("a", 0, job.id, Settled.FAILED)])
    for _ in range(3):
        await cache.settle([settlement("a", 0, job.id, copied=10), settlement("a", 0, job.id, copied=10)])
    await jobs.scanned(job.id)
    # Then the first end counts, and the other task is still outstanding
    counted = await read(jobs, job)
    assert (counted.consumed, counted.failed, counted.bytes, counted.state) == (0, 1, 0, "moving")
    await cache.settle([settlement("a", 0, job.id), settlement("b", 1, job.id)])
    assert (await read(jobs, job)).state == "done"


async def test_numbers_nobody_published_do_not_end_a_job(cache: Cache, jobs: Jobs, store: Store) -> None:
    # Given settled numbers beyond what the job has published, one of them made up
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(cache, job, [f"k{n}" for n in range(11)], Checkpoint("k", 11))
    await cache.settle([settlement("x", number, job.id) for number in (11, 12, 500, 4_000_000_000)])
    await jobs.scanned(job.id)
    assert (await read(jobs, job)).state == "moving"
    await cache.settle([settlement("x", 13, job.id)])
    # When the published ones end, before and after
    await cache.settle([settlement(f"k{n}", n, job.id) for n in range(10)])
    assert (await read(jobs, job)).state == "moving"
    await cache.settle([settlement("k10", 10, job.id)])
    # Then the job ends with the last of them, and the made-up number took no memory
    assert (await read(jobs, job)).state == "done"
    assert await store.client.strlen(f"{store.keys.job(ROUTE, job.id)}:settled") < 100


async def test_tasks_that_end_before_they_are_recorded_count(cache: Cache, jobs: Jobs) -> None:
    """The queue confirms, a worker is quick, and only then the publisher records."""
    job = await jobs.open(ROUTE, "sweep", NOW)
    await cache.settle([settlement("a", 0, job.id)])
    await page(cache, job, ["a"], Checkpoint("a", 1))
    scanned = await jobs.scanned(job.id)
    assert scanned is not None
    assert (scanned.state, scanned.consumed) == ("done", 1)


async def test_an_interrupted_scan_is_resumed(cache: Cache, jobs: Jobs) -> None:
    first = await jobs.open(ROUTE, "sweep", NOW - 100)
    second = await jobs.open(ROUTE, "demand", NOW)
    await page(cache, first, ["a"], Checkpoint("a", 1))
    found = await jobs.resumable(ROUTE)
    assert found is not None
    assert (found.id, found.checkpoint) == (first.id, Checkpoint("a", 1))
    await jobs.scanned(first.id)
    found = await jobs.resumable(ROUTE)
    assert found is not None
    assert found.id == second.id
    assert await jobs.resumable("another") is None


async def test_a_scan_that_cannot_go_on_fails_its_job(cache: Cache, jobs: Jobs) -> None:
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(cache, job, ["a"], Checkpoint("a", 1))
    await jobs.fail(job.id, "no bucket 'ümlaut'")
    await jobs.scanned(job.id)
    await cache.settle([settlement("a", 0, job.id)])
    failed = await read(jobs, job)
    assert (failed.state, failed.message, failed.finished, failed.consumed) == ("failed", "no bucket 'ümlaut'", NOW, 1)
    assert (await cache.lookup(ROUTE, ["a"]))[0].published is not None
    assert await jobs.resumable(ROUTE) is None


async def test_a_checkpoint_never_moves_back(cache: Cache, jobs: Jobs) -> None:
    job = await jobs.open(ROUTE, "sweep", NOW)
    await page(cache, job, ["a", "b"], Checkpoint("b", 2))
    await page(cache, job, ["a"], Checkpoint("a", 1))
    after = await read(jobs, job)
    assert (after.checkpoint, after.listed) == (Checkpoint("b", 2), 2)


async def test_pages_that_do_not_move_the_checkpoint_count(cache: Cache, jobs: Jobs) -> None:
    job = await jobs.open(ROUTE, "sweep", NOW)
    for _ in range(2):
        await page(cache, job, [], Checkpoint("a", 0), listed=7)
    assert (await read(jobs, job)).listed == 14


async def test_recent_jobs_come_newest_first(jobs: Jobs) -> None:
    opened = [await jobs.open(route, "sweep", NOW + n) for n, route in enumerate(["x-1", "y", "x-1", "y", "z"])]
    assert [job.id for job in await jobs.recent(4)] == [job.id for job in reversed(opened)][:4]
    assert [job.id for job in await jobs.recent(9, "x-1")] == [opened[2].id, opened[0].id]
    assert await jobs.recent(9, "none") == []


async def test_jobs_are_forgotten_in_time(cache: Cache, jobs: Jobs, store: Store) -> None:
    # Given a job under way, and one that has ended
    under_way, ended = await jobs.open(ROUTE, "sweep", NOW), await jobs.open(ROUTE, "sweep", NOW + 1)
    for job in (under_way, ended):
        await page(cache, job, ["a"], Checkpoint("a", 1))
        await cache.settle([settlement("a", 0, job.id)])
    await jobs.scanned(ended.id)
    # Then each lives as long as keys.py says, with its bitmap
    for job, life in ((under_way, MONTH), (ended, WEEK)):
        for name in (store.keys.job(ROUTE, job.id), f"{store.keys.job(ROUTE, job.id)}:settled"):
            assert life - 60 < await store.client.ttl(name) <= life
    # And what is forgotten is not listed, resumed or counted any more
    await store.client.delete(store.keys.job(ROUTE, under_way.id))
    assert [job.id for job in await jobs.recent(9)] == [ended.id]
    assert await jobs.resumable(ROUTE) is None
    assert await jobs.get(under_way.id) is None
    assert await jobs.scanned(under_way.id) is None
    await cache.settle([settlement("a", 0, under_way.id)])
    assert await jobs.get(under_way.id) is None
    await jobs.open(ROUTE, "sweep", NOW + 2)
    assert await store.client.zcard(store.keys.jobs(ROUTE)) == 2


async def test_an_id_of_nobody_is_no_job(jobs: Jobs) -> None:
    for text in ("", "x", "a-b-c", "*", "photos-20260921T141320-zzzzzz"):
        assert await jobs.get(text) is None


async def test_a_job_tells_what_its_route_waits_for(jobs: Jobs, cache: Cache, store: Store) -> None:
    # Given a job under way and one that has ended, of a route that is parked
    ended, under_way = await jobs.open(ROUTE, "sweep", NOW), await jobs.open(ROUTE, "sweep", NOW + 1)
    await jobs.scanned(ended.id)
    await page(cache, under_way, ["a"], Checkpoint("a", 1))
    parking = Parking(NOW + 60, "750 GB")
    await Agreements(store).park(ROUTE, parking)
    # Then who still has something to do says what for
    assert (await read(jobs, under_way)).parked == parking
    assert [job.parked for job in await jobs.recent(9)] == [parking, None]
    # And nobody does when the time has passed
    later = Jobs(store, clock=lambda: NOW + 60)
    assert (await read(later, under_way)).parked is None
