"""Looking at the error topic leaves it as it is; redriving sends the chosen tasks, and only then forgets their reports."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import pytest

from brigade import error_topic
from brigade.error_topic import Selection, look, redrive
from common.errors import QueueUnavailable
from common.report import Report, encode

if TYPE_CHECKING:
    from common.state.flight import Flight

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class MemoryQueue:
    """A queue of one process: what was handed out comes back with nack, as at the end of a lease."""

    lease = 60.0

    def __init__(self, *payloads, knows_backlog=True):
        self.waiting = deque(payloads)
        self.leased: list[bytes] = []
        self.acked: list[bytes] = []
        self.refuses = False
        self._knows_backlog = knows_backlog

    async def send(self, messages):
        if self.refuses:
            raise QueueUnavailable("away")
        self.waiting.extend(messages)

    async def receive(self, most, wait):
        taken = [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]
        self.leased += taken
        return [MemoryDelivery(self, payload) for payload in taken]

    async def backlog(self):
        return len(self.waiting) + len(self.leased) if self._knows_backlog else None

    async def close(self):
        self.waiting.clear()


class MemoryDelivery:
    attempt = 1

    def __init__(self, queue, payload):
        self._queue = queue
        self.payload = payload

    async def ack(self):
        self._queue.leased.remove(self.payload)
        self._queue.acked.append(self.payload)

    async def nack(self, delay=0.0):
        self._queue.leased.remove(self.payload)
        self._queue.waiting.append(self.payload)

    async def reject(self, report):
        raise NotImplementedError

    async def extend(self):
        assert self.payload in self._queue.leased


def report(key, category="forbidden", route="photos", failed=NOW, **fields):
    return encode(
        Report(
            category=category,
            message="no",
            attempts=1,
            worker="w",
            queued=NOW,
            failed=failed,
            route=route,
            key=key,
            payload=f"task {key}".encode(),
            **fields,
        )
    )


async def outcomes(errors, tasks, selection=Selection(), *, limit=1000, dry_run=False):  # noqa: B008
    # What is sent here is no task, so nothing is counted.
    redriving = redrive(
        errors, tasks, cast("Flight", None), selection, limit=limit, dry_run=dry_run, started=NOW + timedelta(hours=1)
    )
    return [outcome async for _, outcome in redriving]


@pytest.mark.parametrize("knows_backlog", [True, False])
async def test_looking_shows_everything_and_takes_nothing(knows_backlog):
    # Given more reports than come at once, and a message that is none
    everything = [*(report(f"k{number}") for number in range(150)), b"foreign"]
    errors = MemoryQueue(*everything, knows_backlog=knows_backlog)

    # When they are looked at
    found = await look(errors, Selection(), 1000)

    # Then all are shown, and all are still there
    assert len(found) == 151
    assert found[-1].report is None
    assert "not JSON" in found[-1].fault
    assert sorted(errors.waiting) == sorted(everything)
    assert not errors.leased


async def test_looking_stops_at_the_limit_and_selects():
    errors = MemoryQueue(*(report(f"k{number}", category="archived" if number % 2 else "forbidden") for number in range(20)))
    found = await look(errors, Selection(category="archived"), 3)
    assert [entry.report.key for entry in found if entry.report] == ["k1", "k3", "k5"]
    assert len(errors.waiting) == 20


async def test_redriving_sends_the_original_messages_and_forgets_their_reports():
    # Given two reports
    errors, tasks = MemoryQueue(report("a"), report("b")), MemoryQueue()

    # When they are redriven
    found = await outcomes(errors, tasks)

    # Then exactly the original messages are on the queue, and nothing is left of the reports
    assert found == ["sent", "sent"]
    assert list(tasks.waiting) == [b"task a", b"task b"]
    assert not errors.waiting
    assert not errors.leased


async def test_what_is_not_meant_or_cannot_be_sent_stays():
    # Given one report that is meant, and every kind that is not
    kept = [
        report("other category", category="archived"),
        report("other route", route="films"),
        report("cut off", truncated=True),
        report("came back", failed=NOW + timedelta(hours=2)),
        b"foreign",
    ]
    errors, tasks = MemoryQueue(*kept, report("meant")), MemoryQueue()

    # When it is redriven
    found = await outcomes(errors, tasks, Selection(category="forbidden", route="photos"))

    # Then it alone is sent, and the others wait where they were
    assert found == ["not_selected", "not_selected", "truncated", "failed_again", "not_a_report", "sent"]
    assert list(tasks.waiting) == [b"task meant"]
    assert sorted(errors.waiting) == sorted(kept)


async def test_a_dry_run_sends_nothing():
    errors, tasks = MemoryQueue(report("a")), MemoryQueue()
    assert await outcomes(errors, tasks, dry_run=True) == ["would_send"]
    assert not tasks.waiting
    assert len(errors.waiting) == 1


async def test_no_more_than_the_limit_is_sent():
    errors, tasks = MemoryQueue(*(report(f"k{number}") for number in range(10))), MemoryQueue()
    assert await outcomes(errors, tasks, limit=4) == ["sent"] * 4
    assert (len(tasks.waiting), len(errors.waiting)) == (4, 6)


async def test_reports_survive_a_queue_that_is_away():
    # Given a queue that confirms nothing
    errors, tasks = MemoryQueue(report("a")), MemoryQueue()
    tasks.refuses = True

    # When redriving fails
    with pytest.raises(QueueUnavailable):
        await outcomes(errors, tasks)

    # Then the report is still there
    assert len(errors.waiting) == 1
    assert not errors.acked


async def test_leases_are_kept_up_while_reports_are_held(monkeypatch):
    # Given a queue with a lease that runs out within a moment
    extended = []

    class Watched(MemoryDelivery):
        async def extend(self):
            extended.append(self.payload)

    class Short(MemoryQueue):
        lease = 0.03

        async def receive(self, most, wait):
            return [Watched(self, delivery.payload) for delivery in await super().receive(1, wait)]

    errors = Short(report("a"), report("b"))

    # When the reports are held for longer
    async with error_topic._held(errors) as held:
        async for _ in error_topic.entries(errors, held):
            await asyncio.sleep(0.05)

    # Then their leases were extended, and they are back in the end
    assert set(extended) == {report("a"), report("b")}
    assert len(errors.waiting) == 2
