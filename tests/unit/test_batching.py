"""Batching: who travels together, how many at once, and who learns of a failure."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.batching import Batcher

if TYPE_CHECKING:
    from collections.abc import Sequence


class Recorder:
    """A send that doubles its items, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.busy = 0
        self.busiest = 0

    async def send(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self.gate.wait()
        finally:
            self.busy -= 1
        if 13 in items:
            raise ValueError("thirteen")
        return [item * 2 for item in items]


async def test_what_comes_in_one_turn_of_the_loop_travels_together() -> None:
    # Given a batcher
    recorder = Recorder()
    batcher = Batcher(recorder.send)
    # When many coroutines add at the same time
    results = await asyncio.gather(*(batcher.add(number) for number in range(100, 200)))
    # Then one batch carried them all, and each got its own result
    assert recorder.batches == [list(range(100, 200))]
    assert results == [number * 2 for number in range(100, 200)]


async def test_a_lone_item_does_not_wait_for_company() -> None:
    # Given a batcher that takes many
    recorder = Recorder()
    batcher = Batcher(recorder.send, most=500)
    # When one item is added and nothing follows
    result = await asyncio.wait_for(batcher.add(4), 1)
    # Then it went out by itself
    assert result == 8
    assert recorder.batches == [[4]]


async def test_an_item_that_is_added_as_the_last_batch_ends_is_not_forgotten() -> None:
    # Given a caller that adds its next item in the very turn in which it learns of the one before
    recorder = Recorder()
    batcher = Batcher(recorder.send)

    async def one_after_the_other() -> list[int]:
        return [await batcher.add(number) for number in (1, 2, 3)]

    # When nobody else adds anything
    results = await asyncio.wait_for(one_after_the_other(), 1)
    # Then every item went out
    assert results == [2, 4, 6]
    assert recorder.batches == [[1], [2], [3]]


async def test_while_a_batch_is_under_way_the_next_one_collects() -> None:
    # Given a batch that is held up
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.send)
    first = asyncio.create_task(batcher.add(0))
    await asyncio.sleep(0.01)
    # When more items come one after the other
    later = []
    for number in (1, 2, 3):
        later.append(asyncio.create_task(batcher.add(number)))
        await asyncio.sleep(0.001)
    assert recorder.batches == [[0]]
    recorder.gate.set()
    # Then they leave together as soon as the first is back
    assert await asyncio.gather(first, *later) == [0, 2, 4, 6]
    assert recorder.batches == [[0], [1, 2, 3]]


@pytest.mark.parametrize("under_way", [1, 3])
async def test_batches_are_bounded_in_size_and_in_number(under_way: int) -> None:
    # Given a batcher with both bounds, and a slow send
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.send, most=10, under_way=under_way)
    # When far more items are added than one round carries
    adding = [asyncio.create_task(batcher.add(number)) for number in range(100, 195)]
    await asyncio.sleep(0.01)
    recorder.gate.set()
    await asyncio.gather(*adding)
    # Then neither bound was passed, and everything went out once
    assert recorder.busiest == under_way
    assert max(map(len, recorder.batches)) == 10
    assert sorted(item for batch in recorder.batches for item in batch) == list(range(100, 195))


async def test_a_failure_reaches_everyone_in_the_batch_and_nobody_else() -> None:
    # Given two batches, the first of which will fail
    recorder = Recorder()
    batcher = Batcher(recorder.send, most=3)
    # When both are sent
    answers = await asyncio.gather(*(batcher.add(number) for number in (12, 13, 14, 15, 16)), return_exceptions=True)
    # Then only the first batch has the error
    assert [type(answer) for answer in answers] == [ValueError, ValueError, ValueError, int, int]
    # And the batcher goes on
    assert await batcher.add(1) == 2


async def test_a_cancelled_caller_leaves_its_item_in_the_batch() -> None:
    # Given two callers whose batch is on its way
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.send)
    impatient, patient = asyncio.create_task(batcher.add(1)), asyncio.create_task(batcher.add(2))
    await asyncio.sleep(0.01)
    # When one is cancelled
    impatient.cancel()
    await asyncio.sleep(0)
    recorder.gate.set()
    # Then the other gets its result, and the effect happened for both
    assert await patient == 4
    assert impatient.cancelled()
    assert recorder.batches == [[1, 2]]


async def test_a_send_that_answers_too_little_is_an_error_and_not_a_mixture() -> None:
    # Given a send that drops an item
    async def forgetful(items: Sequence[int]) -> list[int]:
        return list(items)[1:]

    batcher = Batcher(forgetful)
    # When three items are added
    answers = await asyncio.gather(*(batcher.add(number) for number in range(3)), return_exceptions=True)
    # Then none of them is given somebody else's result
    assert [type(answer) for answer in answers] == [ValueError] * 3


async def test_drain_returns_when_everything_is_answered() -> None:
    # Given items in a batch that is held up and in one that waits
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.send, most=2)
    adding = [asyncio.create_task(batcher.add(number)) for number in (11, 12, 13)]
    await asyncio.sleep(0.01)
    draining = asyncio.create_task(batcher.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    # When the sends come back, one of them with an error
    recorder.gate.set()
    await asyncio.wait_for(draining, 1)
    # Then nothing is open
    assert recorder.batches == [[11, 12], [13]]
    answers = await asyncio.gather(*adding, return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, int, ValueError]
    await batcher.drain()
