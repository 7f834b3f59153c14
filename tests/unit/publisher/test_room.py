"""A small Redis with the queue in it: publishing stops before it is full, workers drain it, and publishing goes on by itself."""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from common.config import QueueSettings, RedisSettings, Settings
from common.errors import StateUnavailable
from common.queues.registry import open_queue
from common.state.store import Store
from publisher.outlet import Outlet
from publisher.room import Room
from tests.redis_releases import redis_own, redis_release

if TYPE_CHECKING:
    from tests.servers import Server

__all__ = ["redis_own", "redis_release"]

MIB = 1024 * 1024
MESSAGES = 20_000
AT_ONCE = 500


async def test_publishing_leaves_room_and_goes_on_by_itself(
    redis_own: Server, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a Redis with room for about a quarter of what is to be published, and nobody who works
    settings = Settings(
        queue=QueueSettings(kind="redis", topic="tasks"), redis=RedisSettings(address=redis_own.address, prefix=fresh)
    )
    said: list[str] = []
    log = SimpleNamespace(warning=lambda _, **f: said.append(f["action"]), info=lambda _, **f: said.append(f["action"]))
    monkeypatch.setattr("publisher.room.log", log)
    store, queue = await Store.open(settings.redis), await open_queue(settings)
    await store.check()
    used = (await store.client.info("memory"))["used_memory"]
    await store.client.config_set("maxmemory", used + 4 * MIB)
    seen: list[str] = []
    done = 0

    async def drain(_seconds: float) -> None:
        """The publisher waits, and a worker has time: everything that it does while Redis is nearly full must work."""
        nonlocal done
        with pytest.raises(StateUnavailable) as nearly:
            await room.check()
        seen.append(nearly.value.reason)
        await store.probe()
        taken = await queue.receive(AT_ONCE, 5)
        await asyncio.gather(*(delivery.ack() for delivery in taken))
        done += len(taken)

    room = Room(store, sleep=drain, clock=lambda: 0.0)
    outlet = Outlet(partial(open_queue, settings), room=room)
    await outlet.open()
    # When several pages at a time are published
    page = [b"x" * 500] * AT_ONCE
    lanes = [[page] * (MESSAGES // AT_ONCE // 4)] * 4
    await asyncio.gather(*(_publish(outlet, lane) for lane in lanes))
    # Then it waited for room, all of it was sent, and Redis has refused nothing
    assert set(seen) == {"nearly_full"}
    assert done + (await queue.backlog() or 0) == MESSAGES
    assert said[0] == "publishing_waits_for_room"
    assert said[-1] == "publishing_goes_on"
    assert await refusals(store) == 0
    await room.check()
    await asyncio.gather(outlet.close(), queue.close(), store.close())


async def _publish(outlet: Outlet, pages: list[list[bytes]]) -> None:
    for page in pages:
        await outlet.send(page)


async def refusals(store: Store) -> int:
    """How often Redis has answered OOM."""
    errors: dict[str, Any] = await store.client.info("errorstats")
    return sum(int(count["count"]) for name, count in errors.items() if name.endswith("OOM"))


async def test_without_a_limit_or_the_right_to_look_nothing_waits(redis_own: Server) -> None:
    # Given a Redis without maxmemory, and one that does not tell
    store = await Store.open(RedisSettings(address=redis_own.address))
    room = Room(store, sleep=lambda _: pytest.fail("waited"))
    assert await store.memory() is None
    async with room.for_messages([b"x" * MIB]):
        pass
    await store.client.config_set("maxmemory", 1)
    await store.client.execute_command("ACL", "SETUSER", "default", "-info")
    assert await store.memory() is None
    async with room.for_messages([b"x" * MIB]):
        pass
    await store.close()
