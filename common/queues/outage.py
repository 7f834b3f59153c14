"""How a queue lives through an outage of its server: every call is tried again, with growing pauses, for a while.

A busy worker has hundreds of calls under way. They share one `Outage`, so that the log says once that the server is away and
once that it is back, and not once per call.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, TypeVar

from common.errors import QueueUnavailable
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Result = TypeVar("Result")

log = get_logger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
AGAIN_SECONDS = 60.0
"""So often the log hears of a server that stays away."""


class Outage:
    """Retries calls to one server for `patience` seconds each. `passing` picks the errors that go away by themselves; `describe`
    puts one into words (None: its type and first line).
    """

    def __init__(
        self,
        server: str,
        passing: Callable[[Exception], bool],
        *,
        describe: Callable[[Exception], str] | None = None,
        patience: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._server = server
        self._passing = passing
        self._describe = describe or _named
        self._patience = patience
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._since: float | None = None
        self._said = 0.0

    async def through(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """The result of `call`, tried until it works. Raises QueueUnavailable after `patience` seconds, and at once any
        error that does not pass. `call` must be harmless to repeat: an attempt may have worked although its answer was lost.
        """
        give_up = self._clock() + self._patience
        pause = FIRST_PAUSE
        while True:
            try:
                result = await call()
            except Exception as error:
                if not self._passing(error):
                    raise
                self._begins(error)
                if self._clock() + pause > give_up:
                    raise QueueUnavailable(f"{self._server} is away: {self._describe(error)}") from error
            else:
                self._ends()
                return result
            await self._sleep(pause * (0.5 + self._jitter() / 2))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _begins(self, error: Exception) -> None:
        now = self._clock()
        if self._since is None:
            self._since, self._said = now, float("-inf")
        if now - self._said >= AGAIN_SECONDS:
            self._said = now
            text, away = "the queue is away, trying again", round(now - self._since)
            log.warning(text, action="queue_away", server=self._server, error=self._describe(error), seconds=away)

    def _ends(self) -> None:
        if self._since is not None:
            away = self._clock() - self._since
            self._since = None
            log.info("the queue is back", action="queue_back", server=self._server, seconds=round(away, 1))


def describe(error: BaseException) -> str:
    """One line: some clients' errors span several, or are empty."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first[:300]}" if first else type(error).__name__


def _named(error: Exception) -> str:
    return describe(error)
