"""Many coroutines, one round trip: each adds its item and awaits its own result, a whole batch goes out together.

Claims, receipts, acknowledgements and lease extensions cost a round trip each; with hundreds of objects in flight the
round trips would cost more than the copy. Nothing waits for a batch to fill: the first item opens a batch, whatever else
the event loop brings in the same turn joins it, and while a batch is under way the next one collects. Only where items come
one by one, as objects end, does a batch linger for a few milliseconds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Sends items in batches of at most `most`, at most `under_way` batches at once. Belongs to one event loop.

    `send` gets the items and answers with one result per item in the same order. When it raises, every item of that batch
    gets the exception. A caller that is cancelled leaves its item in the batch: the effect still happens, as it would have
    had the cancellation come a moment later.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int = 500,
        under_way: int = 1,
        linger: float = 0.0,
    ) -> None:
        """`linger` seconds are waited before a batch goes out that is not full: for items that come one by one and whose callers
        have time.
        """
        self._send = send
        self._most = most
        self._under_way = under_way
        self._linger = linger
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def add(self, item: Item) -> Result:
        """The result for this item, once its batch has been answered. Raises what `send` raised."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start()
        return await future

    async def drain(self) -> None:
        """Return when everything added so far has been answered, whatever the answer was."""
        while self._running:
            await asyncio.wait(self._running)

    def _start(self) -> None:
        if self._waiting and len(self._running) < self._under_way:
            runner = asyncio.create_task(self._run())
            self._running.add(runner)
            runner.add_done_callback(self._running.discard)

    async def _run(self) -> None:
        while self._waiting:
            if self._linger and len(self._waiting) < self._most:
                await asyncio.sleep(self._linger)
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            await self._exchange(batch)
        # Here and not only when the task is done, which is a turn of the loop later: an item that is added in between would
        # find this runner still counted, start none, and wait for somebody else's item.
        self._running.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _exchange(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            # Paired before anything is handed out: an answer too few must not give one item another one's result.
            pairs = list(zip(batch, await self._send([item for item, _ in batch]), strict=True))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for it
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), result in pairs:
                if not future.done():
                    future.set_result(result)
