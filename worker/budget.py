"""How much of an object's bytes a process may hold at once, and whose turn it is when there is not enough for everybody.

Every buffer is paid for here before it is filled, so the memory of a worker process is bounded by `buffer_bytes`, whatever the
number of objects, and by the size of one part where a destination takes so few parts that one is larger.

Each lane (worker.lanes) waits in order of asking, and has a share that it gets in any case: without one a thousand small objects
would stand in line behind parts of 16 MiB, or a part for ever behind small objects. What one lane does not use the other
may borrow, and here the two are not alike: the bytes of a small object come back within moments, so it may borrow whatever
nobody waits for; a part holds its bytes for seconds, so parts borrow only when there has been no small object for a second.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.lanes import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SMALL_SHARE = 4
"""One part of so many belongs to the small objects: of 64 MiB that leaves three parts of 16 MiB to the large ones."""
QUIET_SECONDS = 1.0


@dataclass(slots=True)
class _Account:
    share: int
    held: int = 0
    waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)


class Budget:
    """Belongs to one event loop. `now` is any clock in seconds."""

    def __init__(self, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self._now = now
        self._small_until = -QUIET_SECONDS
        small = max(1, total // SMALL_SHARE)
        self._small, self._large = _Account(small), _Account(max(1, total - small))
        self._served = self._large

    @property
    def held(self) -> int:
        return self._small.held + self._large.held

    async def take(self, lane: Lane, count: int) -> None:
        """Wait until `count` bytes are free for this lane and hold them until `give` gives them back.

        More than there is in all waits for all of it: such a part is moved, alone.
        """
        count = min(count, self.total)
        mine, other = self._accounts(lane)
        if not (mine.waiting or other.waiting) and self._may(mine, other, count) and count <= self.total - self.held:
            mine.held += count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mine.waiting.append((count, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(lane, count)  # it was ours already when the cancellation came
            else:
                if (count, turn) in mine.waiting:
                    mine.waiting.remove((count, turn))
                self._serve()
            raise

    def give(self, lane: Lane, count: int) -> None:
        mine, _ = self._accounts(lane)
        mine.held -= min(count, self.total)
        if mine is self._small:
            self._small_until = self._now()
        self._serve()

    @asynccontextmanager
    async def hold(self, lane: Lane, count: int) -> AsyncIterator[None]:
        await self.take(lane, count)
        try:
            yield
        finally:
            self.give(lane, count)

    def _accounts(self, lane: Lane) -> tuple[_Account, _Account]:
        return (self._small, self._large) if lane is Lane.SMALL else (self._large, self._small)

    def _may(self, mine: _Account, other: _Account, count: int) -> bool:
        """Within its share; or all that a lane without any asks for, else what is larger than a share would never be moved; or
        borrowed.
        """
        if mine.held + count <= mine.share or not mine.held:
            return True
        if mine is self._small:
            return not other.waiting
        return not (other.waiting or other.held) and self._now() - self._small_until >= QUIET_SECONDS

    def _serve(self) -> None:
        while (mine := self._next()) is not None:
            count, turn = mine.waiting[0]
            if not turn.cancelled():
                if count > self.total - self.held:
                    return  # nobody overtakes it: what it waits for comes back
                mine.held += count
                turn.set_result(None)
                self._served = mine
            mine.waiting.popleft()

    def _next(self) -> _Account | None:
        """Whose turn it is: who holds less of its share, and where that is the same, who was not served last."""
        small, large = self._small, self._large
        small_may = bool(small.waiting) and self._may(small, large, small.waiting[0][0])
        large_may = bool(large.waiting) and self._may(large, small, large.waiting[0][0])
        if small_may and large_may:
            left, right = small.held * large.share, large.held * small.share
            if left == right:
                return large if self._served is small else small
            return small if left < right else large
        return small if small_may else large if large_may else None
