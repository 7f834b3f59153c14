"""A store of its own for each test, on the Redis that all tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from common.config import RedisSettings
from common.state.cache import Cache
from common.state.jobs import Jobs
from common.state.store import Store
from tests.redis_releases import redis_address, redis_own, redis_release, redis_shared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


__all__ = ["redis_address", "redis_own", "redis_release", "redis_shared"]


class Recorder:
    """Stands in for a module's logger and keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, text: str, **fields: Any) -> None:
        self.lines.append(("info", text, fields))

    def warning(self, text: str, **fields: Any) -> None:
        self.lines.append(("warning", text, fields))

    def actions(self) -> list[str]:
        return [fields["action"] for _, _, fields in self.lines]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """What the store logs."""
    recorder = Recorder()
    monkeypatch.setattr("common.state.store.log", recorder)
    return recorder


@pytest.fixture
async def store(redis_address: str, fresh: str) -> AsyncIterator[Store]:
    store = await Store.open(RedisSettings(address=redis_address, prefix=fresh))
    yield store
    await store.close()


@pytest.fixture
def cache(store: Store) -> Cache:
    """Two objects to a bucket, so that buckets split all the time."""
    return Cache(store, per_bucket=2, clock=lambda: 1_790_000_000)


@pytest.fixture
def jobs(store: Store) -> Jobs:
    return Jobs(store, clock=lambda: 1_790_000_000)
