"""Publishing leaves room in Redis for those who drain it.

A Redis that is full (`maxmemory`) refuses the claims, receipts and acknowledgements of the workers as well, and then nothing
makes room any more: the tasks that fill it cannot be worked off. So the publisher looks before it sends, and waits while less
than an eighth of the memory is left. Workers go on, what they settle is deleted, and publishing goes on by itself.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from common.errors import StateUnavailable
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from common.state.store import Memory, Store

log = get_logger(__name__)

LOOK_SECONDS = 1.0
AGAIN_SECONDS = 60.0
LEAST_BYTES = 1024 * 1024
"""Kept free where an eighth is less: what some hundred objects in flight take."""
PER_MESSAGE = 300
"""Bytes, beside the message: the entry on the stream, and the record of what was published."""


class Room:
    """Shared by everything in the process that sends tasks. Belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._sleep = sleep
        self._clock = clock
        self._under_way = 0
        self._waiting_since: float | None = None
        self._said = 0.0

    @asynccontextmanager
    async def for_messages(self, messages: Sequence[bytes]) -> AsyncIterator[None]:
        """Enter when there is room for these, however long that takes; leave when they have been sent."""
        size = sum(map(len, messages)) + PER_MESSAGE * len(messages)
        while (memory := await self._store.memory()) is not None and not self._fits(memory, size):
            self._waits(memory)
            await self._sleep(LOOK_SECONDS)
        self._goes_on()
        self._under_way += size
        try:
            yield
        finally:
            self._under_way -= size

    async def check(self) -> None:
        """Raises StateUnavailable while publishing waits for room."""
        if self._waiting_since is not None:
            raise StateUnavailable("Redis is nearly full, publishing waits: raise its maxmemory", reason="nearly_full")

    def _fits(self, memory: Memory, size: int) -> bool:
        """What is under way may not be counted by Redis yet."""
        kept_free = min(max(memory.limit // 8, LEAST_BYTES), memory.limit // 2)
        return memory.used + self._under_way + size <= memory.limit - kept_free

    def _waits(self, memory: Memory) -> None:
        now = self._clock()
        if self._waiting_since is None:
            self._waiting_since, self._said = now, float("-inf")
        if now - self._said >= AGAIN_SECONDS:
            self._said = now
            log.warning(
                "Redis is nearly full: publishing waits until workers have made room; raise its maxmemory if this stays",
                action="publishing_waits_for_room",
                used=memory.used,
                limit=memory.limit,
                seconds=round(now - self._waiting_since),
            )

    def _goes_on(self) -> None:
        if self._waiting_since is not None:
            log.info("there is room in Redis again, publishing goes on", action="publishing_goes_on")
            self._waiting_since = None
