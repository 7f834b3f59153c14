"""What is written down about an object before its delivery is acknowledged, many objects in one round trip."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from common.batching import Batcher
from common.state.claims import HandedOver, Missed, Settled, Settlement
from common.steps import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import Version
    from common.state.cache import Cache
    from common.state.flight import Flight
    from common.state.records import Receipt
    from common.steps import OnStep
    from common.task import Task
    from worker.tally import Tally
    from worker.transfer import Moved


LINGER_SECONDS = 0.002
"""Objects end one by one; a round trip for each would cost more than a small object's copy."""


class Settler:
    """Writes outcomes to the state. Effect, then record, then acknowledge: nothing is acknowledged before a method returns."""

    def __init__(self, cache: Cache, flight: Flight, worker: str, tally: Tally, on_step: OnStep) -> None:
        self._cache = cache
        self._tally = tally
        self._worker = worker
        self._on_step = on_step
        self._batch: Batcher[Settlement, None] = Batcher(self._send, linger=LINGER_SECONDS)
        self._missed: Batcher[Missed, bool] = Batcher(flight.miss, linger=LINGER_SECONDS)
        self._handed: Batcher[HandedOver, None] = Batcher(partial(_hand_over, flight), linger=LINGER_SECONDS)

    async def arrived(self, task: Task, receipt: Receipt, moved: Moved | None, *, overwritten: bool = False) -> None:
        """The destination holds the task's version; `moved` is what this delivery brought there, None where it was there;
        `overwritten`: over something that was not ours.
        """
        if moved is None:
            await self._settle(replace(self._ended(task, Settled.PROVEN), receipt=receipt))
            return
        self._tally.lost.update(each.field for each in moved.lost)
        self._tally.unverified.update(moved.unproven)
        self._tally.overwritten += overwritten
        await self._settle(
            replace(
                self._ended(task, Settled.MOVED),
                receipt=receipt,
                copied_bytes=receipt.size,
                metadata_lost=bool(moved.lost),
                unverified=bool(moved.unproven),
                overwritten=overwritten,
            )
        )

    async def proven(self, task: Task) -> None:
        """The cache knew the version as consumed before this delivery came."""
        await self._settle(self._ended(task, Settled.PROVEN))

    async def gone(self, task: Task) -> None:
        """The source has no such object any more, and its listing is of an earlier time: there is nothing to move."""
        await self._settle(self._ended(task, Settled.GONE))

    async def changing(self, task: Task) -> None:
        """The source changes each time that the object's turn comes: it is left to the next scan."""
        await self._settle(self._ended(task, Settled.CHANGING))

    async def kept(self, task: Task, mark: int) -> None:
        """What is at the destination stays. `mark` (`records.kept_mark`) tells later scans, so that they need not ask again."""
        await self._settle(replace(self._ended(task, Settled.KEPT), mark=mark))

    async def failed(self, task: Task) -> None:
        await self._settle(self._ended(task, Settled.FAILED))

    async def missing(self, task: Task) -> bool:
        """The source has no such object now: it stays in flight until a full scan has decided. False if one has, and listed
        it once more: then nothing is recorded yet, and the object has failed.
        """
        undecided = await self._missed.add(Missed(task.route, task.key, task.version.token, self._worker))
        if undecided:
            self._on_step(Step.RECORDED)
        return undecided

    async def handed_over(self, task: Task, successor: Version) -> None:
        """A task for the successor has been sent."""
        await self._handed.add(HandedOver(task.route, task.key, task.version.token, successor.token, self._worker))
        self._on_step(Step.RECORDED)

    def _ended(self, task: Task, outcome: Settled) -> Settlement:
        return Settlement(task.route, task.key, task.version.token, self._worker, outcome)

    async def _settle(self, ended: Settlement) -> None:
        await self._batch.add(ended)
        self._tally.add(ended.outcome, ended.copied_bytes)
        self._on_step(Step.RECORDED)

    async def _send(self, items: Sequence[Settlement]) -> Sequence[None]:
        await self._cache.settle(items)
        return [None] * len(items)


async def _hand_over(flight: Flight, items: Sequence[HandedOver]) -> Sequence[None]:
    await flight.hand_over(items)
    return [None] * len(items)
