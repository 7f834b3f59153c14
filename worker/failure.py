"""What becomes of a delivery whose object could not be moved: again later, or to the error topic."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common import log_names
from common.errors import Category, Malformed, NotKnownYet, ObjectError, Parked
from common.redaction import redact
from common.report import Report, encode
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.queues.base import Delivery
    from common.state.cache import Cache
    from common.state.reported import Reported
    from common.task import Task
    from worker.claim import Claims
    from worker.newcomers import Newcomers
    from worker.parking import ParkedRoutes
    from worker.settle import Settler

log = get_logger(__name__)

LONGEST_DELAY = 600.0
"""Seconds; the longest that every queue can hold a message back."""


class Failures:
    """Retries what may succeed, with exponential backoff and jitter, and reports what will not, or has not `attempts` times."""

    def __init__(
        self,
        *,
        name: str,
        cache: Cache,
        claims: Claims,
        settler: Settler,
        parking: ParkedRoutes,
        attempts: int,
        backoff_seconds: float,
        lease_seconds: float,
        random: Callable[[], float],
        now: Callable[[], float],
        newcomers: Newcomers | None = None,
        reported: Reported | None = None,
    ) -> None:
        """Without `newcomers` nothing waits for a worker that knows it. `reported` is for an error topic that cannot replace a
        report by a newer one.
        """
        self._name = name
        self._cache = cache
        self._claims = claims
        self._settler = settler
        self._parking = parking
        self._attempts = attempts
        self._backoff = backoff_seconds
        self._lease = lease_seconds
        self._random = random
        self._now = now
        self._newcomers = newcomers
        self._reported = reported

    async def handle(self, delivery: Delivery, task: Task, error: Exception) -> None:
        """Nack a retryable error with a delay; report a permanent one, or one that has used up its attempts, and forget the
        message. What is parked or held has not failed: it waits.
        """
        if isinstance(error, Parked):
            await self._claims.release(task)
            await delivery.nack(min(await self._parking.park(task.route, error), LONGEST_DELAY))
            return
        if isinstance(error, ObjectError) and (waits := await self._parking.refused(task, error)):
            await self._claims.release(task)
            await delivery.nack(min(waits, LONGEST_DELAY))
            return
        failed = await self._cache.count_failure(task.route, task.key, task.version.token)
        retryable = error.retryable if isinstance(error, ObjectError) else True
        if retryable and failed < self._attempts:
            await self._claims.release(task)
            delay = self.delay(failed, getattr(error, "retry_after", None))
            log.warning(
                "an object failed and will be tried again",
                action="object_retried",
                message=log_names.of_failure(error).value,
                route=task.route,
                key=task.key,
                attempt=failed,
                delay=round(delay, 1),
                category=_category(error),
                error=str(error),
            )
            await delivery.nack(delay)
            return
        # The record goes before the report: should we die in between, the redelivery fails again and is counted once.
        await self._settler.failed(task)
        log.error(
            "an object could not be replicated",
            action="object_failed",
            message=log_names.of_failure(error).value,
            route=task.route,
            key=task.key,
            attempts=failed,
            category=_category(error),
            error=str(error),
        )
        await self._give_up(delivery, task, error, failed)

    async def _give_up(self, delivery: Delivery, task: Task, error: Exception, failed: int) -> None:
        """Report the failure, unless it is on the error topic already."""
        failure = (task.route, task.key, task.version.token, str(_category(error)))
        if self._reported and await self._reported.again(*failure):
            await delivery.ack()
            return
        await delivery.reject(encode(self._report(error, failed, delivery.payload, task)))
        if self._reported:
            await self._reported.note(*failure)

    async def reject_unreadable(self, delivery: Delivery, error: Malformed, task: Task | None = None) -> None:
        """A message that is no task of ours goes to the error topic as it came. One that a newer worker may know (NotKnownYet)
        waits for it first; `task` is what could be read of it all the same.
        """
        if isinstance(error, NotKnownYet) and self._newcomers and (delay := await self._newcomers.delay(error)):
            await delivery.nack(delay)
            return
        if task is not None and await self._published(task):
            await self._settler.failed(task)
        log.error("a message could not be read", action="message_malformed", error=str(error))
        await delivery.reject(encode(self._report(error, delivery.attempt, delivery.payload, task)))

    async def _published(self, task: Task) -> bool:
        """Whether a publisher of ours made it. The names in a forged task must not be written anywhere."""
        (known,) = await self._cache.lookup(task.route, [task.key])
        return known.published is not None

    def delay(self, failed: int, retry_after: float | None) -> float:
        """Seconds before attempt `failed` + 1: exponential with full jitter, and never sooner than the service asked for."""
        spread: float = min(self._backoff * 2**failed, LONGEST_DELAY) * (0.5 + self._random() / 2)
        return min(max(spread, retry_after or 0.0), LONGEST_DELAY)

    async def parked_delay(self, task: Task) -> float:
        """Seconds after which a delivery of a route that waits is looked at again; 0 where it may go on: then `over` is called in
        the end.
        """
        return min(await self._parking.admit(task), LONGEST_DELAY)

    async def served(self, task: Task, *, source: bool, destination: bool) -> None:
        """These ends of the route have just served the object."""
        await self._parking.served(task, source=source, destination=destination)

    async def over(self, task: Task) -> None:
        """The delivery of a task that could go on has ended, whatever became of it."""
        await self._parking.over(task)

    def busy_delay(self) -> float:
        """Seconds after which an object that somebody else holds is looked at again: about when a dead holder's claim has
        run out.
        """
        return self._lease / 4 * (1 + self._random())

    def _report(self, error: Exception, attempts: int, payload: bytes, task: Task | None) -> Report:
        failed = datetime.fromtimestamp(self._now(), UTC)
        return Report(
            category=_category(error),
            message=redact(str(error)) or type(error).__name__,  # a service may repeat what it was sent
            attempts=attempts,
            worker=self._name,
            queued=task.queued if task else None,
            failed=failed,
            route=task.route if task else None,
            key=task.key if task else None,
            payload=payload,
        )


def _category(error: Exception) -> Category:
    return error.category if isinstance(error, ObjectError) else Category.INTERNAL
