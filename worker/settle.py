"""What is written down about an object before its delivery is acknowledged, many objects in one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.batching import Batcher
from common.state.cache import Settled, Settlement
from common.steps import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.state.cache import Cache
    from common.state.records import Receipt
    from common.steps import OnStep
    from common.task import Task
    from worker.carry import Lost
    from worker.tally import Tally


LINGER_SECONDS = 0.002
"""Objects end one by one; a round trip for each would cost more than a small object's copy."""


class Settler:
    """Writes outcomes to the cache. Effect, then record, then acknowledge: nothing is acknowledged before `settle` returns."""

    def __init__(self, cache: Cache, worker: str, tally: Tally, on_step: OnStep) -> None:
        self._cache = cache
        self._tally = tally
        self._worker = worker
        self._on_step = on_step
        self._batch: Batcher[Settlement, None] = Batcher(self._send, linger=LINGER_SECONDS)

    async def consumed(self, task: Task, receipt: Receipt, *, copied: bool, lost: Sequence[Lost] = ()) -> None:
        """The destination holds the task's version; `copied` tells whether this delivery brought it there, `lost` what of it was
        left behind.
        """
        self._tally.lost.update(each.field for each in lost)
        outcome = Settled.CONSUMED if copied else Settled.ALREADY
        await self._settle(task, outcome, receipt, receipt.size if copied else 0, metadata_lost=bool(lost))

    async def already(self, task: Task) -> None:
        """The cache knew the version as consumed before this delivery came."""
        await self._settle(task, Settled.ALREADY, None, 0)

    async def superseded(self, task: Task) -> None:
        """The version is gone from the source: there is nothing to move any more."""
        await self._settle(task, Settled.SUPERSEDED, None, 0)

    async def failed(self, task: Task) -> None:
        await self._settle(task, Settled.FAILED, None, 0)

    async def _settle(
        self, task: Task, outcome: Settled, receipt: Receipt | None, copied_bytes: int, *, metadata_lost: bool = False
    ) -> None:
        await self._batch.add(
            Settlement(
                route=task.route,
                key=task.key,
                job=task.job,
                number=task.number,
                owner=self._worker,
                outcome=outcome,
                receipt=receipt,
                copied_bytes=copied_bytes,
                metadata_lost=metadata_lost,
            )
        )
        self._tally.add(outcome, copied_bytes)
        self._on_step(Step.RECORDED)

    async def _send(self, items: Sequence[Settlement]) -> Sequence[None]:
        await self._cache.settle(items)
        return [None] * len(items)
