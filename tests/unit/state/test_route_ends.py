"""The state of a route that leads somewhere else is dropped, and what comes from workers of the old pair is not written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.ends import Ends
from common.state.cache import Cache, Outcome, Record, Settled
from common.state.flight import Flight, Scan, entries_of
from common.state.jobs import Jobs
from common.state.keys import digest, key_bytes
from common.state.reconciliations import Reconciliations
from common.state.route_ends import MESSAGE, RouteEnds
from common.state.uploads import Saved, Uploads
from tests.unit.state.samples import ETAG, NOW, ROUTE, claim, settlement

if TYPE_CHECKING:
    from common.state.jobs import Job
    from common.state.store import Store

BEFORE, NOW_ENDS = Ends("s3://photos", "gs://copy"), Ends("s3://photos", "gs://another")


class State:
    def __init__(self, store: Store) -> None:
        self.ends = RouteEnds(store, clock=lambda: NOW)
        self.jobs = Jobs(store)
        self.flight = Flight(store, clock=lambda: NOW)
        self.anybody = Cache(store)
        self.old, self.new = (Cache(store, ends={ROUTE: ends.digest}) for ends in (BEFORE, NOW_ENDS))

    async def moving(self) -> Job:
        """A job with one object copied, one failed, and two in flight."""
        job = await self.jobs.open(ROUTE, "sweep", NOW)
        keys = ["copied", "failed", "large", "small"]
        await self.flight.reserve(Scan(ROUTE, job.id, 1), entries_of([(key, ETAG) for key in keys]))
        await self.flight.record(Scan(ROUTE, job.id, 1), entries_of([(key, ETAG) for key in keys]), NOW, "x")
        await self.old.settle([settlement("copied"), settlement("failed", Settled.FAILED)])
        return job


@pytest.fixture
def state(store: Store) -> State:
    return State(store)


async def test_state_that_does_not_say_so_is_of_what_is_set_now(state: State) -> None:
    # Given state of a version that did not note it
    await state.anybody.settle([settlement("copied")])
    # When it is looked at, then nothing has changed, now and later
    assert await state.ends.changed(ROUTE, BEFORE) is None
    assert await state.ends.changed(ROUTE, BEFORE) is None
    (record,) = await state.anybody.lookup(ROUTE, ["copied"])
    assert record.consumed is not None


async def test_another_destination_begins_afresh(state: State, store: Store) -> None:
    # Given a route at work, that was reconciled, and then leads somewhere else
    await state.ends.changed(ROUTE, BEFORE)
    job = await state.moving()
    notes = Reconciliations(store)
    await notes.begun(ROUTE, "scan", NOW)
    await notes.ended(ROUTE, "scan")
    assert await state.ends.changed(ROUTE, NOW_ENDS) == BEFORE
    # When a publisher dies before it has drawn the consequences, then the next one finds out as well
    assert await state.ends.changed(ROUTE, NOW_ENDS) == BEFORE
    await state.ends.forget(ROUTE, state.new)
    assert await state.ends.changed(ROUTE, NOW_ENDS) is None
    # Then nothing is known of the objects, and nothing awaited; the job has ended, and its sum holds
    assert await state.new.lookup(ROUTE, ["copied", "failed", "large", "small"]) == [Record()] * 4
    ended = await state.jobs.get(job.id)
    assert ended is not None
    assert (ended.state, ended.message, ended.in_flight, ended.unbalanced) == ("failed", MESSAGE, 0, 0)
    assert (ended.listed, ended.moved, ended.failed, dict(ended.left_out)) == (4, 1, 1, {"route_changed": 2})
    assert await notes.due(ROUTE, NOW, 100)
    # And the next job begins from nothing
    following = await state.jobs.open(ROUTE, "sweep", NOW)
    assert (following.id != job.id, following.listed, following.checkpoint.after) == (True, 0, None)


async def test_what_workers_of_the_old_pair_bring_is_not_written(state: State, store: Store) -> None:
    # Given a worker of the old pair with an object in its hands
    await state.ends.changed(ROUTE, BEFORE)
    await state.moving()
    (held,) = await state.old.claim([claim("small")])
    assert held.outcome is Outcome.TAKEN
    # When the route leads somewhere else, and the new job awaits the same version of the object
    await state.ends.changed(ROUTE, NOW_ENDS)
    await state.ends.forget(ROUTE, state.new)
    job = await state.jobs.open(ROUTE, "sweep", NOW)
    await state.flight.reserve(Scan(ROUTE, job.id, 1), entries_of([("small", ETAG)]))
    await state.old.settle([settlement("small")])
    # Then its receipt is no proof, and nothing was counted; the lease is free
    (record,) = await state.new.lookup(ROUTE, ["small"])
    assert record.consumed is None
    found = await state.jobs.get(job.id)
    assert found is not None
    assert (found.in_flight, found.moved, found.unbalanced) == (1, 0, 0)
    # And it gets no other one, while those of the new pair, and those that do not say, do
    assert [each.outcome for each in await state.old.claim([claim("small"), claim("large")])] == [Outcome.ELSEWHERE] * 2
    assert [each.outcome for each in await state.new.claim([claim("small", owner="two")])] == [Outcome.TAKEN]
    assert [each.outcome for each in await state.anybody.claim([claim("large", owner="three")])] == [Outcome.TAKEN]


async def test_an_upload_of_the_old_pair_is_not_gone_on_with(store: Store) -> None:
    # Given an upload that was begun for the old pair, and one that does not say for which
    saved = Saved("token", "v1", 10, 5, "absent")
    await Uploads(store, {ROUTE: BEFORE.digest}).begun(ROUTE, "k", saved)
    await Uploads(store, {ROUTE: BEFORE.digest}).begun(ROUTE, "older", saved)
    await store.client.hdel(store.keys.upload(ROUTE, digest(key_bytes("older")).hex()), "ends")
    # Then whoever has the same settings goes on with it, and nobody else does; with the other one anybody
    for ends, goes_on in ((BEFORE, True), (NOW_ENDS, False)):
        uploads = Uploads(store, {ROUTE: ends.digest})
        found, older = await uploads.find(ROUTE, "k"), await uploads.find(ROUTE, "older")
        assert found is not None
        assert older is not None
        assert found.continues("v1", 10, 5, "absent") is goes_on
        assert older.continues("v1", 10, 5, "absent")
