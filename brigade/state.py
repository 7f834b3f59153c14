"""The state in Redis, for the commands that look at it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from common.errors import StateUnavailable
from common.state.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.config import Settings

PATIENCE = 15.0
"""Seconds. A service waits for Redis for as long as it takes; a person at a terminal is told."""


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The state in Redis, for one command. Raises StateUnavailable when nothing answers for a while."""
    store = await Store.open(settings.redis)
    try:
        try:
            async with asyncio.timeout(PATIENCE):
                await store.check()
        except TimeoutError as error:
            message = f"Redis at {settings.redis.address} does not answer: check that it runs, REDIS_ADDRESS and REDIS_PASSWORD"
            raise StateUnavailable(message) from error
        yield store
    finally:
        await store.close()
