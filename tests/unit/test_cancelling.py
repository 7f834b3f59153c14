from __future__ import annotations

import asyncio

import pytest

from common.cancelling import cancel, heed


async def swallow() -> str:
    """What asyncio.wait_for of Python 3.11 does when the cancellation comes in the moment of success."""
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return "done all the same"
    return "slept"


async def test_a_swallowed_cancellation_is_heeded() -> None:
    # Given a call that swallows cancellations
    task = asyncio.create_task(heed(swallow()))
    await asyncio.sleep(0)
    # When the task is cancelled in its middle
    task.cancel()
    # Then it is cancelled
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cleaning_up_after_a_cancellation_is_not_cut_short() -> None:
    # Given a task that makes a call while it cleans up
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            cleaned.append(await heed(asyncio.sleep(0, "clean")))

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    # Then the cancellation that came before the call does not end the call
    assert cleaned == ["clean"]


async def test_cancel_ends_a_task_that_swallows_more_than_once() -> None:
    async def stubborn() -> None:
        for _ in range(3):
            await swallow()
        await asyncio.sleep(10)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(cancel(task), 5)
    assert task.cancelled()


async def test_cancel_does_not_raise_what_the_tasks_raise() -> None:
    async def failing() -> None:
        raise ValueError

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    await cancel(task)
    assert isinstance(task.exception(), ValueError)
