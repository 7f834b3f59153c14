from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.budget import Budget


async def test_waits_in_order_of_asking() -> None:
    # Given a budget that is used up
    budget = Budget(10)
    await budget.take(8)
    order: list[str] = []

    async def take(name: str, count: int) -> None:
        await budget.take(count)
        order.append(name)

    # When a large request waits and a small one, that would fit, comes after it
    large = asyncio.create_task(take("large", 9))
    small = asyncio.create_task(take("small", 1))
    await asyncio.sleep(0)
    assert order == []
    budget.give(8)
    await asyncio.gather(large, small)
    # Then the small one has not overtaken it
    assert order == ["large", "small"]


async def test_a_cancelled_wait_holds_nothing_and_lets_the_next_one_through() -> None:
    # Given one holder, one that waits for too much, one behind it
    budget = Budget(10)
    await budget.take(5)
    blocked = asyncio.create_task(budget.take(10))
    behind = asyncio.create_task(budget.take(5))
    await asyncio.sleep(0)
    # When the one in front gives up
    blocked.cancel()
    await asyncio.gather(blocked, return_exceptions=True)
    # Then the next one has its turn
    await asyncio.wait_for(behind, 1)
    assert budget.held == 10


async def test_cancelled_in_the_moment_of_its_turn_gives_back() -> None:
    # Given a waiter whose turn has come but which has not run yet
    budget = Budget(10)
    await budget.take(10)
    waiter = asyncio.create_task(budget.take(4))
    await asyncio.sleep(0)
    budget.give(10)
    # When it is cancelled before it runs
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    # Then nothing is held
    assert budget.held == 0


async def test_more_than_there_is_waits_for_all_of_it() -> None:
    # Given a budget in use
    budget = Budget(10)
    await budget.take(3)
    # When more is asked for than there will ever be
    large = asyncio.create_task(budget.take(11))
    await asyncio.sleep(0)
    assert not large.done()
    budget.give(3)
    await large
    # Then it has all of it, and gives no more back than it took
    assert budget.held == 10
    budget.give(11)
    assert budget.held == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=40))
def test_never_holds_more_than_its_total(requests: list[tuple[int, bool]]) -> None:
    async def run() -> None:
        budget = Budget(10)

        async def use(count: int) -> None:
            async with budget.hold(count):
                assert budget.held <= 10
                await asyncio.sleep(0)

        tasks = []
        for count, cancelled in requests:
            task = asyncio.create_task(use(count))
            tasks.append(task)
            if cancelled:
                await asyncio.sleep(0)
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [result for result in results if isinstance(result, AssertionError)]
        assert budget.held == 0

    asyncio.run(run())
