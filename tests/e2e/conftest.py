"""What the tests of whole routes share: servers of every kind, a worker's world, connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.config import RedisSettings
from common.state.store import Store
from common.storage import memory
from common.transport.http import Transport
from tests.e2e.matrix import Stage
from tests.unit.worker.conftest import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("stage"))
    yield made
    made.close()


@pytest.fixture
async def world(redis_address: str, fresh: str) -> AsyncIterator[World]:
    store = await Store.open(RedisSettings(address=redis_address, prefix=fresh))
    yield World(fresh, store)
    memory.drop(f"{fresh}-source")
    memory.drop(f"{fresh}-destination")
    await store.close()


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    made = Transport()
    yield made
    await made.close()
