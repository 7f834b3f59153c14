"""Every script run twice with the same arguments, as it is when a reply is lost: the second run changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from common.ends import Ends
from common.state.agreements import Agreements
from common.state.cache import Cache, Kind, Settled, There
from common.state.claims import HandedOver, Missed
from common.state.flight import Flight, Reserved, Scan, entries_of
from common.state.formats import agree_on_format
from common.state.holds import Holds
from common.state.jobs import Jobs
from common.state.locks import Leader
from common.state.route_ends import RouteEnds
from common.state.scripts import scripts
from common.state.store import Store
from common.storage.shared import Parking
from tests.unit.state.samples import ETAG, NOW, OTHER, ROUTE, claim, publish, settlement

if TYPE_CHECKING:
    from collections.abc import Sequence


class Twice(Store):
    """Loses the first reply to everything, and looks at Redis after each run."""

    ran: set[str]
    looked: list[tuple[Any, Any]]

    async def _exchange(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        replies = await super()._exchange(commands)
        if any(isinstance(reply, Exception) for reply in replies):
            return replies
        before = await self.snapshot()
        again = await super()._exchange(commands)
        self.looked.append((before, await self.snapshot()))
        names = {script.sha: name for name, script in scripts().items()}
        self.ran |= {names[str(command[1])] for command in commands if command[0] == "EVALSHA"}
        return again

    async def snapshot(self) -> dict[bytes, Any]:
        """Everything under our prefix, without the time that is left to it. Of a hash's bucket the order does not matter."""
        found: dict[bytes, Any] = {}
        names: list[bytes] = [name async for name in self.client.scan_iter(f"{self.keys.prefix}:*")]
        for name in names:
            kind = str(await self.client.type(name), "ascii")  # type: ignore[arg-type]
            read = {"hash": self.client.hgetall, "string": self.client.get, "set": self.client.smembers}.get(kind)
            found[name] = await read(name) if read else await self.client.zrange(name, 0, -1, withscores=True)
        return found


@pytest.fixture
def twice(store: Store) -> Twice:
    twice = Twice(store.client, store.keys)
    twice.ran, twice.looked = set(), []
    return twice


