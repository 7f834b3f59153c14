"""Redis and the queue, for the commands of a person at a terminal, who is told after a while where a service waits for ever."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from common.errors import QueueUnavailable, StateUnavailable
from common.state.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from common.config import Settings
    from common.queues.base import Queue

PATIENCE = 15.0
"""Seconds."""


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The state in Redis, for one command. Raises StateUnavailable when nothing answers for a while."""
    store = await Store.open(settings.redis)
    try:
        try:
            async with asyncio.timeout(PATIENCE):
                await store.check()
        except TimeoutError as error:
            why = f" ({store.away})" if store.away else ""
            raise StateUnavailable(_silent_redis(settings) + why) from error
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def opened_queue(settings: Settings, opening: Awaitable[Queue]) -> AsyncIterator[Queue]:
    """A queue that is being opened, for one command. Raises QueueUnavailable when nothing answers for a while."""
    try:
        async with asyncio.timeout(PATIENCE):
            queue = await opening
    except TimeoutError as error:
        raise QueueUnavailable(_silent_redis(settings) if settings.queue.kind == "redis" else _silent_pubsub(settings)) from error
    try:
        yield queue
    finally:
        await queue.close()


def _silent_redis(settings: Settings) -> str:
    return f"Redis at {settings.redis.place} does not answer: check that it runs, REDIS_ADDRESS and REDIS_PASSWORD"


def _silent_pubsub(settings: Settings) -> str:
    if settings.queue.emulator_host:
        return f"the Pub/Sub emulator at {settings.queue.emulator_host} does not answer: check that it runs, and its address"
    return "Google Pub/Sub does not answer: check the network, and HTTPS_PROXY if there is a proxy"
