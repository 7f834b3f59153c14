from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.budget import QUIET_SECONDS, Budget
from worker.lanes import Lane


async def test_waits_in_order_of_asking() -> None:
    # Given a budget that is used up
    budget = Budget(10)
    await budget.take(Lane.LARGE, 8)
    order: list[str] = []

    async def take(name: str, count: int) -> None:
        await budget.take(Lane.LARGE, count)
        order.append(name)

    # When a large request waits and a small one, that would fit, comes after it
    large = asyncio.create_task(take("large", 9))
    small = asyncio.create_task(take("small", 1))
    await asyncio.sleep(0)
    assert order == []
    budget.give(Lane.LARGE, 8)
    await asyncio.gather(large, small)
    # Then the small one has not overtaken it
    assert order == ["large", "small"]


async def test_a_cancelled_wait_holds_nothing_and_lets_the_next_one_through() -> None:
    # Given one holder, one that waits for too much, one behind it
    budget = Budget(10)
    await budget.take(Lane.LARGE, 5)
    blocked = asyncio.create_task(budget.take(Lane.LARGE, 10))
    behind = asyncio.create_task(budget.take(Lane.LARGE, 5))
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
    await budget.take(Lane.LARGE, 10)
    waiter = asyncio.create_task(budget.take(Lane.LARGE, 4))
    await asyncio.sleep(0)
    budget.give(Lane.LARGE, 10)
    # When it is cancelled before it runs
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    # Then nothing is held
    assert budget.held == 0


async def test_more_than_there_is_waits_for_all_of_it() -> None:
    # Given a budget in use
    budget = Budget(10)
    await budget.take(Lane.LARGE, 3)
    # When more is asked for than there will ever be
    large = asyncio.create_task(budget.take(Lane.LARGE, 11))
    await asyncio.sleep(0)
    assert not large.done()
    budget.give(Lane.LARGE, 3)
    await large
    # Then it has all of it, and gives no more back than it took
    assert budget.held == 10
    budget.give(Lane.LARGE, 11)
    assert budget.held == 0


async def test_parts_leave_the_small_objects_their_share() -> None:
    # Given parts in their share, more of them in line, and a small object under way
    budget = Budget(16)
    await budget.take(Lane.SMALL, 1)
    await budget.take(Lane.LARGE, 12)
    part = asyncio.create_task(budget.take(Lane.LARGE, 3))
    await asyncio.sleep(0)
    assert not part.done()
    # When a small object comes
    # Then there is room for it at once
    async with asyncio.timeout(1):
        await budget.take(Lane.SMALL, 3)
    # And the part has room when another one is over
    budget.give(Lane.LARGE, 4)
    await asyncio.wait_for(part, 1)


async def test_parts_borrow_when_there_has_been_no_small_object_for_a_while() -> None:
    # Given a budget whose last small object was over just now
    now = 100.0
    budget = Budget(16, lambda: now)
    async with budget.hold(Lane.SMALL, 1):
        await budget.take(Lane.LARGE, 6)
    # When parts ask for more than their share
    await budget.take(Lane.LARGE, 6)
    part = asyncio.create_task(budget.take(Lane.LARGE, 4))
    await asyncio.sleep(0)
    # Then they wait; and have all of it when the small objects stay away
    assert not part.done()
    now += QUIET_SECONDS
    budget.give(Lane.LARGE, 1)
    await budget.take(Lane.LARGE, 1)
    await asyncio.wait_for(part, 1)
    assert budget.held == 16


async def test_small_objects_borrow_until_a_part_waits() -> None:
    # Given small objects that have everything
    budget = Budget(16)
    for _ in range(8):
        await budget.take(Lane.SMALL, 2)
    # When a part and another small object wait, and what they had comes back bit by bit
    small = asyncio.create_task(budget.take(Lane.SMALL, 2))
    part = asyncio.create_task(budget.take(Lane.LARGE, 8))
    await asyncio.sleep(0)
    for _ in range(4):
        assert not part.done()
        budget.give(Lane.SMALL, 2)
        await asyncio.sleep(0)
    # Then the part is the next to have any
    assert part.done()
    assert not small.done()
    for _ in range(2):
        budget.give(Lane.SMALL, 2)
    await asyncio.wait_for(small, 1)


async def test_what_is_larger_than_a_share_has_its_turn() -> None:
    # Given a small object as large as half of everything, beside parts that never end
    budget = Budget(16)
    await budget.take(Lane.LARGE, 4)
    await budget.take(Lane.LARGE, 4)
    await budget.take(Lane.LARGE, 4)
    parts = [asyncio.create_task(budget.take(Lane.LARGE, 4)) for _ in range(5)]
    small = asyncio.create_task(budget.take(Lane.SMALL, 8))
    await asyncio.sleep(0)
    # When parts end, each with another one behind it
    for _ in range(3):
        budget.give(Lane.LARGE, 4)
        await asyncio.sleep(0)
    # Then it was not overtaken for ever, and neither are they
    assert small.done()
    budget.give(Lane.SMALL, 8)
    for _ in range(5):
        budget.give(Lane.LARGE, 4)
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*parts), 1)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(Lane), st.integers(0, 12), st.booleans()), max_size=40))
def test_never_holds_more_than_its_total(requests: list[tuple[Lane, int, bool]]) -> None:
    async def run() -> None:
        budget = Budget(10)

        async def use(lane: Lane, count: int) -> None:
            async with budget.hold(lane, count):
                assert budget.held <= 10
                await asyncio.sleep(0)

        tasks = []
        for lane, count, cancelled in requests:
            task = asyncio.create_task(use(lane, count))
            tasks.append(task)
            if cancelled:
                await asyncio.sleep(0)
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [result for result in results if isinstance(result, AssertionError)]
        assert budget.held == 0

    asyncio.run(run())
