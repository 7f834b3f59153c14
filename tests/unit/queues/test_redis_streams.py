"""Redis Streams: what the conformance suite cannot ask of every queue."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from common.config import QueueSettings, RedisSettings, Settings
from common.errors import QueueUnavailable, SettingsError
from common.queues import redis_streams
from common.queues.redis_streams import Keys, RedisQueue, passes
from tests import servers
from tests.redis_releases import redis_address, redis_own, redis_release, redis_shared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from common.queues.redis_streams import RedisDelivery
    from tests.servers import Server


__all__ = ["redis_address", "redis_own", "redis_release", "redis_shared"]


def settings_at(address: str, prefix: str, lease: float = 20.0, password: str | None = None) -> Settings:
    queue = QueueSettings(kind="redis", topic="tasks").model_copy(update={"lease_seconds": lease})
    secret = SecretStr(password) if password else None
    return Settings(queue=queue, redis=RedisSettings(address=address, prefix=prefix, password=secret))


@pytest.fixture
async def queue(redis_address: str, fresh: str) -> AsyncIterator[RedisQueue]:
    queue = await RedisQueue.open(settings_at(redis_address, fresh))
    yield queue
    await queue.close()


@pytest.fixture
async def redis(redis_address: str) -> AsyncIterator[Any]:
    host, port = redis_address.split(":")
    async with Redis(host=host, port=int(port), decode_responses=True, protocol=2) as redis:
        yield redis


async def one(queue: RedisQueue) -> RedisDelivery:
    got = await queue.receive(1, 5)
    assert got, "nothing came"
    return got[0]


async def all_of(queue: RedisQueue, count: int, most: int = 100) -> Sequence[RedisDelivery]:
    got: list[RedisDelivery] = []
    async with asyncio.timeout(10):
        while len(got) < count:
            got += await queue.receive(most, 1)
    return got


async def consumers(redis: Any, queue: RedisQueue) -> dict[str, int]:
    return {each["name"]: each["pending"] for each in await redis.xinfo_consumers(queue._keys.stream, queue._group)}


def test_every_key_begins_with_the_prefix_and_lies_in_one_slot() -> None:
    # Given the keys of a queue and of its errors
    tasks, errors = Keys.of("bb", "tasks", "failed"), Keys.of("bb", "failed", "failed")
    # Then all have the prefix first and the same hash tag, and the errors' stream is the errors queue's own
    for key in (tasks.stream, tasks.delayed, tasks.errors, errors.delayed):
        assert key.startswith("bb:{queue}:")
    assert tasks.errors == errors.stream
    assert len({tasks.stream, tasks.delayed, errors.stream, errors.delayed}) == 4


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RedisConnectionError("refused"), True),
        (BusyLoadingError("loading"), True),
        (OutOfMemoryError("command not allowed"), True),
        (ReadOnlyError("replica"), True),
        (MasterDownError("link"), True),
        (ResponseError("MISCONF Redis is configured to save"), True),
        (ResponseError("Error running script (call to f_1): @user_script:9: -OOM command not allowed"), True),
        (OSError("network"), True),
        (AuthenticationError("WRONGPASS"), False),
        (ResponseError("WRONGTYPE Operation against a key"), False),
        (ResponseError("value of key ROOM is wrong"), False),
        (ValueError("ours"), False),
    ],
)
def test_which_errors_pass_by_themselves(error: Exception, expected: bool) -> None:
    assert passes(error) is expected


async def test_attempts_add_up(redis_address: str, fresh: str) -> None:
    # Given a message that is handed back twice, once with a delay
    queue = await RedisQueue.open(settings_at(redis_address, fresh, lease=0.4))
    await queue.send([b"stubborn"])
    await (await one(queue)).nack()
    await (await one(queue)).nack(0.1)
    # When it comes the third time and its lease runs out
    third = await one(queue)
    fourth = await one(queue)
    # Then every hand-out was counted
    assert (third.attempt, fourth.attempt) == (3, 4)
    assert (third.payload, fourth.payload) == (b"stubborn", b"stubborn")
    # And the holder of the earlier lease, in the same process, cannot hand back what the later one holds
    await third.nack()
    assert await queue.backlog() == 1
    assert not await queue.receive(1, 0)
    await fourth.ack()
    await queue.close()


async def test_nothing_is_left_in_redis_of_what_is_done(queue: RedisQueue, redis: Any) -> None:
    # Given a thousand messages that were received, some of them after a delay
    await queue.send([b"%d" % number for number in range(1000)])
    got = await all_of(queue, 1000, most=1000)
    assert await queue.backlog() == 1000
    await asyncio.gather(*(delivery.nack(0.05) for delivery in got[:100]))
    assert await queue.backlog() == 1000
    again = await all_of(queue, 100)
    # When all are acknowledged
    await asyncio.gather(*(delivery.ack() for delivery in [*got[100:], *again]))
    # Then neither the stream, nor the pending list, nor the delayed hold anything
    assert await redis.xlen(queue._keys.stream) == 0
    assert (await redis.xpending(queue._keys.stream, queue._group))["pending"] == 0
    assert await redis.exists(queue._keys.delayed) == 0


async def test_leases_of_a_long_pending_list_are_found_by_a_worker_with_little_room(redis_address: str, fresh: str) -> None:
    # Given a worker that died with 1,500 messages
    settings = settings_at(redis_address, fresh, lease=0.3)
    dead, alive = await RedisQueue.open(settings), await RedisQueue.open(settings)
    messages = [b"%d" % number for number in range(1500)]
    await dead.send(messages)
    assert len(await all_of(dead, 1500, most=1500)) == 1500
    await dead.close()
    await asyncio.sleep(0.35)
    # When another takes ten at a time
    got: list[bytes] = []
    async with asyncio.timeout(10):
        while len(got) < 1500:
            more = await alive.receive(10, 1)
            await asyncio.gather(*(delivery.ack() for delivery in more))
            got += [delivery.payload for delivery in more]
    # Then it gets every one of them, once
    assert sorted(got) == sorted(messages)
    await alive.close()


@pytest.mark.parametrize("loss", ["stream", "group"])
async def test_a_lost_stream_or_group_is_made_anew(queue: RedisQueue, redis: Any, loss: str) -> None:
    # Given a worker that waits, and one message in the hands of it
    await queue.send([b"before"])
    held = await one(queue)
    waiting = asyncio.create_task(queue.receive(10, 8))
    await asyncio.sleep(0.1)
    # When the stream vanishes, as after FLUSHALL, or the group does
    if loss == "stream":
        await redis.delete(queue._keys.stream)
    else:
        await redis.xgroup_destroy(queue._keys.stream, queue._group)
    await asyncio.sleep(0.1)
    await queue.send([b"after"])
    got = [*await waiting]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while len(got) < 2:
                got += await queue.receive(10, 0.5)
    # Then it goes on with what was sent since, and with what is still in the stream
    assert {delivery.payload for delivery in got} == ({b"after"} if loss == "stream" else {b"before", b"after"})
    # And what it held can be extended and ended without an error
    await asyncio.gather(held.extend(), held.ack(), *(delivery.ack() for delivery in got))
    assert await queue.backlog() == 0


async def test_a_message_of_somebody_else_is_a_delivery_like_any_other(
    queue: RedisQueue, redis: Any, redis_address: str, fresh: str
) -> None:
    # Given an entry that was not sent by us
    await redis.xadd(queue._keys.stream, {"colour": "red", "size": "9"})
    # When it is received
    delivery = await one(queue)
    # Then everything that was in it can be read, and it can be rejected
    assert delivery.payload == b"colour=red\nsize=9"
    await delivery.nack()
    assert await queue.backlog() == 1
    await delivery.reject(b"report: " + delivery.payload)
    errors = await RedisQueue.open(settings_at(redis_address, fresh), errors=True)
    assert (await one(errors)).payload == b"report: colour=red\nsize=9"
    assert await queue.backlog() == 0
    await errors.close()


async def test_a_consumer_that_leaves_is_removed_unless_it_holds_something(redis_address: str, fresh: str, redis: Any) -> None:
    # Given three workers, one of which holds a message
    settings = settings_at(redis_address, fresh)
    staying, idle, holding = [await RedisQueue.open(settings) for _ in range(3)]
    for worker in (idle, staying):  # Redis 6.2 knows a consumer only once it has been handed something
        await worker.send([b"done"])
        await (await one(worker)).ack()
    await staying.send([b"held"])
    await one(holding)
    assert len(await consumers(redis, staying)) == 3
    # When the other two leave
    await idle.close()
    await holding.close()
    # Then the idle one is gone, and the one with the message is still there
    left = await consumers(redis, staying)
    assert left == {staying._consumer: 0, holding._consumer: 1}
    await staying.close()


async def test_consumers_not_heard_of_for_long_are_removed(
    redis_address: str, fresh: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two workers that were killed some time ago, one of them with a message in hand
    settings = settings_at(redis_address, fresh, lease=0.01)
    dead, holding = await RedisQueue.open(settings), await RedisQueue.open(settings)
    await dead.receive(1, 0)
    await holding.send([b"held"])
    await one(holding)
    # When another worker starts to receive after longer than that
    monkeypatch.setattr(redis_streams, "GONE_AFTER", 0.2)
    await asyncio.sleep(0.3)
    newcomer = await RedisQueue.open(settings_at(redis_address, fresh, lease=0.02))
    got = await one(newcomer)
    # Then the consumer that held nothing is gone
    assert got.payload == b"held"
    assert dead._consumer not in await consumers(redis, newcomer)
    await asyncio.gather(dead.close(), holding.close(), newcomer.close())


async def test_redis_away_is_told_after_a_while_and_overcome_when_it_is_back(redis_own: Server, fresh: str) -> None:
    # Given a queue with little patience whose Redis goes away while it holds a message
    queue = await RedisQueue.open(settings_at(redis_own.address, fresh))
    queue._outage._patience = 0.5
    await queue.send([b"one"])
    held = await one(queue)
    await asyncio.to_thread(redis_own.stop)
    # When it is used
    begin = time.monotonic()
    calls = (queue.send([b"two"]), queue.receive(1, 0.2), held.extend(), queue.backlog())
    answers = await asyncio.gather(*calls, return_exceptions=True)
    # Then every call says that the queue is away, and soon
    assert [type(answer) for answer in answers] == [QueueUnavailable] * 4
    assert time.monotonic() - begin < 5
    with pytest.raises(QueueUnavailable):
        await queue.send([b"two"])
    # And all goes on when it is back
    await asyncio.to_thread(redis_own.start)
    await queue.send([b"two"])
    await held.ack()
    assert (await one(queue)).payload == b"two"
    await queue.close()


async def test_closing_while_redis_is_away_does_not_hang(redis_own: Server, fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an acknowledgement that cannot be sent, because Redis went away
    monkeypatch.setattr(redis_streams, "CLOSE_PATIENCE", 0.3)
    queue = await RedisQueue.open(settings_at(redis_own.address, fresh))
    await queue.send([b"one"])
    held = await one(queue)
    await asyncio.to_thread(redis_own.kill)
    acknowledging = asyncio.create_task(held.ack())
    await asyncio.sleep(0.05)
    # When the queue is closed
    begin = time.monotonic()
    await queue.close()
    # Then it lets go
    assert time.monotonic() - begin < 3
    acknowledging.cancel()
    await asyncio.wait([acknowledging])


async def test_a_full_redis_is_waited_for_and_can_be_drained(redis_own: Server, fresh: str) -> None:
    # Given a Redis that is full and refuses to evict, with messages in hand, waiting and due
    queue = await RedisQueue.open(settings_at(redis_own.address, fresh))
    queue._outage._patience = 0.3
    await queue.send([b"returned", b"done", b"due"])
    held = {delivery.payload: delivery for delivery in await all_of(queue, 3)}
    await held[b"due"].nack(0.01)
    await queue.send([b"waiting"])
    await asyncio.sleep(0.05)
    await queue._redis.config_set("maxmemory", "1")
    # When something is sent or handed back
    answers = await asyncio.gather(queue.send([b"new"]), held[b"returned"].nack(), return_exceptions=True)
    # Then the queue counts as away, but what waits can be received, and what makes room can be done
    assert [type(answer) for answer in answers] == [QueueUnavailable] * 2
    assert "new" not in str(answers[0]), "no payload belongs in an error or a log"
    waiting = await one(queue)
    assert waiting.payload == b"waiting"
    await asyncio.gather(waiting.ack(), held[b"done"].ack())
    assert await queue.backlog() == 2
    # And all goes on when there is room again, with nothing lost
    await queue._redis.config_set("maxmemory", "0")
    await held[b"returned"].nack()
    assert {delivery.payload for delivery in await all_of(queue, 2)} == {b"returned", b"due"}
    await queue.close()


async def test_a_password_is_used_and_a_wrong_one_is_named(tmp_path: Path, fresh: str) -> None:
    # Given a Redis with a password
    try:
        manager = servers.redis_server(tmp_path / "redis", "secret")
        server = manager.__enter__()
    except servers.ServerMissing as error:
        servers.missing(error.server, error.how)
    try:
        # When it is opened with the right one
        queue = await RedisQueue.open(settings_at(server.address, fresh, password="secret"))
        # Then it works
        await queue.send([b"one"])
        await queue.close()
        # And without it, or with another, the setting is named
        for wrong in (None, "guess"):
            with pytest.raises(SettingsError, match="REDIS_PASSWORD"):
                await RedisQueue.open(settings_at(server.address, fresh, password=wrong))
    finally:
        manager.__exit__(None, None, None)


async def test_what_is_sent_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for three messages, or ten bytes, in one call
    monkeypatch.setattr(redis_streams, "SEND_AT_ONCE", 3)
    monkeypatch.setattr(redis_streams, "SEND_BYTES_AT_ONCE", 10)
    # When messages of all sizes are sent
    messages = [b"a", b"b", b"c", b"d", b"e" * 9, b"f", b"g" * 12, b"h", b""]
    # Then no call has more, but for a message that is larger by itself, and none is left out
    assert list(redis_streams._batches(messages)) == [[b"a", b"b", b"c"], [b"d", b"e" * 9], [b"f"], [b"g" * 12], [b"h", b""]]
    assert list(redis_streams._batches([])) == []


@pytest.mark.parametrize("lost", ["stream", "group"])
async def test_a_stream_or_group_that_was_deleted_is_made_again_by_the_publisher(
    queue: RedisQueue, redis: Any, lines: Any, lost: str
) -> None:
    # Given a stream or its group that somebody has deleted, while no worker is there
    if lost == "stream":
        await redis.delete(queue._keys.stream)
    else:
        await redis.xgroup_destroy(queue._keys.stream, queue._group)
    # When the publisher looks, twice
    await queue.check()
    await queue.check()
    # Then what it sends arrives, and it was said once
    await queue.send([b"after"])
    assert (await one(queue)).payload == b"after"
    assert [line["group"] for line in lines() if line.get("action") == "queue_group_made"] == [queue._group]
