"""Pulling: what becomes of a pull whose caller goes away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.errors import QueueUnavailable
from common.queues import pulling as module
from common.queues.pulling import Pulling

if TYPE_CHECKING:
    from collections.abc import Sequence


class Taken:
    def __init__(self, number: int) -> None:
        self.number = number
        self.returned = False

    async def nack(self, delay: float = 0.0) -> None:
        self.returned = True


class Source:
    """A pull that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float]] = []
        self.answers: asyncio.Queue[list[Taken] | Exception] = asyncio.Queue()

    async def pull(self, most: int, wait: float) -> Sequence[Taken]:
        self.asked.append((most, wait))
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def abandoned(pulling: Pulling[Taken], most: int = 5) -> None:
    """A receive that is cancelled once its pull is under way."""
    receiving = asyncio.create_task(pulling.receive(most, 10))
    await asyncio.sleep(0.01)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_a_pull_brings_is_received() -> None:
    # Given a pull that brings two
    source, two = Source(), [Taken(1), Taken(2)]
    source.answers.put_nowait(two)
    # When somebody receives
    got = await Pulling(source.pull).receive(7, 3)
    # Then these are the ones, and the pull was asked for what was wanted
    assert got == two
    assert source.asked == [(7, 3)]


async def test_what_comes_after_the_caller_has_gone_is_handed_back() -> None:
    # Given a receive that is cancelled
    source, late = Source(), [Taken(1), Taken(2)]
    pulling = Pulling(source.pull)
    await abandoned(pulling)
    # When its pull brings something all the same
    source.answers.put_nowait(late)
    await settle()
    # Then it goes back
    assert [taken.returned for taken in late] == [True, True]


async def test_the_next_caller_takes_over_and_gets_no_more_than_it_wants() -> None:
    # Given a pull for five whose caller has gone
    source, late = Source(), [Taken(number) for number in range(5)]
    pulling = Pulling(source.pull)
    await abandoned(pulling, most=5)
    # When the next one wants two, and the pull brings five
    receiving = asyncio.create_task(pulling.receive(2, 10))
    await asyncio.sleep(0.01)
    source.answers.put_nowait(late)
    got = await receiving
    await settle()
    # Then no second pull was made, two are received, and three go back
    assert len(source.asked) == 1
    assert got == late[:2]
    assert [taken.returned for taken in late] == [False, False, True, True, True]


async def test_an_answer_in_the_moment_of_cancellation_is_handed_back() -> None:
    # Given a receive whose pull has just answered
    source, taken = Source(), [Taken(1)]
    pulling = Pulling(source.pull)
    receiving = asyncio.create_task(pulling.receive(5, 10))
    await asyncio.sleep(0.01)
    source.answers.put_nowait(taken)
    await asyncio.sleep(0)
    # When it is cancelled before it could return
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await settle()
    # Then the message goes back
    assert taken[0].returned


async def test_a_slow_pull_is_left_to_the_next_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a pull that takes far longer than it was given
    monkeypatch.setattr(module, "OVERTIME", 0.02)
    source, taken = Source(), [Taken(1)]
    pulling = Pulling(source.pull)
    # When the first caller's time is over
    assert not await pulling.receive(5, 0)
    # Then it gets nothing, and the next caller gets what the pull brings
    source.answers.put_nowait(taken)
    assert await pulling.receive(5, 1) == taken
    assert len(source.asked) == 1


async def test_a_failure_reaches_whoever_waits_and_nobody_else() -> None:
    # Given a pull that fails after its caller has gone
    source = Source()
    pulling = Pulling(source.pull)
    await abandoned(pulling)
    source.answers.put_nowait(QueueUnavailable("away"))
    await settle()
    # When the next one receives, its own pull fails too
    source.answers.put_nowait(QueueUnavailable("still away"))
    # Then it is told so
    with pytest.raises(QueueUnavailable, match="still away"):
        await pulling.receive(5, 1)
    assert len(source.asked) == 2


async def test_close_gives_up_what_is_under_way() -> None:
    # Given a pull whose caller has gone, and one that has something to hand back
    source, late = Source(), [Taken(1)]
    pulling = Pulling(source.pull)
    await abandoned(pulling)
    source.answers.put_nowait(late)
    await asyncio.sleep(0.01)
    await abandoned(pulling)
    # When it is closed
    await asyncio.wait_for(pulling.close(), 1)
    # Then nothing is left behind
    assert late[0].returned
    assert len(asyncio.all_tasks()) == 1
