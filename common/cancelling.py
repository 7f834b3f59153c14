"""Cancelling tasks so that they really end, and calls that do not swallow a cancellation.

Up to Python 3.11, `asyncio.wait_for` swallows a cancellation that arrives at the very moment when what it waits for is done
(https://github.com/python/cpython/issues/86296), and redis-py sends every command through it. A task that is cancelled once
while it speaks to Redis may therefore go on for ever; seen about once in a hundred stops.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

Result = TypeVar("Result")

AGAIN_SECONDS = 0.2


async def heed(call: Awaitable[Result]) -> Result:
    """The call's result; but CancelledError if this task was cancelled meanwhile, even if the call has swallowed that."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    result = await call
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """The result of the work; None when it was dropped because `stop` came first."""
    doing = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([doing, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel(doing, stopped)
    return None if doing.cancelled() else doing.result()


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks, again and again, until all are done. What they raise in the end is not raised here."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
