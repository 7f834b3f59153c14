"""One write at a time, with everything that is due, in the order of the numbers; and the first fault ends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.steps import Step
from publisher.ledger import AT_ONCE, JobLost, Ledger, Sent
from publisher.position import Gap, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.state.jobs import Checkpoint


class Book:
    """What was written; each write waits until it is let through."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, Checkpoint, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0

    async def write(self, entries: Sequence[tuple[str, str]], checkpoint: Checkpoint, listed: int) -> None:
        self.at_once += 1
        assert self.at_once == 1
        await self.gate.wait()
        self.at_once -= 1
        self.writes.append((len(entries), checkpoint, listed))


def sent(after: str | None, until: str | None, numbers: int, confirmation: asyncio.Task[None] | None, entries: int = 1) -> Sent:
    return Sent(confirmation, [("key", "e")] * entries, 5, Gap(after, until), numbers)


async def nothing() -> None:
    return


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_numbers_are_reserved_before_they_are_given() -> None:
    # Given a ledger of a job that has given 7 numbers
    book = Book()
    ledger = Ledger(Position((Gap("a"),), 7), 7, book.write, held=lambda: True)
    book.gate.clear()
    # When three are wanted
    reserving = asyncio.create_task(ledger.reserve(3))
    await turns()
    # Then they are not given before it is written, with the place as it was
    assert not reserving.done()
    book.gate.set()
    assert await reserving == 7
    assert book.writes == [(0, Position((Gap("a"),), 7).checkpoint(10), 0)]
    assert await ledger.reserve(1) == 10
    await ledger.close()


async def test_what_becomes_due_while_a_write_is_under_way_goes_into_the_next() -> None:
    # Given a write under way
    book = Book()
    ledger = Ledger(Position(), 0, book.write, held=lambda: True)
    book.gate.clear()
    first = asyncio.create_task(ledger.reserve(2))
    await turns()
    # When two pages without tasks are done and one with, and numbers for another are wanted
    ledger.enter(sent(None, "c", 2, None, 0))
    ledger.enter(sent("c", "f", 2, asyncio.create_task(nothing())))
    ledger.enter(sent("f", "k", 2, None, 0))
    second = asyncio.create_task(ledger.reserve(1))
    await turns()
    book.gate.set()
    assert [await first, await second] == [0, 2]
    await ledger.room(1)
    # Then one write has them all
    assert book.writes[1:] == [(1, Position((Gap("k"),), 2).checkpoint(3), 15)]
    await ledger.close()


async def test_a_page_waits_for_those_before_it() -> None:
    # Given two pages of two ranges, of which the second is confirmed first
    book, go = Book(), asyncio.Event()
    steps: list[Step] = []
    ledger = Ledger(Position(), 0, book.write, held=lambda: True, on_step=steps.append)

    async def later() -> None:
        await go.wait()

    ledger.enter(sent("m", "p", 1, asyncio.create_task(later())))
    ledger.enter(sent(None, "c", 2, asyncio.create_task(nothing())))
    await turns()
    assert book.writes == []
    # When the first is confirmed too, then both are recorded
    go.set()
    await ledger.room(1)
    assert book.writes == [(2, Position((Gap("c", "m"), Gap("p")), 2).checkpoint(0), 10)]
    assert steps == [Step.BATCH_QUEUED, Step.BATCH_QUEUED, Step.BATCH_RECORDED, Step.BATCH_RECORDED]
    await ledger.close()


async def test_a_write_is_no_larger_than_it_must_be() -> None:
    # Given three pages, confirmed together, that are too large for one write
    book = Book()
    ledger = Ledger(Position(), 0, book.write, held=lambda: True)
    for number, (after, until) in enumerate([(None, "a"), ("a", "b"), ("b", None)]):
        ledger.enter(sent(after, until, number, asyncio.create_task(nothing()), AT_ONCE // 2 + 1))
    await ledger.room(1)
    # Then each has its own
    assert [entries for entries, _, _ in book.writes] == [AT_ONCE // 2 + 1] * 3
    assert Position.of(book.writes[-1][1]).ended
    await ledger.close()


async def test_there_is_room_once_pages_are_recorded() -> None:
    # Given a page that is not confirmed
    book, go = Book(), asyncio.Event()

    async def later() -> None:
        await go.wait()

    ledger = Ledger(Position(), 0, book.write, held=lambda: True)
    ledger.enter(sent(None, "a", 1, asyncio.create_task(later())))
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
    ledger = Ledger(Position(), 0, book.write, held=lambda: False)
    # When numbers are wanted, or a page is to be recorded
    with pytest.raises(JobLost):
        await ledger.reserve(1)
    ledger.enter(sent(None, "a", 1, None))
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
    ledger = Ledger(Position(), 0, book.write, held=lambda: True)
    ledger.enter(sent(None, "a", 1, asyncio.create_task(nothing())))
    ledger.enter(sent("a", "b", 2, asyncio.create_task(refused())))
    ledger.enter(sent("b", "c", 3, asyncio.create_task(nothing())))
    # When all are waited for
    with pytest.raises(KeyError):
        await ledger.room(1)
    # Then only what stands before it is recorded
    assert [Position.of(checkpoint) for _, checkpoint, _ in book.writes] == [Position((Gap("a"),), 1)]
    await ledger.close()


async def test_closing_stops_what_is_under_way() -> None:
    # Given a page that is never confirmed
    book = Book()
    ledger = Ledger(Position(), 0, book.write, held=lambda: True)
    confirmation = asyncio.create_task(asyncio.Event().wait())
    ledger.enter(sent(None, "a", 1, confirmation))  # type: ignore[arg-type]
    # When the ledger is closed, twice
    await ledger.close()
    await ledger.close()
    # Then nothing is left
    assert confirmation.cancelled()
    assert book.writes == []
