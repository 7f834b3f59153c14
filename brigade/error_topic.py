"""Reading the error topic without emptying it, and sending its tasks again.

A report is taken off the topic only after the queue has confirmed its task: what is interrupted here is sent twice at worst.
Reports that are only looked at are handed back at the end of the run, not before, so that no report is seen twice in it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from common import report as reports
from common.background import Background
from common.batching import Batcher
from common.errors import Malformed
from common.queues.base import Browsable
from common.task import decode
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import datetime

    from common.queues.base import Delivery, Kept, Queue
    from common.report import Report
    from common.state.flight import Flight
    from common.state.reported import Reported

log = get_logger(__name__)

AT_ONCE = 100
PAGE = 500
WAIT = 2.0
EMPTY_ANSWERS = 2
"""So often in a row nothing came within WAIT seconds: the topic counts as read. Pub/Sub may answer nothing and have something."""
MOST_HELD = 100_000
"""Reports looked at in one run where they have to be handed out for that: their leases are kept up, and they are in memory, about
1 KiB each."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which reports are meant; None means any."""

    category: str | None = None
    route: str | None = None

    def takes(self, report: Report) -> bool:
        return self.category in (None, report.category) and self.route in (None, report.route)


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the error topic. `report` is None where it is none of ours; then `fault` says why."""

    delivery: Delivery
    report: Report | None
    fault: str = ""
    times: int = 1
    """How often its subject was reported, where the queue can tell, and when first (seconds since 1970)."""
    first: float | None = None


Held = dict[int, "Delivery"]
"""By identity: what a delivery is equal to is the queue's own affair."""
Outcome = Literal["sent", "would_send", "not_selected", "not_a_report", "no_task", "truncated", "failed_again"]


async def entries(queue: Queue, held: Held) -> AsyncIterator[list[Entry]]:
    """The messages of the error topic as they come, until there seem to be no more.

    Each that is handed out is put into `held`; what settles one takes it out. Where they can be looked at without that, all
    are; elsewhere at most MOST_HELD, and the log says so.
    """
    if isinstance(queue, Browsable):
        dropping: Batcher[str, None] = Batcher(partial(_drop, queue))
        async for page in queue.pages(PAGE):
            yield [_entry(_Lying(kept.payload, kept.id, dropping), kept) for kept in page]
        return
    seen, empty = 0, 0
    while seen < MOST_HELD and empty < EMPTY_ANSWERS:
        there = await queue.backlog()
        if there is not None and len(held) >= there:
            return
        deliveries = await queue.receive(min(AT_ONCE, MOST_HELD - seen), WAIT)
        empty = 0 if deliveries else empty + 1
        seen += len(deliveries)
        held.update((id(delivery), delivery) for delivery in deliveries)
        if deliveries:
            yield [_entry(delivery) for delivery in deliveries]
    if seen >= MOST_HELD:
        log.warning(
            "no more reports are looked at in one run, because this queue can only hand them out: run the command again",
            action="errors_cut_off",
            reports=seen,
        )


@dataclass(slots=True, eq=False)
class _Lying:
    """A report that was looked at and not handed out: what is not taken off stays where it is."""

    payload: bytes
    id: str
    dropping: Batcher[str, None]
    attempt: int = 1

    async def ack(self) -> None:
        await self.dropping.add(self.id)

    async def nack(self, _delay: float = 0.0) -> None:
        return

    async def reject(self, _report: bytes) -> None:
        await self.ack()

    async def extend(self) -> None:
        return


async def _drop(queue: Browsable, ids: Sequence[str]) -> list[None]:
    await queue.drop(ids)
    return [None] * len(ids)


def _entry(delivery: Delivery, kept: Kept | None = None) -> Entry:
    times, first = (kept.times, kept.first) if kept else (1, None)
    try:
        return Entry(delivery, reports.decode(delivery.payload), "", times, first)
    except Malformed as error:
        return Entry(delivery, None, str(error), times, first)


async def look(queue: Queue, selection: Selection, limit: int) -> list[Entry]:
    """The first `limit` entries that are meant, and everything handed back."""
    found: list[Entry] = []
    async with _held(queue) as held:
        async for batch in entries(queue, held):
            found += [entry for entry in batch if _meant(entry, selection)]
            if len(found) >= limit:
                break
    return found[:limit]


def _meant(entry: Entry, selection: Selection) -> bool:
    return selection == Selection() if entry.report is None else selection.takes(entry.report)


