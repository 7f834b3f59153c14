"""Work ahead of its turn: in order, bounded, and nothing left behind."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from publisher.ahead import ahead

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Items:
    """Numbers from 0, counted as they are taken; raises at `fails`."""

    def __init__(self, count: int, fails: int = -1) -> None:
        self.count = count
        self.fails = fails
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in range(self.count):
            if number == self.fails:
                raise KeyError(number)
            self.taken += 1
            yield number


async def others() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_results_come_in_order_whatever_takes_longest() -> None:
    # Given work of which the earlier takes longer
    async def work(number: int) -> int:
        await asyncio.sleep((5 - number) * 0.005)
        return number * 10

    # When it is done ahead
    async with aclosing(ahead(aiter(Items(6)), work, 6)) as results:
        found = [result async for result in results]
    # Then the results are in order
    assert found == [0, 10, 20, 30, 40, 50]
    assert await others() == []


async def test_no_more_is_taken_than_allowed() -> None:
    # Given work that is done at once
    items = Items(10)

    async def work(number: int) -> int:
        return number

    async with aclosing(ahead(aiter(items), work, 2)) as results:
        # When the first result is in hand, and there is all the time in the world
        assert await anext(results) == 0
        for _ in range(20):
            await asyncio.sleep(0)
        # Then two more have been taken, and one that waits for its place
        assert items.taken == 1 + 2 + 1
    assert await others() == []


async def test_a_fault_of_the_items_comes_after_what_came_before() -> None:
    # Given items that break at the third
    seen = []

    async def work(number: int) -> int:
        await asyncio.sleep(0.005)
        return number

    # When they are worked on ahead
    with pytest.raises(KeyError):  # noqa: PT012 - the loop is what raises
        async with aclosing(ahead(aiter(Items(5, fails=2)), work, 4)) as results:
            async for result in results:
                seen.append(result)  # noqa: PERF401 - what came before is looked at
    # Then what came before was handed over
    assert seen == [0, 1]
    assert await others() == []


async def test_a_fault_of_the_work_ends_it() -> None:
    # Given work that breaks at the second item, while others are under way
    seen = []

    async def work(number: int) -> int:
        if number == 1:
            raise KeyError(number)
        await asyncio.sleep(0.005 if number < 1 else 10)
        return number

    with pytest.raises(KeyError):  # noqa: PT012 - the loop is what raises
        async with aclosing(ahead(aiter(Items(5)), work, 4)) as results:
            async for result in results:
                seen.append(result)  # noqa: PERF401 - what came before is looked at
    # Then it ended in its turn, and the others were stopped
    assert seen == [0]
    assert await others() == []


async def test_leaving_early_stops_what_is_under_way() -> None:
    # Given work that never ends but for the first
    async def work(number: int) -> int:
        if number:
            await asyncio.Event().wait()
        return number

    async with aclosing(ahead(aiter(Items(5)), work, 3)) as results:
        assert await anext(results) == 0
    # Then nothing is left of it
    assert await others() == []
