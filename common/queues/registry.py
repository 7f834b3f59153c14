"""Which queues there are: one line each. A queue's libraries are loaded when it is opened, so that a machine without Google Cloud
does not pay for gRPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from common.config import Settings
    from common.queues.base import Queue


async def _pubsub(settings: Settings, errors: bool) -> Queue:  # noqa: FBT001 - the table's own shape
    from common.queues.pubsub import PubSubQueue  # noqa: PLC0415

    return await PubSubQueue.open(settings, errors=errors)


async def _redis(settings: Settings, errors: bool) -> Queue:  # noqa: FBT001 - the table's own shape
    from common.queues.redis_streams import RedisQueue  # noqa: PLC0415

    return await RedisQueue.open(settings, errors=errors)


_QUEUES: dict[str, Callable[[Settings, bool], Awaitable[Queue]]] = {
    "pubsub": _pubsub,
    "redis": _redis,
}


async def open_queue(settings: Settings) -> Queue:
    """The queue of the tasks. The caller closes it. Raises QueueUnavailable (try again later) and SettingsError."""
    return await _QUEUES[settings.queue.kind](settings, False)


async def open_errors(settings: Settings) -> Queue:
    """The rejected: the error topic with its subscription, a queue like any other. What is rejected there goes to its end."""
    return await _QUEUES[settings.queue.kind](settings, True)


async def open_large(settings: Settings) -> Queue:
    """The lane of the large tasks, in Redis whatever carries the tasks (common.queues.large_lane)."""
    from common.queues.large_lane import open_lane  # noqa: PLC0415

    return await open_lane(settings, open_errors)