async def redrive(
    errors: Queue,
    tasks: Queue,
    flight: Flight,
    selection: Selection,
    *,
    limit: int,
    dry_run: bool,
    started: datetime,
    reported: Reported | None = None,
) -> AsyncIterator[tuple[Entry, Outcome]]:
    """Send the tasks of the reports that are meant to the queue again, at most `limit`. They are failed no more, but in flight.

    What failed after `started` stays: it was sent by this very run and has come back.
    """
    left = limit
    async with _held(errors) as held:
        async for batch in entries(errors, held):
            judged = [(entry, _judge(entry, selection, started)) for entry in batch]
            chosen = [entry for entry, outcome in judged if outcome == "sent"][:left]
            left -= len(chosen)
            if chosen and not dry_run:
                await _unmark(reported, chosen)
                await _send_again(tasks, flight, chosen, held)
            for entry, outcome in judged:
                if outcome != "sent":
                    yield entry, outcome
                elif entry in chosen:
                    yield entry, "would_send" if dry_run else "sent"
            if left <= 0:
                break


async def forget(errors: Queue, take_back: Callable[[str, str], Awaitable[object]]) -> int:
    """Take every report of a task off the topic, and how many they were. `take_back(route, key)` first makes sure that the
    object will be found again: what is interrupted here is done again.
    """
    forgotten = 0
    async with _held(errors) as held:
        async for batch in entries(errors, held):
            ours = [(entry, entry.report.route, entry.report.key) for entry in batch if entry.report is not None]
            known = [(entry, route, key) for entry, route, key in ours if route is not None and key is not None]
            await asyncio.gather(*(take_back(route, key) for _, route, key in known))
            await asyncio.gather(*(entry.delivery.ack() for entry, _, _ in known))
            for entry, _, _ in known:
                held.pop(id(entry.delivery), None)
            forgotten += len(known)
    return forgotten


def _judge(entry: Entry, selection: Selection, started: datetime) -> Outcome:
    report = entry.report
    if report is None:
        return "not_a_report"
    if not selection.takes(report):
        return "not_selected"
    if not report.payload:
        return "no_task"
    if report.truncated:
        return "truncated"
    return "failed_again" if report.failed >= started else "sent"


async def _send_again(tasks: Queue, flight: Flight, chosen: list[Entry], held: Held) -> None:
    payloads = [entry.report.payload for entry in chosen if entry.report is not None]
    await tasks.send(payloads)
    for route, sent in _versions(payloads).items():
        await flight.redrive(route, sent)
    await asyncio.gather(*(entry.delivery.ack() for entry in chosen))
    for entry in chosen:
        held.pop(id(entry.delivery), None)


async def discard(errors: Queue, selection: Selection, reported: Reported | None = None) -> AsyncIterator[list[Entry]]:
    """Take the reports that are meant off the topic for good, and their tasks with them; as they go, page by page."""
    async with _held(errors) as held:
        async for batch in entries(errors, held):
            chosen = [entry for entry in batch if _meant(entry, selection)]
            await _unmark(reported, chosen)
            await asyncio.gather(*(entry.delivery.ack() for entry in chosen))
            for entry in chosen:
                held.pop(id(entry.delivery), None)
            yield chosen


async def _unmark(reported: Reported | None, chosen: Sequence[Entry]) -> None:
    """First, so that whatever fails from now on is reported, also when this is interrupted."""
    if reported is not None:
        await reported.forget(_objects(chosen))


def _objects(chosen: Sequence[Entry]) -> list[tuple[str, str]]:
    found = [(entry.report.route, entry.report.key) for entry in chosen if entry.report is not None]
    return [(route, key) for route, key in found if route is not None and key is not None]


async def with_history(found: Sequence[Entry], reported: Reported) -> list[Entry]:
    """The entries with what is known of how often they failed, where the topic itself does not tell."""
    objects = _objects(found)
    known: dict[tuple[str | None, str | None], tuple[int, float | None]] = dict(
        zip(objects, await reported.history(objects), strict=True)
    )
    told = []
    for entry in found:
        subject = (entry.report.route, entry.report.key) if entry.report is not None else (None, None)
        times, first = known.get(subject, (1, None))
        told.append(replace(entry, times=times, first=first))
    return told


async def total(errors: Queue, selection: Selection) -> int:
    """How many reports are meant."""
    async with _held(errors) as held:
        return sum([len([entry for entry in batch if _meant(entry, selection)]) async for batch in entries(errors, held)])


def _versions(payloads: Sequence[bytes]) -> dict[str, list[tuple[str, str]]]:
    """Key and version of each task, by route. What is no task is in nobody's counters."""
    found: dict[str, list[tuple[str, str]]] = {}
    for payload in payloads:
        with suppress(Malformed):
            task = decode(payload)
            found.setdefault(task.route, []).append((task.key, task.version.token))
    return found


@asynccontextmanager
async def _held(queue: Queue) -> AsyncIterator[Held]:
    """Deliveries whose leases are kept up until they are handed back at the end, whatever ended it."""
    held: Held = {}
    background = Background()
    background.keep("leases", lambda: _renew(held, queue.lease / 3), longest_pause=queue.lease / 6)
    try:
        yield held
    finally:
        await background.close()
        await asyncio.gather(*(delivery.nack() for delivery in held.values()))


async def _renew(held: Held, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        await asyncio.gather(*(delivery.extend() for delivery in held.values()))
