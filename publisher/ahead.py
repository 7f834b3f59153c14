"""Work that is done ahead of its turn, and handed over in turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from common.cancelling import cancel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine

Item = TypeVar("Item")
Result = TypeVar("Result")


async def ahead(
    items: AsyncIterator[Item], work: Callable[[Item], Coroutine[Any, Any, Result]], most: int
) -> AsyncGenerator[Result, None]:
    """The result of `work` for each item, in their order. Up to `most` items are taken and worked on before their results are.

    Raises what `items` or `work` raises, after every result before it. Close the generator when leaving early; `items` is closed
    by who made it.
    """
    room = asyncio.Semaphore(most)
    begun: asyncio.Queue[asyncio.Task[Result] | None] = asyncio.Queue()
    working: set[asyncio.Task[Result]] = set()

    async def begin() -> None:
        try:
            async for item in items:
                task = asyncio.create_task(work(item))
                working.add(task)
                task.add_done_callback(working.discard)
                begun.put_nowait(task)
                await room.acquire()
        finally:
            begun.put_nowait(None)

    beginning = asyncio.create_task(begin())
    try:
        while (task := await begun.get()) is not None:
            result = await task
            room.release()
            yield result
        await beginning
    finally:
        await cancel(beginning, *working)
