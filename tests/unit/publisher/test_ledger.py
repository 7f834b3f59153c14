"""One write at a time, with everything that is due, in the order of the pages; and the first fault ends it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from common.state.jobs import JobLost
from common.steps import Step
from publisher.ledger import AT_ONCE, Ledger, Sent
from publisher.position import Gap, Position

if TYPE_CHECKING:
    from common.state.flight import Entries


class Book:
    """What was written; each write waits until it is let through."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, Position, int | None, int, dict[str, int]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0

    async def write(self, entries: Entries, position: Position, numbers: int | None, proven: int, left_out: Counter[str]) -> None:
        self.at_once += 1
        assert self.at_once == 1
        await self.gate.wait()
        self.at_once -= 1
        self.writes.append((len(entries), position, numbers, proven, dict(left_out)))


def sent(after: str | None, until: str | None, confirmation: asyncio.Task[None] | None, entries: int = 1) -> Sent:
    return Sent(confirmation, [(b"key", b"digest", b"e")] * entries, 5, Counter(marker=1), Gap(after, until), entries or None)


async def nothing() -> None:
    return


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_becomes_due_while_a_write_is_under_way_goes_into_the_next() -> None:
    # Given a write under way
    book = Book()
    ledger = Ledger(Position(), book.write, held=lambda: True)
    book.gate.clear()
    ledger.enter(sent(None, "a", None, 0))
    await turns()
    # When two pages without tasks are done and one with
    ledger.enter(sent("a", "c", None, 0))
    ledger.enter(sent("c", "f", asyncio.create_task(nothing())))
    ledger.enter(sent("f", "k", None, 0))
    await turns()
    book.gate.set()
    await ledger.room(1)
    # Then one write has them all
    assert book.writes[1:] == [(1, Position((Gap("k"),)), 1, 15, {"marker": 3})]
    await ledger.close()


async def test_a_page_waits_for_those_before_it() -> None:
    # Given two pages of two ranges, of which the second is confirmed first
    book, go = Book(), asyncio.Event()
    steps: list[Step] = []
    ledger = Ledger(Position(), book.write, held=lambda: True, on_step=steps.append)

    async def later() -> None:
        await go.wait()

    ledger.enter(sent("m", "p", asyncio.create_task(later())))
    ledger.enter(sent(None, "c", asyncio.create_task(nothing())))
    await turns()
    assert book.writes == []
    # When the first is confirmed too, then both are recorded
    go.set()
    await ledger.room(1)
    assert book.writes == [(2, Position((Gap("c", "m"), Gap("p"))), 1, 10, {"marker": 2})]
    assert steps == [Step.BATCH_QUEUED, Step.BATCH_QUEUED, Step.BATCH_RECORDED, Step.BATCH_RECORDED]
    await ledger.close()


async def test_a_write_is_no_larger_than_it_must_be() -> None:
    # Given three pages, confirmed together, that are too large for one write
    book = Book()
    ledger = Ledger(Position(), book.write, held=lambda: True)
    for after, until in [(None, "a"), ("a", "b"), ("b", None)]:
        ledger.enter(sent(after, until, asyncio.create_task(nothing()), AT_ONCE // 2 + 1))
    await ledger.room(1)
    # Then each has its own
    assert [entries for entries, *_ in book.writes] == [AT_ONCE // 2 + 1] * 3
    assert book.writes[-1][1].ended
    await ledger.close()


async def test_there_is_room_once_pages_are_recorded() -> None:
    # Given a page that is not confirmed
    book, go = Book(), asyncio.Event()

    async def later() -> None:
        await go.wait()

    ledger = Ledger(Position(), book.write, held=lambda: True)
    ledger.enter(sent(None, "a", asyncio.create_task(later())))
    await ledger.room(2)
    waiting = asyncio.create_task(ledger.room(1))
    await turns()
    assert not waiting.done()
    # When it is
    go.set()
    await waiting
    await ledger.close()


async def test_nothing_is_written_for_a_job_that_is_lost() -> None:
    # Given a job that somebody else has taken over
    book = Book()
    ledger = Ledger(Position(), book.write, held=lambda: False)
    # When a page is to be recorded
    ledger.enter(sent(None, "a", None))
    with pytest.raises(JobLost):
        await ledger.room(1)
    # Then nothing was written
    assert book.writes == []
    await ledger.close()


async def test_a_page_that_cannot_be_sent_ends_it_after_those_before() -> None:
    # Given a page that is confirmed, one that is refused, and one behind it
    async def refused() -> None:
        raise KeyError("no such topic")

    book = Book()
    ledger = Ledger(Position(), book.write, held=lambda: True)
    ledger.enter(sent(None, "a", asyncio.create_task(nothing())))
    ledger.enter(sent("a", "b", asyncio.create_task(refused())))
    ledger.enter(sent("b", "c", asyncio.create_task(nothing())))
    # When all are waited for
    with pytest.raises(KeyError):
        await ledger.room(1)
    # Then only what stands before it is recorded
    assert [position for _, position, *_ in book.writes] == [Position((Gap("a"),))]
    await ledger.close()


async def test_closing_stops_what_is_under_way() -> None:
    # Given a page that is never confirmed
    book = Book()
    ledger = Ledger(Position(), book.write, held=lambda: True)
    confirmation = asyncio.create_task(asyncio.Event().wait())
    ledger.enter(sent(None, "a", confirmation))  # type: ignore[arg-type]
    # When the ledger is closed, twice
    await ledger.close()
    await ledger.close()
    # Then nothing is left
    assert confirmation.cancelled()
    assert book.writes == []
