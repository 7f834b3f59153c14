"""Taking deliveries as slots come free, keeping their leases, and stopping in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.cancelling import cancel
from common.errors import BrigadeError, QueueUnavailable, StateUnavailable
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.queues.base import Delivery, Queue
    from worker.claim import Claims
    from worker.replicate import Replicator
    from worker.tally import Tally

log = get_logger(__name__)

RECEIVE_SECONDS = 20.0
"""How long one request waits at an idle queue."""
GATHER_SECONDS = 0.01
"""How long a worker whose slots come free one by one waits for a few more, so that it does not ask the queue for each."""
LONGEST_PAUSE = 30.0
HAND_BACK_SECONDS = 4.0
"""Together with the grace period less than the time after which Kubernetes and compose kill."""


class Consumer:
    """Feeds a replicator from a queue, at most `slots` deliveries at once."""

    def __init__(
        self, queue: Queue, replicator: Replicator, claims: Claims, tally: Tally, *, slots: int, grace_seconds: float
    ) -> None:
        self._queue = queue
        self._tally = tally
        self._replicator = replicator
        self._claims = claims
        self._slots = slots
        self._grace = grace_seconds
        self._active: dict[asyncio.Task[None], Delivery] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then take no more, finish within the grace period while leases are kept, hand the rest
        back.
        """
        # Leases and claims by themselves: Redis may be away for long, and the queue need not be.
        beside = [asyncio.create_task(each()) for each in (self._keep_leases, self._keep_claims, self._tally.report)]
        try:
            try:
                await self._take_until(stop)
            finally:
                await self._finish()
        finally:
            await cancel(*beside)

    async def _take_until(self, stop: asyncio.Event) -> None:
        stopped = asyncio.create_task(stop.wait())
        pause = 0.0
        try:
            while not stop.is_set():
                await self._free_slots(stopped)
                if stop.is_set():
                    return
                receiving = asyncio.create_task(self._queue.receive(self._slots - len(self._active), RECEIVE_SECONDS))
                await asyncio.wait({receiving, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not receiving.done():
                    # What a cancelled request may have taken comes back when its lease runs out.
                    await cancel(receiving)
                    return
                try:
                    self._start(receiving.result())
                    pause = 0.0
                except QueueUnavailable as error:
                    pause = min(max(1.0, pause * 2), LONGEST_PAUSE)
                    log.warning("the queue is away", action="queue_away", error=str(error), next_try_seconds=pause)
                    await asyncio.wait({stopped}, timeout=pause)
        finally:
            await cancel(stopped)

    async def _free_slots(self, stopped: asyncio.Task[bool]) -> None:
        """Return with at least one slot free, and rather with several; at once when `stopped` is done."""
        while len(self._active) >= self._slots and not stopped.done():
            await asyncio.wait({*self._active, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if self._active and self._slots - len(self._active) < self._slots // 4:
            await asyncio.wait({stopped}, timeout=GATHER_SECONDS)

    def _start(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            task = asyncio.create_task(self._one(delivery))
            self._active[task] = delivery
            task.add_done_callback(self._active.pop)

    async def _one(self, delivery: Delivery) -> None:
        try:
            await self._replicator.replicate(delivery)
        except (QueueUnavailable, StateUnavailable) as error:
            # Nothing is lost: the delivery was not acknowledged, and what was recorded is found when it comes again.
            log.warning("a delivery was left to come back", action="delivery_left", error=str(error))
        except asyncio.CancelledError:
            await self._hand_back(delivery)
            raise
        except Exception:
            # No exception may escape into the loop that feeds everyone else; the delivery comes back by its lease.
            log.exception("a delivery ended by a fault of ours", action="internal_error")

    async def _hand_back(self, delivery: Delivery) -> None:
        try:
            await asyncio.wait_for(delivery.nack(), timeout=2)
        except (BrigadeError, TimeoutError) as error:
            log.warning("a delivery could not be handed back; its lease will run out", action="delivery_left", error=str(error))

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._queue.lease / 3)
            deliveries = list(self._active.values())
            if not deliveries:
                continue
            results = await asyncio.gather(*(delivery.extend() for delivery in deliveries), return_exceptions=True)
            errors = [result for result in results if isinstance(result, Exception)]
            if errors:
                log.warning(
                    "leases could not be renewed", action="leases_not_renewed", deliveries=len(errors), error=str(errors[0])
                )

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(self._queue.lease / 3)
            await self._claims.renew()

    async def _finish(self) -> None:
        if self._active:
            log.info("finishing", action="worker_finishing", objects=len(self._active), grace_seconds=self._grace)
            await asyncio.wait(self._active, timeout=self._grace)
        for task in self._active:
            task.cancel()
        if self._active:  # they give up their uploads and hand their deliveries back
            await asyncio.wait(self._active, timeout=HAND_BACK_SECONDS)
        await cancel(*self._active)
