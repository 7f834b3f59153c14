"""A worker's deliveries, from two lanes: begun as slots come free, their leases kept, and stopped in order."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from common.background import Background
from common.batching import Batcher
from common.cancelling import cancel
from common.errors import BrigadeError, QueueUnavailable, StateUnavailable
from common.steps import Step, ignore
from common.telemetry import get_logger
from worker.faults import Faults
from worker.intake import Intake
from worker.lanes import Lane, lane_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from common.queues.base import Delivery, Queue
    from common.steps import OnStep
    from worker.claim import Claims
    from worker.replicate import Replicator
    from worker.tally import Tally

log = get_logger(__name__)

HAND_BACK_SECONDS = 4.0
"""Together with the grace period less than the time after which Kubernetes and compose kill."""


class Consumer:
    """Feeds a replicator: at most `slots` deliveries of the queue at once, and `large_slots` of the lane of the large ones."""

    def __init__(
        self,
        queue: Queue,
        large: Queue,
        replicator: Replicator,
        claims: Claims,
        tally: Tally,
        *,
        slots: int,
        large_slots: int,
        large_bytes: int,
        grace_seconds: float,
        on_step: OnStep = ignore,
        faults: Faults | None = None,
    ) -> None:
        """Objects of more than `large_bytes` are large."""
        self._lease = queue.lease
        self._tally = tally
        self._replicator = replicator
        self._claims = claims
        self._large_bytes = large_bytes
        self._grace = grace_seconds
        self._on_step = on_step
        self._faults = faults or Faults("")
        self._handing_on: Batcher[bytes, None] = Batcher(partial(_hand_on, large))
        self._intakes = (
            Intake(queue, slots, lambda delivery: self._one(delivery, self._sorted)),
            # One by one: of four large objects and two processes each gets two, and not the faster one all of them.
            Intake(large, large_slots, lambda delivery: self._one(delivery, replicator.replicate), at_once=1),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then take no more, finish within the grace period while leases are kept, hand the rest
        back.
        """
        background = Background()
        # Leases and claims by themselves: Redis may be away for long, and the queue need not be. A keeper that fails is back
        # before what it keeps has run out: a third of the lease until it looks again, and a sixth of pause.
        background.keep("leases", self._keep_leases, longest_pause=self._lease / 6)
        background.keep("claims", self._keep_claims, longest_pause=self._lease / 6)
        background.keep("progress", self._tally.report)
        try:
            try:
                await self._take_until(stop)
            finally:
                await self._finish()
        finally:
            await background.close()

    @property
    def _active(self) -> dict[asyncio.Task[None], Delivery]:
        return {task: delivery for intake in self._intakes for task, delivery in intake.active.items()}

    async def _take_until(self, stop: asyncio.Event) -> None:
        taking = [asyncio.create_task(intake.run(stop)) for intake in self._intakes]
        try:
            done, _ = await asyncio.wait(taking, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await cancel(*taking)
        for task in done:
            task.result()

    async def _sorted(self, delivery: Delivery) -> None:
        """Move a small object; hand a large one on, and then forget it. A crash in between leaves the task twice: the second time
        the work is found done.
        """
        if lane_of(delivery.payload, self._large_bytes) is Lane.SMALL:
            await self._replicator.replicate(delivery)
            return
        await self._handing_on.add(delivery.payload)
        self._on_step(Step.HANDED_ON)
        await delivery.ack()

    async def _one(self, delivery: Delivery, work: Callable[[Delivery], Awaitable[None]]) -> None:
        try:
            await work(delivery)
        except (QueueUnavailable, StateUnavailable) as error:
            # Nothing is lost: the delivery was not acknowledged, and what was recorded is found when it comes again.
            log.warning("a delivery was left to come back", action="delivery_left", error=str(error))
        except asyncio.CancelledError:
            await self._hand_back(delivery)
            raise
        except BrigadeError as error:
            # Settings that do not work any more: no message is to blame, so each waits for its lease to run out.
            log.error("a delivery was left to come back", action="delivery_left", error=str(error))  # noqa: TRY400 - expected
        except Exception as error:
            # No exception may escape into the loop that feeds everyone else.
            log.exception("a delivery ended by a fault of ours", action="internal_error")
            await self._put_off(delivery, error)

    async def _put_off(self, delivery: Delivery, error: Exception) -> None:
        """Back to the queue for longer and longer; to the error topic when it does the same each time."""
        try:
            await self._faults.handle(delivery, error)
        except (QueueUnavailable, StateUnavailable) as away:
            log.warning("a delivery was left to come back", action="delivery_left", error=str(away))
        except Exception:
            log.exception("a delivery that a fault of ours ended could not be handed back", action="internal_error")

    async def _hand_back(self, delivery: Delivery) -> None:
        try:
            await asyncio.wait_for(delivery.nack(), timeout=2)
        except (BrigadeError, TimeoutError) as error:
            log.warning("a delivery could not be handed back; its lease will run out", action="delivery_left", error=str(error))

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 3)
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
            await asyncio.sleep(self._lease / 3)
            await self._claims.renew()

    async def _finish(self) -> None:
        if active := self._active:
            log.info("finishing", action="worker_finishing", objects=len(active), grace_seconds=self._grace)
            await asyncio.wait(active, timeout=self._grace)
        for task in self._active:
            task.cancel()
        if active := self._active:  # they give up their uploads and hand their deliveries back
            await asyncio.wait(active, timeout=HAND_BACK_SECONDS)
        await cancel(*self._active)


async def _hand_on(large: Queue, payloads: Sequence[bytes]) -> list[None]:
    await large.send(payloads)
    return [None] * len(payloads)
