"""The lane in which tasks of large objects wait for a worker that has room for one.

Publishers put every task on the one queue. A worker that finds a large one there hands it on to this lane, and takes from the
lane as many as it has room for: so the queue always gets on, large ones are shared out one by one among all workers, and nobody
holds more leases than it can work on.

The lane is a queue on Redis Streams, also where Pub/Sub carries the tasks: nobody has to make another topic, and what Redis
loses is published again, because Redis has lost the records as well. A task in line takes about half a KiB of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.queues.redis_streams import RedisQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from common.config import Settings
    from common.queues.base import Delivery, Queue


async def open_lane(settings: Settings, open_errors: Callable[[Settings], Awaitable[Queue]]) -> Queue:
    """The caller closes it. Raises QueueUnavailable, SettingsError."""
    lane = await RedisQueue.open(settings, large=True)
    if settings.queue.kind == "redis":
        return lane  # its errors are on the same server
    try:
        return _Lane(lane, await open_errors(settings))
    except BaseException:
        await lane.close()
        raise


@dataclass(slots=True)
class _Rejecting:
    """A delivery of the lane whose report goes where all reports go."""

    delivery: Delivery
    errors: Queue

    @property
    def payload(self) -> bytes:
        return self.delivery.payload

    @property
    def attempt(self) -> int:
        return self.delivery.attempt

    async def ack(self) -> None:
        await self.delivery.ack()

    async def nack(self, delay: float = 0.0) -> None:
        await self.delivery.nack(delay)

    async def reject(self, report: bytes) -> None:
        await self.errors.send([report])
        await self.delivery.ack()

    async def extend(self) -> None:
        await self.delivery.extend()


class _Lane:
    """See common.queues.base.Queue. Owns both queues."""

    def __init__(self, lane: Queue, errors: Queue) -> None:
        self.lease = lane.lease
        self._lane = lane
        self._errors = errors

    async def send(self, messages: Sequence[bytes]) -> None:
        await self._lane.send(messages)

    async def receive(self, most: int, wait: float) -> Sequence[Delivery]:
        return [_Rejecting(delivery, self._errors) for delivery in await self._lane.receive(most, wait)]

    async def backlog(self) -> int | None:
        return await self._lane.backlog()

    async def close(self) -> None:
        await self._lane.close()
        await self._errors.close()
