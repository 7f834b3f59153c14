"""Taking deliveries from one queue as slots come free."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.cancelling import cancel
from common.errors import QueueUnavailable
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from common.queues.base import Delivery, Queue

log = get_logger(__name__)

RECEIVE_SECONDS = 20.0
"""How long one request waits at an idle queue."""
GATHER_SECONDS = 0.01
"""How long a worker whose slots come free one by one waits for a few more, so that it does not ask the queue for each."""
LONGEST_PAUSE = 30.0


class Intake:
    """Begins `work` for each delivery, at most `slots` at once, asking for at most `at_once`. `active` is what is under way."""

    def __init__(
        self, queue: Queue, slots: int, work: Callable[[Delivery], Coroutine[None, None, None]], *, at_once: int | None = None
    ) -> None:
        self.active: dict[asyncio.Task[None], Delivery] = {}
        self._queue = queue
        self._slots = slots
        self._at_once = at_once or slots
        self._work = work

    async def run(self, stop: asyncio.Event) -> None:
        """Take until `stop` is set. What is under way then is the caller's to wait for."""
        stopped = asyncio.create_task(stop.wait())
        pause = 0.0
        try:
            while not stop.is_set():
                await self._free_slots(stopped)
                if stop.is_set():
                    return
                wanted = min(self._slots - len(self.active), self._at_once)
                receiving = asyncio.create_task(self._queue.receive(wanted, RECEIVE_SECONDS))
                try:
                    done, _ = await asyncio.wait({receiving, stopped}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not receiving.done():
                        # What a cancelled request may have taken comes back when its lease runs out.
                        await cancel(receiving)
                if receiving not in done:
                    return
                try:
                    for delivery in receiving.result():
                        self._start(delivery)
                    pause = 0.0
                except QueueUnavailable as error:
                    pause = min(max(1.0, pause * 2), LONGEST_PAUSE)
                    log.warning("the queue is away", action="queue_away", error=str(error), next_try_seconds=pause)
                    await asyncio.wait({stopped}, timeout=pause)
        finally:
            await cancel(stopped)

    async def _free_slots(self, stopped: asyncio.Task[bool]) -> None:
        """Return with at least one slot free, and rather with several; at once when `stopped` is done."""
        while len(self.active) >= self._slots and not stopped.done():
            await asyncio.wait({*self.active, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if self.active and self._slots - len(self.active) < self._slots // 4:
            await asyncio.wait({stopped}, timeout=GATHER_SECONDS)

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._work(delivery))
        self.active[task] = delivery
        task.add_done_callback(self.active.pop)