async def test_a_second_run_changes_nothing(twice: Twice) -> None:
    # Given one of every call that the project makes, each of them run twice
    cache, jobs = Cache(twice, per_bucket=2, clock=lambda: NOW), Jobs(twice, clock=lambda: NOW)
    flight, leader = Flight(twice, per_bucket=2, clock=lambda: NOW), Leader(twice, "sweep", "one", 30)
    term = await leader.take()
    job = await jobs.open(ROUTE, "sweep", NOW)
    scan, entries = Scan(ROUTE, job.id, term), entries_of([(f"k{n}", ETAG) for n in range(20)])
    assert await jobs.hold(job.id, term) == job
    assert await flight.reserve(scan, entries) == Reserved(0, [])
    await flight.record(scan, entries, NOW, "k", next_number=20, proven=5, left_out={"marker": 2})
    await flight.record(scan, (), NOW, "k", proven=3)
    await flight.refuse(scan, [("", "!invalid_name")])
    claimed = await cache.claim([claim(f"k{n}") for n in range(20)])
    await cache.renew([claim("k0"), claim("k1", owner="two")])
    await cache.release([claim("k19")])
    await cache.settle([settlement(f"k{n}", copied=1) for n in range(10)])
    assert await flight.miss([Missed(ROUTE, f"k{n}", ETAG, "one") for n in range(10, 15)]) == [True] * 5
    await flight.hand_over([HandedOver(ROUTE, "k15", ETAG, OTHER, "one")])
    await jobs.scanned(job, term, again=True)
    job = await jobs.hold(job.id, term)
    await flight.decide(scan, NOW)
    await jobs.scanned(job, term)
    await cache.settle([settlement(f"k{n}", Settled.FAILED) for n in range(16, 20)])
    await cache.settle([settlement("k15", Settled.FAILED, etag=OTHER)])
    assert await flight.forgive(ROUTE, ["k19"]) == 0  # the second time
    failing = await jobs.open(ROUTE, "demand", NOW)
    await jobs.resumable(ROUTE)
    await jobs.fail(failing.id, term, "no bucket")
    assert await flight.redrive(ROUTE, [("k18", ETAG)]) == 0  # the second time
    await agree_on_format(twice)
    agreements = Agreements(twice)
    assert await agreements.agree("folder", "id") == "id"
    await agreements.forget("folder", "id", after=30)
    parking = Parking(NOW + 60, "the day's limit")
    assert await agreements.park(ROUTE, parking) == parking
    holds = Holds(twice)
    hold = await holds.hold("held", "source forbidden", "no", now=NOW, pauses=(15, 300))
    trial = await holds.attempt("held", now=NOW + 15, seconds=60)
    assert trial is not None
    held = await holds.hold("held", "source forbidden", "no", now=NOW + 16, pauses=(15, 300), trial=trial.trial)
    last = await holds.attempt("held", now=NOW + 46, seconds=60)
    assert last is not None
    await holds.end("held", last.trial, now=NOW + 50, well=False)
    await holds.end("held", last.trial, now=NOW + 50, well=True)
    await twice.check()
    records = await cache.lookup(ROUTE, [f"k{n}" for n in range(20)])
    differ = await cache.compare(ROUTE, [f"k{n}" for n in range(20)], [ETAG] * 20)
    page, _ = await cache.page(ROUTE, None, None, 100)
    doubted = (await cache.compare(ROUTE, ["k0"], [ETAG], There(NOW + 1, {}))).doubted
    left = await cache.distrust(ROUTE, job.id, ["k0"], doubted)
    done = await jobs.get(job.id)
    deleted = await cache.delete(ROUTE, Kind.CONSUMED), await cache.delete(ROUTE, None)
    ends, others = RouteEnds(twice, clock=lambda: NOW), Ends("s3://a", "s3://c")
    assert await ends.changed("moved", Ends("s3://a", "s3://b")) is None
    await flight.reserve(Scan("moved", (await jobs.open("moved", "sweep", NOW)).id, term), entries_of([("k", ETAG)]))
    assert await ends.changed("moved", others) == Ends("s3://a", "s3://b")
    await ends.forget("moved", cache)
    assert await ends.changed("moved", others) is None
    # Then nothing was counted twice
    assert done is not None
    assert (done.listed, done.moved, done.proven, done.published, done.bytes) == (31, 10, 8, 20, 10)
    assert (done.state, done.failed, done.in_flight, done.unbalanced) == ("done_with_failures", 4, 0, 0)
    assert done.left_out == {"gone": 6, "marker": 2, "redriven": 1}
    assert [it.outcome for it in claimed] == ["taken"] * 20
    assert sum(record.consumed is not None for record in records) == 10
    assert [place for place, _ in differ.differ] == list(range(10, 20))
    assert len(page) == 25
    assert deleted == (9, 14)
    assert (len(doubted), left, done.distrusted) == (1, set(), 1)
    assert (hold.begun, hold.parking.until, held.begun, held.tries, held.parking.until) == (True, NOW + 15, False, 2, NOW + 46)
    assert (trial.trial, last.trial, last.tries) == (f"{NOW + 75}.000", f"{NOW + 106}.000", 2)
    # And after the second run everything was as after the first
    assert all(before == after for before, after in twice.looked)
    # And no script has been left out but those whose answer the next test looks at
    assert set(scripts()) - twice.ran == {"delete_one", "give_up", "count_failure", "spend", "reported"}


async def test_what_a_second_run_answers_where_it_matters(twice: Twice) -> None:
    # Given calls that say so at the head of their scripts
    cache, leader = Cache(twice, per_bucket=2), Leader(twice, "sweep", "one", 30)
    await publish(cache, ["a"], etag=OTHER)
    # Then a lost reply hides that there was something to remove or to give up, and makes one failure look like two
    assert not await cache.delete_one(ROUTE, Kind.PUBLISHED, "a")
    assert await leader.take()
    assert not await leader.give_up()
    assert await cache.count_failure(ROUTE, "a", ETAG) == 2
    assert (await cache.lookup(ROUTE, ["a"]))[0].published is None
    # And units are taken twice: of ten that may be spent at once, ten cost nothing, and twenty a wait
    assert await Agreements(twice).spend("user", 10, 60, 100) > 0
