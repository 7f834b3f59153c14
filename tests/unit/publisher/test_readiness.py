"""/readyz tries what the work does: a Redis that takes no writes is not to be had, and the page says why in a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.config import RedisSettings
from common.state.store import Store
from publisher.api.health import create_health_app
from publisher.health import Health

if TYPE_CHECKING:
    from tests.servers import Server


async def test_a_full_redis_is_named_and_so_is_a_replica(redis_own: Server) -> None:
    # Given a publisher's health over a Redis that works
    store = await Store.open(RedisSettings(address=redis_own.address))
    health = Health({"redis": store.probe})
    page = create_health_app(health).test_client()
    await health.ask()
    assert page.get("/readyz").json == {"ready": True, "missing": []}
    # When it is full, then a replica, then gone
    seen = []
    for commands in ("CONFIG SET maxmemory 1",), ("CONFIG SET maxmemory 0", "REPLICAOF 127.0.0.1 1"):
        for command in commands:
            await store.client.execute_command(*command.split())
        await health.ask()
        seen.append((page.get("/readyz").status_code, page.get("/readyz").json))
    redis_own.kill()
    await health.ask()
    # Then the page says each
    assert seen == [
        (503, {"ready": False, "missing": ["redis"], "why": {"redis": "out_of_memory"}}),
        (503, {"ready": False, "missing": ["redis"], "why": {"redis": "read_only"}}),
    ]
    assert page.get("/readyz").json == {"ready": False, "missing": ["redis"]}
    await store.close()
