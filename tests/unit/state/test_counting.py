"""What a job counts, against a dictionary: scans that crash between any two steps, workers that settle in any order and twice,
and whatever else may come between. After every step the numbers are those of the dictionary, and they add up.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.config import RedisSettings
from common.state.cache import Cache, Kind, Receipt, Settled, Settlement
from common.state.claims import HandedOver, Missed
from common.state.flight import Flight, Scan, entries_of
from common.state.jobs import Jobs
from common.state.store import Store
from common.storage.listed import Listed
from publisher.diff import diff
from tests.unit.publisher.listing import thing
from tests.unit.state.samples import ROUTE

if TYPE_CHECKING:
    from common.state.cache import Compared
    from common.state.jobs import Job

KEYS = "abcdefg"
PAGE = 3
REPUBLISH_AFTER = 3600

steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS)),
    st.tuples(st.just("remove"), st.sampled_from(KEYS)),
    *[st.tuples(st.just("scan"), st.integers(1, 5))] * 5,
    *[st.tuples(st.just("deliver"), st.integers(0, 9), st.sampled_from(["once", "twice", "fails", "dies"]))] * 5,
    st.tuples(st.just("crash")),
    st.tuples(st.just("cannot_list")),
    st.tuples(st.just("redrive"), st.integers(0, 9)),
    st.tuples(st.just("forgive"), st.integers(0, 9)),
    st.tuples(st.just("delete"), st.sampled_from([None, *Kind])),
    st.tuples(st.just("wait")),
    st.tuples(st.just("lose_the_queue")),
)


@dataclass
class Entry:
    etag: str
    at: float
    scan: int
    missing: bool = False
    returned: bool = False


@dataclass
class Counted:
    """A job of the dictionary. `met` are the objects that it has counted before its first scan comes to them."""

    id: str
    state: str = "scanning"
    scans: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    met: set[str] = field(default_factory=set)


@dataclass
class Page:
    """Where the scan under way stands, from one step to the next."""

    objects: Listed
    last: bool
    compared: Compared | None = None
    publish: list[tuple[str, str]] | None = None
    proven: int = 0
    next_number: int = 0


class Model:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = 1_790_000_000.0
        self.cache = Cache(store, per_bucket=2, clock=lambda: self.now)
        self.flight, self.jobs = Flight(store, per_bucket=2, clock=lambda: self.now), Jobs(store, clock=lambda: self.now)
        self.source: dict[str, int] = {}
        self.versions = 0
        self.queue: list[tuple[str, str]] = []
        self.consumed: dict[str, str] = {}
        self.entries: dict[str, Entry] = {}
        self.marks: dict[str, tuple[Counted, str, int]] = {}
        self.counted: dict[str, Counted] = {}
        self.open: Counted | None = None
        self.number = self.term = 0
        self.scanning: Scan | None = None
        self.job: Job | None = None
        self.after: str | None = None
        self.page: Page | None = None

    # What happens at the source, on the queue, and to the clock.

    async def put(self, key: str) -> None:
        self.versions += 1
        self.source[key] = self.versions

    async def remove(self, key: str) -> None:
        self.source.pop(key, None)

    async def wait(self) -> None:
        self.now += REPUBLISH_AFTER

    async def lose_the_queue(self) -> None:
        self.queue.clear()

    async def delete(self, kind: Kind | None) -> None:
        await self.cache.delete(ROUTE, kind)
        if kind is not Kind.PUBLISHED:
            self.consumed.clear()

    # The publisher, a step at a time.

    async def crash(self) -> None:
        self.scanning = self.page = None

    async def cannot_list(self) -> None:
        if self.scanning is None or self.open is None:
            return
        await self.jobs.fail(self.scanning.job, self.term, "no bucket")
        self.open.state = "failed"
        await self.crash()
        self.over()

    async def scan(self, times: int) -> None:
        for _ in range(times):
            if self.scanning is None:
                await self.begin()
            elif self.page is None:
                self.look()
            elif self.page.compared is None:
                keys, tokens = self.page.objects.keys, self.page.objects.tokens
                self.page.compared = await self.cache.compare(ROUTE, keys, tokens)
            elif self.page.publish is None:
                await self.reserve(self.page, self.page.compared)
            else:
                await self.record(self.page, self.page.publish)

    async def begin(self) -> None:
        self.job = await self.jobs.open(ROUTE, "sweep", self.now)
        self.opened(self.job)
        self.term += 1
        self.scanning = Scan(ROUTE, self.job.id, self.term)
        self.job = await self.jobs.hold(self.job.id, self.term)
        self.after = self.job.checkpoint.after

    def look(self) -> None:
        keys = [key for key in sorted(self.source) if self.after is None or key > self.after]
        objects = [thing(key, str(self.source[key])) for key in keys[:PAGE]]
        self.page = Page(Listed.of(objects), last=len(keys) <= PAGE)

    async def reserve(self, page: Page, compared: Compared) -> None:
        assert self.scanning
        found = diff(page.objects, compared.differ, self.now, REPUBLISH_AFTER)
        publish, in_flight, awaited = (
            [(page.objects.keys[place], page.objects.tokens[place]) for place in places]
            for places in (found.publish, found.in_flight, compared.awaited)
        )
        page.proven = found.unchanged - len(compared.counted) - len(awaited)
        lost_before = self.now - REPUBLISH_AFTER
        reserved = await self.flight.reserve(
            self.scanning,
            entries_of(publish),
            in_flight=entries_of(in_flight),
            awaited=entries_of(awaited),
            lost_before=lost_before,
        )
        page.next_number = reserved.first + len(publish) - len(reserved.left)
        page.publish = [entry for place, entry in enumerate(publish) if place not in reserved.left]
        for key, etag in [*publish, *in_flight, *awaited]:
            self.reserved(key, etag, sent=(key, etag) in publish, lost_before=lost_before)
        self.queue += page.publish

    async def record(self, page: Page, entries: list[tuple[str, str]]) -> None:
        assert self.scanning
        assert self.job
        assert self.open
        after = page.objects.keys[-1] if page.objects.keys else self.after
        await self.flight.record(
            self.scanning, entries_of(entries), int(self.now), after, next_number=page.next_number, proven=page.proven
        )
        if self.open.scans <= 1:
            self.open.counts["proven"] += page.proven
        self.after, self.page = after, None
        if page.last:
            await self.flight.decide(self.scanning, self.now - REPUBLISH_AFTER)
            await self.jobs.scanned(self.job, self.term)
            self.decided(self.now - REPUBLISH_AFTER)
            self.open.state = "moving"
            self.open.met.clear()
            self.scanning = None
            self.over()

    # A worker.

    async def deliver(self, number: int, how: str) -> None:
        if not self.queue:
            return
        key, etag = self.queue[number % len(self.queue)]
        there = self.source.get(key)
        if how in {"once", "fails"}:
            self.queue.remove((key, etag))
        if self.consumed.get(key) == etag:
            await self.settle(key, etag, Settled.PROVEN)
        elif how == "fails":
            await self.settle(key, etag, Settled.FAILED)
        elif there is None:
            (undecided,) = await self.flight.miss([Missed(ROUTE, key, etag, "w")])
            assert undecided is not self.missed(key, etag)
            if not undecided:
                await self.settle(key, etag, Settled.FAILED)
        elif str(there) == etag:
            await self.settle(key, etag, Settled.MOVED)
        else:
            self.queue.append((key, str(there)))
            if how != "dies":  # between sending and recording
                await self.flight.hand_over([HandedOver(ROUTE, key, etag, str(there), "w")])
                self.handed_over(key, etag, str(there))

    async def settle(self, key: str, etag: str, outcome: Settled) -> None:
        receipt = Receipt(etag, 1, None, "g", int(self.now), "w") if outcome is not Settled.FAILED else None
        await self.cache.settle([Settlement(ROUTE, key, etag, "w", outcome, receipt)])
        if receipt:
            self.consumed[key] = etag
        self.settled(key, etag, outcome)

    async def redrive(self, number: int) -> None:
        if not self.marks:
            return
        key = sorted(self.marks)[number % len(self.marks)]
        job, etag, _ = self.marks[key]
        self.queue.append((key, etag))
        taken = await self.flight.redrive(ROUTE, [(key, etag)])
        assert taken == (self.consumed.get(key) != etag)
        if not taken:
            return
        if self.open is None:
            (newest,) = [job for job in await self.jobs.recent(50) if job.id not in self.counted]
            assert newest.kind == "redrive"
            self.open = self.counted[newest.id] = Counted(newest.id, "moving", 0)
        if job is not self.open:
            job.counts["failed"] -= 1
            job.counts["redriven"] += 1
        self.put_on(key, etag)

    async def forgive(self, number: int) -> None:
        if not self.marks:
            return
        key = sorted(self.marks)[number % len(self.marks)]
        job, *_ = self.marks.pop(key)
        assert await self.flight.forgive(ROUTE, [key]) == 1
        if job is self.open:
            job.counts["failed"] -= 1

    # The dictionary's side of it.

    def opened(self, job: Job) -> None:
        if self.open is not None and self.open.state == "scanning":
            assert job.id == self.open.id
            return
        self.number += 1
        if self.open is not None and self.open.state == "moving":
            self.open.state, self.open.scans = "scanning", self.open.scans + 1
        else:
            if self.open is not None:
                self.open.counts["next_job"] += self.open.counts.pop("in_flight", 0)
            self.open = self.counted[job.id] = Counted(job.id)
            self.open.counts["in_flight"] = len(self.entries)
            self.open.met = set(self.entries)
        assert job.id == self.open.id

    def over(self) -> None:
        if self.open is not None and self.open.state in {"moving", "failed"} and not self.open.counts["in_flight"]:
            self.open = None

    def put_on(self, key: str, etag: str) -> None:
        assert self.open
        self.entries[key] = Entry(etag, self.now, self.number)
        mark = self.marks.pop(key, None)
        if mark and mark[0] is self.open:
            self.open.counts["failed"] -= 1
        self.open.counts["in_flight"] += 1
        self.open.met.add(key)

    def take_off(self, key: str, counter: str) -> None:
        del self.entries[key]
        if self.open is not None:
            self.open.counts["in_flight"] -= 1
            self.open.counts[counter] += 1
            self.over()

    def reserved(self, key: str, etag: str, *, sent: bool, lost_before: float) -> None:
        assert self.open
        entry, mark = self.entries.get(key), self.marks.get(key)
        if self.consumed.get(key) == etag:
            if entry and (entry.etag == etag or entry.at < lost_before):
                self.take_off(key, "proven")
        elif entry and sent:
            self.entries[key] = Entry(etag, self.now, self.number, returned=entry.returned or entry.missing)
        elif entry:
            entry.scan = self.number
        elif mark and mark[1] == etag and not sent:
            self.open.counts["failed"] += mark[0] is not self.open
            self.marks[key] = (self.open, etag, self.number)
        else:
            self.put_on(key, etag)

    def decided(self, lost_before: float) -> None:
        assert self.open
        for key, entry in list(self.entries.items()):
            if entry.scan < self.number and (entry.missing or entry.at < lost_before):
                self.take_off(key, "gone")
        for key, (job, _, scan) in list(self.marks.items()):
            if scan < self.number:
                del self.marks[key]
                if job is self.open:
                    job.counts["failed"] -= 1
                    job.counts["gone"] += 1

    def settled(self, key: str, etag: str, outcome: Settled) -> None:
        entry, mark = self.entries.get(key), self.marks.get(key)
        if entry and entry.etag == etag:
            if outcome is Settled.FAILED and self.open:
                self.marks[key] = (self.open, etag, entry.scan)
            self.take_off(key, outcome.value)
        elif not entry and mark and mark[1] == etag and outcome is not Settled.FAILED:
            del self.marks[key]
            mark[0].counts["failed"] -= 1
            mark[0].counts[outcome.value] += 1

    def missed(self, key: str, etag: str) -> bool:
        """Whether that is a failure."""
        entry = self.entries.get(key)
        if entry is None or entry.etag != etag:
            return False
        entry.missing = entry.missing or not entry.returned
        return entry.returned

    def handed_over(self, key: str, old: str, new: str) -> None:
        entry = self.entries.get(key)
        if entry is None or entry.etag != old:
            return
        if self.consumed.get(key) == new:
            self.take_off(key, "moved")
        else:
            entry.etag, entry.at = new, self.now

    async def compare(self) -> None:
        for counted in self.counted.values():
            job = await self.jobs.get(counted.id)
            assert job is not None
            expected = {name: count for name, count in counted.counts.items() if count}
            found = {name: getattr(job, name) for name in ("moved", "proven", "in_flight", "failed")} | dict(job.left_out)
            assert {name: count for name, count in found.items() if count} == expected
            assert job.listed == sum(expected.values())
            assert job.unbalanced == 0
            assert (job.finished is None) == (counted is self.open)
            if counted is self.open:
                assert (job.state, job.scans) == (counted.state, counted.scans)
                assert job.missing == sum(entry.missing for entry in self.entries.values())
            elif job.state != "failed":
                assert job.state == ("done_with_failures" if expected.get("failed") else "done")


@given(st.lists(steps, min_size=10, max_size=40))
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_numbers_are_those_of_a_dictionary(redis_address: str, plan: list[tuple[Any, ...]]) -> None:
    # Given a source with a few objects, and nothing known of them
    store = await Store.open(RedisSettings(address=redis_address, prefix=f"c-{uuid.uuid4().hex[:12]}"))
    model = Model(store)
    for key in KEYS[:5]:
        await model.put(key)
    try:
        # When anything happens, in any order
        for name, *arguments in plan:
            await getattr(model, name)(*arguments)
            # Then every job counts what the dictionary counts
            await model.compare()
        # And when everything holds still, a few scans and the deliveries between them end all of it
        for _ in range(4):
            model.now += 2 * REPUBLISH_AFTER
            await model.scan(1)
            while model.scanning is not None:
                await model.scan(1)
            while model.queue:
                await model.deliver(0, "once")
            await model.compare()
        assert model.open is None
        assert model.consumed.items() >= {key: str(version) for key, version in model.source.items()}.items()
    finally:
        names = [name async for name in store.client.scan_iter(f"{store.keys.prefix}:*")]
        await store.client.delete(*names)
        await store.close()
