"""Cancelled means ended, also where a library swallows a cancellation."""

from __future__ import annotations

import asyncio

from common.cancelling import cancel


async def test_a_task_that_swallows_its_cancellation_ends_all_the_same() -> None:
    # Given a task that goes on after its first cancellation, one that fails, and one that is done
    swallowed: list[int] = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed.append(1)

    async def failing() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ZeroDivisionError

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(failing()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.sleep(0.01)
    # When they are cancelled
    await cancel(*tasks)
    # Then all are done
    assert swallowed
    assert all(task.done() for task in tasks)
    await cancel()
