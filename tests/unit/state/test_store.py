"""Patience with Redis: it may be away, full, new or asleep, and calls are answered in the end, or say which setting is wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from redis.exceptions import NoPermissionError, ResponseError

from common.config import RedisSettings
from common.errors import SettingsError
from common.state.cache import Cache, Published
from common.state.store import LISTPACK, LONGEST_PAUSE, Store
from tests.servers import redis_server
from tests.unit.state.samples import ETAG, NOW, ROUTE, publish

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Server
    from tests.unit.state.conftest import Recorder


async def test_calls_wait_until_redis_is_back(redis_own: Server, said: Recorder) -> None:
    # Given a store whose Redis is killed, with something stored
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            redis_own.start()

    store = await Store.open(RedisSettings(address=redis_own.address), sleep=sleep, jitter=lambda: 1.0)
    cache = Cache(store)
    await store.check()
    await publish(cache, ["a"])
    redis_own.kill()
    # When calls go on meanwhile and Redis starts again
    await publish(cache, ["b"])
    # Then nothing is lost, pauses have grown, the log has heard of it once, and limits have been raised again
    assert [it.published for it in await cache.lookup(ROUTE, ["a", "b"])] == [Published(ETAG, NOW)] * 2
    assert pauses[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_PAUSE]
    actions = said.actions()
    assert (actions.count("redis_away"), actions.count("redis_back")) == (1, 1)
    assert (await store.client.config_get("hash-max-ziplist-value"))["hash-max-ziplist-value"] == "4096"
    await store.close()
    await store.close()


async def test_waiting_ends_when_the_task_is_cancelled(redis_own: Server) -> None:
    store = await Store.open(RedisSettings(address=redis_own.address))
    redis_own.stop()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.check(), 0.3)
    await store.close()


async def test_a_cancelled_call_does_not_leave_its_reply_to_the_next(store: Store) -> None:
    # Given calls that are cancelled at any moment
    cache = Cache(store)
    await publish(cache, ["a"])
    for turn in range(60):
        call = asyncio.create_task(cache.lookup(ROUTE, [f"no/{turn}/{n}" for n in range(50)]))
        for _ in range(turn % 20):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        # Then the next call gets its own reply
        assert [it.published for it in await cache.lookup(ROUTE, ["a"])] == [Published(ETAG, NOW)]


async def test_scripts_that_redis_forgot_are_loaded_again(store: Store) -> None:
    cache = Cache(store)
    await publish(cache, ["a"])
    await store.client.script_flush()
    assert (await cache.lookup(ROUTE, ["a"]))[0].published == Published(ETAG, NOW)


async def test_a_full_redis_stops_writing_and_nothing_else(redis_own: Server, said: Recorder) -> None:
    # Given a Redis without memory to spare
    store = await Store.open(RedisSettings(address=redis_own.address), jitter=lambda: 0.0)
    cache = Cache(store)
    await publish(cache, ["a"])
    await store.client.config_set("maxmemory", 1)
    # When something is to be recorded
    waiting = asyncio.create_task(publish(cache, ["b"]))
    await asyncio.sleep(0.2)
    # Then it waits, reading and deleting go on, and it is recorded once there is memory
    assert not waiting.done()
    assert "redis_away" in said.actions()
    assert (await cache.lookup(ROUTE, ["a", "b"]))[1].published is None
    assert await cache.delete(None, None) == 1
    await store.client.config_set("maxmemory", 0)
    await waiting
    assert (await cache.lookup(ROUTE, ["b"]))[0].published is not None
    await store.close()


async def test_a_wrong_password_is_named(tmp_path: Path) -> None:
    with redis_server(tmp_path, password="right") as server:
        for wrong in (None, SecretStr("wrong")):
            store = await Store.open(RedisSettings(address=server.address, password=wrong))
            with pytest.raises(SettingsError, match="REDIS_PASSWORD") as fault:
                await store.check()
            assert "wrong" not in str(fault.value).lower().replace("wrongpass", "")
            await store.close()
        store = await Store.open(RedisSettings(address=f"redis://{server.address}/0", password=SecretStr("right")))
        await store.check()
        await store.close()


async def test_a_password_that_redis_does_not_have_is_named(redis_address: str) -> None:
    store = await Store.open(RedisSettings(address=redis_address, password=SecretStr("needless")))
    with pytest.raises(SettingsError, match="REDIS_PASSWORD"):
        await store.check()
    await store.close()


async def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    with redis_server(tmp_path, arguments=["--unixsocket", str(tmp_path / "s")]):
        store = await Store.open(RedisSettings(address=f"unix://{tmp_path / 's'}"))
        await publish(Cache(store), ["a"])
        assert (await Cache(store).lookup(ROUTE, ["a"]))[0].published == Published(ETAG, NOW)
        await store.close()


async def test_a_script_that_fails_raises(store: Store) -> None:
    with pytest.raises(ResponseError):
        await store.send([("PING",), ("HSET", "only-a-key")])


async def test_check_raises_limits_and_warns_of_eviction(redis_own: Server, said: Recorder) -> None:
    # Given a Redis as it is without settings, and one that evicts
    store = await Store.open(RedisSettings(address=redis_own.address))
    await store.check()
    assert said.actions() == ["redis_limit_raised"] * len(LISTPACK)
    await store.client.config_set("maxmemory-policy", "allkeys-lru")
    # When it is checked again
    await store.check()
    # Then the eviction is what is left to say
    assert said.actions()[len(LISTPACK) :] == ["redis_evicts"]
    assert "noeviction" in said.lines[-1][1]
    await store.close()


async def test_check_says_what_to_write_where_it_may_not_set(
    store: Store, said: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a managed Redis, which forbids CONFIG
    async def forbidden(*_: Any) -> Any:
        raise NoPermissionError("this user has no permissions to run the 'config' command")

    monkeypatch.setattr(store.client, "config_get", forbidden)
    monkeypatch.setattr(store.client, "config_set", forbidden)
    # When it is checked
    await store.check()
    # Then it warns, and names what to write
    assert said.actions() == ["redis_unchecked", "redis_limit_low", "redis_limit_low"]
    assert said.lines[-1][2]["line"] == "hash-max-ziplist-value 4096"
