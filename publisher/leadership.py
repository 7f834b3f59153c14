"""Which of several publishers scans: the one that holds the lock in Redis, and only for as long as it knows that it does.

The lock is renewed at a third of its life, and others try for it at a tenth. Whoever holds it counts its own time from before
it asked, on a clock that nobody sets, so it stops believing before Redis stops remembering: a leader that was cut off has
stopped by the time another begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Protocol

from common.errors import StateUnavailable
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = get_logger(__name__)

LEASE_SECONDS = 15.0
"""After a leader was killed, another takes over within this time and a tenth."""


class Lock(Protocol):
    """What is asked of the lock in Redis (common.state.locks.Leader)."""

    async def take(self) -> int: ...

    async def give_up(self) -> bool: ...


class Leadership:
    """`keep` runs beside the work and holds the lock; `held` and `term` are read by the work, as often as it likes.

    A term is one unbroken time as leader, and has a number that no other publisher ever had. Work that began in one term
    ends with it, also when a new term has begun: someone else may have been at it in between.
    """

    def __init__(
        self,
        lock: Lock,
        seconds: float = LEASE_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._lock = lock
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._until = float("-inf")
        self._said: int | None = None
        """The term that the log has heard of, while it lasts."""
        self.term = 0

    def held(self, term: int | None = None) -> bool:
        """Whether this process is the leader now, and, if a term is named, has been without a break since that term began."""
        return self._clock() < self._until and (term is None or term == self.term)

    async def keep(self, began: Callable[[], None] = lambda: None) -> None:
        """Take the lock whenever it is free and renew it, until cancelled. Calls `began` at the beginning of each term."""
        while True:
            term = self.term
            with contextlib.suppress(StateUnavailable):  # the store has said so; the lock runs out by itself
                await self._take()
            if self.term != term:
                began()
            await self._sleep(self._seconds / (3 if self.held() else 10))

    async def give_up(self) -> None:
        """Let another take over at once. Only when nothing is being scanned any more."""
        if self.held():
            self._until = float("-inf")
            await self._lock.give_up()

    async def _take(self) -> None:
        asked = self._clock()
        term = await self._lock.take()
        if term:
            self.term = term
        self._until = asked + self._seconds if term else float("-inf")
        self._say(other=not term)

    def _say(self, *, other: bool) -> None:
        now = self.term if self.held() else None
        if self._said is not None and now != self._said:
            silence = "Redis did not answer for longer than the lead lasts: scans stop until this publisher leads again"
            log.warning("another publisher leads now" if other else silence, action="leader_ended", term=self._said)
        if now is not None and now != self._said:
            log.info("this publisher leads: it scans", action="leader_began", term=now)
        self._said = now
