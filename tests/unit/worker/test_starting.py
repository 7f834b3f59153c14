"""A worker that is started before Redis or the queue: it waits, however long that takes, and can be told to stop meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from common.config import QueueSettings, RedisSettings, Settings
from common.errors import QueueUnavailable
from common.state.store import Store
from worker import runner

if TYPE_CHECKING:
    import pytest

    from common.queues.base import Queue

NOBODY = Settings(queue=QueueSettings(kind="redis"), redis=RedisSettings(address="127.0.0.1:1"))


async def test_a_worker_that_waits_for_redis_stops_when_told_to() -> None:
    # Given a worker that waits for a Redis that is not there
    working = asyncio.create_task(runner.work(NOBODY))
    await asyncio.sleep(0.3)
    # When it is told to stop
    os.kill(os.getpid(), signal.SIGTERM)
    # Then it does, in order
    done, _ = await asyncio.wait([working], timeout=3)
    working.cancel()
    assert done
    assert working.result() == 0


async def test_a_worker_waits_for_a_queue_that_is_away_at_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a queue that has been away for longer than one call waits for it
    asked = asyncio.Event()

    async def away(_: Settings) -> Queue:
        asked.set()
        raise QueueUnavailable("Pub/Sub is away")

    async def there(_: Store) -> None:
        return

    monkeypatch.setattr(runner, "open_queue", away)
    monkeypatch.setattr(Store, "check", there)
    # When a worker starts
    working = asyncio.create_task(runner.work(NOBODY))
    await asyncio.wait_for(asked.wait(), 3)
    # Then it waits instead of ending, and stops when told to
    done, _ = await asyncio.wait([working], timeout=0.3)
    assert not done
    os.kill(os.getpid(), signal.SIGTERM)
    done, _ = await asyncio.wait([working], timeout=3)
    working.cancel()
    assert done
    assert working.result() == 0
