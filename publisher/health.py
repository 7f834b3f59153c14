"""Whether the process is alive and can do its work, found out beforehand by the event loop, so that whoever asks need not wait.

A health page that asks Redis when it is asked itself is as slow as Redis: frozen, it takes the threads of the server with it, and
a liveness probe that times out kills a process whose only fault is to wait. So the loop notes that it turns, once a second, and
asks what the publisher needs in its own rhythm; the pages read what was noted, and how old it is.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from common.errors import BrigadeError, StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

BEAT_SECONDS = 1.0
ALIVE_SECONDS = 15.0
"""A loop that has not turned for so long is stuck: longer than any work of ours holds it."""
UNREACHABLE = "unreachable"
PROBE_SECONDS = 3.0
PROBE_EVERY = 2.0
"""Between two rounds of questions; each question is one small round trip."""


class Health:
    """`probes` name what the publisher needs, each with a check that raises BrigadeError when it is not to be had.

    `watch` belongs to the event loop; everything else may be called from any thread and never waits.
    """

    def __init__(
        self,
        probes: Mapping[str, Callable[[], Awaitable[None]]],
        *,
        every: float = PROBE_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probes = dict(probes)
        self._every = every
        self._clock = clock
        self._beat = clock()
        self._probed = float("-inf")
        self._found: dict[str, str] = dict.fromkeys(sorted(probes), UNREACHABLE)

    @property
    def alive(self) -> bool:
        """The event loop turns. Says nothing about Redis or the queue: starting again would not bring those back."""
        return self._clock() - self._beat < ALIVE_SECONDS

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not to be had, by name and in order; everything when nobody has asked for a while."""
        if self._clock() - self._probed > self._every + PROBE_SECONDS + ALIVE_SECONDS:
            return tuple(sorted(self._probes))
        return tuple(self._found)

    @property
    def why(self) -> dict[str, str]:
        """A word for each of what is missing, where more is known than that it does not answer: "out_of_memory", "read_only"."""
        return {name: reason for name, reason in self._found.items() if name in self.missing and reason != UNREACHABLE}

    def lacks(self, name: str) -> bool:
        """Whether the last round of questions found that this is not to be had; False before the first."""
        return self._probed != float("-inf") and name in self.missing

    async def watch(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_beating())
            group.create_task(self._keep_asking())

    async def _keep_beating(self) -> None:
        while True:
            self._beat = self._clock()
            await asyncio.sleep(BEAT_SECONDS)

    async def _keep_asking(self) -> None:
        while True:
            await self.ask()
            await asyncio.sleep(self._every)

    async def ask(self) -> None:
        """One round of questions."""
        names = sorted(self._probes)
        answers = await asyncio.gather(*(self._answers(name) for name in names))
        self._found = {name: reason for name, reason in zip(names, answers, strict=True) if reason is not None}
        self._probed = self._clock()

    async def _answers(self, name: str) -> str | None:
        """Why it is not to be had, in a word; None where it is."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probes[name]()
        except StateUnavailable as error:
            return error.reason
        except (BrigadeError, TimeoutError, OSError):
            return UNREACHABLE
        return None
