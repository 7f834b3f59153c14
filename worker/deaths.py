"""Objects whose handling may kill the process: out of memory, a crash in a library.

Such an object comes back when its lease runs out, and would kill worker after worker. Each claim therefore leaves a note in Redis
that only an end takes away: success, failure, a hand-back at SIGTERM, or a renewal, which shows that its worker lives after all.
What is left are deaths (`Claimed.deaths`). They are not the object's fault alone: everything that a process had under way when it
died has one. So from the second death on an object is handled with no other such object beside it, in each process; if that dies
again, it is this one's.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from common.errors import KillsWorker
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.task import Task

log = get_logger(__name__)

SUSPECT = 2
"""Deaths from which on an object is handled alone. A machine that is lost leaves one with everything that was under way on it."""
TURN_SECONDS = 30.0
"""How long an object waits in its slot for its turn to be handled alone, before it goes back to the queue for as long."""


class Suspects:
    """Of one process: at most one suspect at once. `most`: so many deaths set an object aside, 0: none do."""

    def __init__(self, most: int, turn_seconds: float = TURN_SECONDS) -> None:
        self._most = most
        self._turn_seconds = turn_seconds
        self._alone = asyncio.Lock()

    def judge(self, task: Task, deaths: int) -> None:
        """Raise KillsWorker when the object has had its deaths."""
        if 0 < self._most <= deaths:
            raise KillsWorker(
                f"{deaths} worker processes died while they handled it ({task.size} bytes), without an error: look for a crash, "
                "and for the kernel's out-of-memory killer in the logs around that time; once the cause is gone, redrive"
            )

    @asynccontextmanager
    async def turn(self, task: Task, deaths: int) -> AsyncIterator[bool]:
        """Wait until no other suspect is handled; False when that has taken too long."""
        try:
            async with asyncio.timeout(self._turn_seconds):
                await self._alone.acquire()
        except TimeoutError:
            yield False
            return
        try:
            log.warning(
                "workers died while they handled this object: it is handled with no other of this kind beside it",
                action="object_suspected",
                route=task.route,
                key=task.key,
                deaths=deaths,
            )
            yield True
        finally:
            self._alone.release()
