"""How much of an object's bytes a process may hold at once.

Every buffer is paid for here before it is filled, so the memory of a worker process is bounded by `buffer_bytes`, whatever the
number of objects, and by the size of one part where a destination takes so few parts that one is larger. Waiting is in order
of asking: a large part is not overtaken for ever by small objects.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Budget:
    """Belongs to one event loop."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        return self.total - self._free

    async def take(self, count: int) -> None:
        """Wait until `count` bytes are free, in order of asking, and hold them until `give` gives them back.

        More than there is in all waits for all of it: such a part is moved, alone.
        """
        count = min(count, self.total)
        if not self._waiting and count <= self._free:
            self._free -= count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(count)  # it was ours already when the cancellation came
            else:
                self._waiting.remove((count, turn))
                self._serve()
            raise

    def give(self, count: int) -> None:
        self._free += min(count, self.total)
        self._serve()

    @asynccontextmanager
    async def hold(self, count: int) -> AsyncIterator[None]:
        await self.take(count)
        try:
            yield
        finally:
            self.give(count)

    def _serve(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            count, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= count
                turn.set_result(None)
