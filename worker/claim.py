"""Taking an object for oneself, so that two deliveries of one task do not pay for its bytes twice.

A claim is for efficiency only. It may run out while its holder still works; what keeps the destination right then is the
precondition of the write.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from common.batching import Batcher
from common.log_names import Message
from common.state.cache import Claim, Claimed, Outcome
from common.state.records import Record
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.state.cache import Cache
    from common.task import Task

log = get_logger(__name__)

HAND_BACK_SECONDS = 1.5


class Claims:
    """The objects that this worker has claimed. `renew` is called while they are moved, as often as the leases of the
    deliveries.
    """

    def __init__(self, cache: Cache, worker: str, seconds: float) -> None:
        self._cache = cache
        self._worker = worker
        self._seconds = seconds
        self._held: dict[tuple[str, str], Claim] = {}
        self._batch: Batcher[Claim, Claimed] = Batcher(cache.claim, under_way=2)

    async def take(self, task: Task) -> Claimed:
        """TAKEN: ours now; DONE: this version is consumed; BUSY: somebody else moves it at this moment."""
        if (task.route, task.key) in self._held:
            return Claimed(Outcome.BUSY, Record(None, None))  # by another delivery here: Redis knows us only as one owner
        claim = self._claim(task)
        self._held[task.route, task.key] = claim
        try:
            claimed = await self._batch.add(claim)
        except BaseException:
            await self.hand_back(task)  # the claim may have been taken all the same
            raise
        if claimed.outcome is Outcome.TAKEN:
            begun = {"message": Message.OBJECT_INITIATED.value, "route": task.route, "key": task.key, "size": task.size}
            log.debug("a worker begins with an object", action="object_initiated", **begun)
        else:
            self.forget(task)
        return claimed

    async def take_name(self, task: Task, name: str) -> bool:
        """Take a name that `task.key` may have in common with other keys, beside the object itself, which is held already. False:
        somebody else has it. Of a name that is the key nothing has to be taken. Ends with `give_name`.
        """
        if name == task.key:
            return True
        if (task.route, name) in self._held:
            return False
        claim = replace(self._claim(task), key=name)
        self._held[task.route, name] = claim
        try:
            claimed = await self._batch.add(claim)
        except BaseException:
            await self.give_name(task, name)
            raise
        if claimed.outcome is not Outcome.TAKEN:
            del self._held[task.route, name]
        return claimed.outcome is not Outcome.BUSY

    async def give_name(self, task: Task, name: str) -> None:
        """Give back what `take_name` took, if Redis answers soon. May be called where nothing was taken."""
        if name != task.key and (claim := self._held.pop((task.route, name), None)) is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(HAND_BACK_SECONDS):
                    await self._cache.release([claim])

    async def begin_alone(self, task: Task) -> None:
        """Note that what follows is ours, of an object that is ours already and that others have died of."""
        await self._batch.add(replace(self._claim(task), alone=True))

    def forget(self, task: Task) -> None:
        """Stop renewing. The settlement of a task ends its claim in Redis."""
        self._held.pop((task.route, task.key), None)

    async def release(self, task: Task) -> None:
        """Give the object back unsettled, so that whoever gets the delivery next need not wait for the claim to run out."""
        self.forget(task)
        await self._cache.release([self._claim(task)])

    async def hand_back(self, task: Task) -> None:
        """Release at shutdown, if Redis answers soon. A claim that is left runs out by itself, and makes the next worker wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_BACK_SECONDS):
                await self.release(task)

    async def renew(self) -> None:
        held: Sequence[Claim] = list(self._held.values())
        if held:
            await self._cache.renew(held)

    def _claim(self, task: Task) -> Claim:
        return Claim(task.route, task.key, task.version.token, self._worker, self._seconds)
