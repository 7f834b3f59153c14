"""The publisher's side of the queue: it waits while the queue is away instead of giving up.

The queue contract raises QueueUnavailable when the service has been away for a while. Nothing is known to be lost then, so the
publisher says it once, waits, and goes on where it was; the scan behind it stands still, and memory with it.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from common.errors import QueueUnavailable
from common.queues.base import Checked
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from common.queues.base import Queue
    from publisher.room import Room

Result = TypeVar("Result")

log = get_logger(__name__)

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
LOOK_SECONDS = 60.0
"""Between two looks whether topic and subscription still belong together. A sweep that publishes begins with one."""


class Outlet:
    """Shared by every scan of a process. Belongs to one event loop."""

    def __init__(
        self,
        open_queue: Callable[[], Awaitable[Queue]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        room: Room | None = None,
    ) -> None:
        """`room` is waited for before anything is sent; None: nothing is waited for."""
        self._open_queue = open_queue
        self._queue: Queue | None = None
        self._sleep = sleep
        self._jitter = jitter
        self._away = False
        self._clock = clock
        self._look_again = 0.0
        self._room = room

    async def open(self) -> None:
        """Return when the queue is open, however long that takes. Raises SettingsError when it cannot be."""
        self._queue = await self._patiently(self._open_queue)

    async def open_once(self) -> None:
        """`open`, unless it is open: for a queue that is rarely needed."""
        if self._queue is None:
            await self.open()

    async def send(self, messages: Sequence[bytes]) -> None:
        """Return when the queue has confirmed every message, however long that takes. Some may be sent more than once.

        Raises SettingsError when the queue is gone and may not be made again.
        """
        if messages:
            await self._look()
            async with self._room.for_messages(messages) if self._room else nullcontext():
                await self._patiently(partial(self._opened().send, messages))

    async def _look(self) -> None:
        """Now and then, before something is sent, whether it would arrive."""
        queue, now = self._opened(), self._clock()
        if isinstance(queue, Checked) and now >= self._look_again:
            await self._patiently(queue.check)
            self._look_again = now + LOOK_SECONDS

    async def check(self) -> None:
        """Ask the queue whether it is there. Raises QueueUnavailable, SettingsError."""
        if self._away:
            raise QueueUnavailable("the queue does not answer; the publisher keeps trying")
        queue = self._opened()
        await (queue.check() if isinstance(queue, Checked) else queue.backlog())

    async def close(self) -> None:
        """May be called twice, and before `open`."""
        if self._queue is not None:
            await self._queue.close()

    def _opened(self) -> Queue:
        if self._queue is None:
            raise QueueUnavailable("the queue is not open yet")
        return self._queue

    async def _patiently(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        wait = FIRST_WAIT
        while True:
            try:
                result = await attempt()
            except QueueUnavailable as error:
                self._lost(error)
                await self._sleep(wait * (0.5 + self._jitter() / 2))
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                self._found()
                return result

    def _lost(self, error: QueueUnavailable) -> None:
        if not self._away:
            log.warning("the queue is away; publishing waits and goes on by itself", action="publishing_waits", error=str(error))
        self._away = True

    def _found(self) -> None:
        if self._away:
            log.warning("the queue is back; publishing goes on", action="publishing_goes_on")
        self._away = False
