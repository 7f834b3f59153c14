"""The error topic on Redis Streams: one entry for each object and route, looked at without being handed out, kept for a while."""

from __future__ import annotations

import json
import resource
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from brigade.error_topic import Selection, discard, forget, look, total
from common import report as reports
from common.config import QueueSettings, RedisSettings, Settings
from common.queues.redis_streams import Keys, RedisQueue
from common.report import Report, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def report(key: str | None, message: str = "no", category: str = "forbidden", route: str | None = "photos") -> bytes:
    payload = json.dumps(
        {"schema": 1, "route": route, "key": key, "etag": "0" * 32, "job": "photos-20261128T000000-abcdef"}
    ).encode()
    return encode(
        Report(
            category=category, message=message, attempts=1, worker="worker-1", queued=NOW, failed=NOW, route=route, key=key,
            payload=payload if key is not None else message.encode(),
        )
    )  # fmt: skip


@pytest.fixture
def settings(redis_address: str, fresh: str) -> Settings:
    queue = QueueSettings(kind="redis", topic="tasks")
    return Settings(queue=queue, redis=RedisSettings(address=redis_address, prefix=fresh))


@pytest.fixture
async def tasks(settings: Settings) -> AsyncIterator[RedisQueue]:
    queue = await RedisQueue.open(settings)
    yield queue
    await queue.close()


@pytest.fixture
async def errors(settings: Settings) -> AsyncIterator[RedisQueue]:
    queue = await RedisQueue.open(settings, errors=True)
    yield queue
    await queue.close()


async def rejected(tasks: RedisQueue, *messages: bytes) -> None:
    """As a worker does it."""
    for message in messages:
        await tasks.send([b"task"])
        (delivery,) = await tasks.receive(1, 5)
        await delivery.reject(message)


async def test_an_object_that_fails_again_has_one_entry_with_its_history(tasks: RedisQueue, errors: RedisQueue) -> None:
    # Given two objects that fail, one of them three times; the same key in another route; a publisher's own report of the first
    await rejected(tasks, report("a", "first"), report("b"), report("a", "second"), report("a", route="films"))
    await errors.send([report("a", "third", category="source_missing")])

    # When the error topic is looked at
    found = {(entry.report.route, entry.report.key): entry for entry in await look(errors, Selection(), 100) if entry.report}

    # Then each object has its newest report, with how often and since when
    assert set(found) == {("photos", "a"), ("photos", "b"), ("films", "a")}
    a = found["photos", "a"]
    assert (a.report.message, a.report.category, a.times) == ("third", "source_missing", 3)  # type: ignore[union-attr]
    assert [found[name].times for name in (("photos", "b"), ("films", "a"))] == [1, 1]
    assert a.first is not None
    assert found["photos", "b"].first is not None
    assert a.first <= found["photos", "b"].first
    assert await errors.backlog() == 3


async def test_messages_that_are_no_tasks_are_told_apart_by_their_bytes(tasks: RedisQueue, errors: RedisQueue) -> None:
    await rejected(tasks, report(None, "x"), report(None, "y"), report(None, "x"), b"\xff\xfe no report", b"\xff\xfe no report")
    found = await look(errors, Selection(), 100)
    assert sorted((entry.delivery.payload[:5], entry.times) for entry in found) == [
        (b'{"sch', 1),
        (b'{"sch', 2),
        (b"\xff\xfe no", 2),
    ]


async def test_an_hourly_failure_costs_what_one_costs(tasks: RedisQueue, errors: RedisQueue, redis: Any) -> None:
    # Given 2,000 objects that fail for good
    keys = Keys.of(tasks._keys.stream.partition(":")[0], "tasks", "tasks-errors")
    batch = [report(f"2026/11/28/a-name-of-the-usual-length-{number:06}.jpg", "HTTP 403 " + "x" * 100) for number in range(2000)]
    await errors.send(batch)
    once = await memory(redis, keys)

    # When they are published and fail again each hour of a day
    for _ in range(24):
        await errors.send(batch)

    # Then there is one entry for each, and 100,000 of them stay below 100 MB
    assert await errors.backlog() == 2000
    day = await memory(redis, keys)
    assert day < 1.2 * once
    assert day / 2000 * 100_000 < 100e6


async def memory(redis: Any, keys: Keys) -> int:
    names = [keys.errors, *[name async for name in redis.scan_iter(f"{keys.subjects}:*", count=1000)]]
    return sum([await redis.memory_usage(name, samples=0) for name in names])


@pytest.fixture
async def redis(tasks: RedisQueue) -> Any:
    return tasks._redis


async def test_what_is_meant_is_found_behind_forty_thousand_others(errors: RedisQueue) -> None:
    # Given one report behind 40,000 of another kind
    for start in range(0, 40_000, 2000):
        await errors.send([report(f"k{number}", category="archived") for number in range(start, start + 2000)])
    await errors.send([report("meant")])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    # When it is looked for, and everything is counted
    (found,) = await look(errors, Selection(category="forbidden"), 100)
    assert found.report is not None
    assert found.report.key == "meant"
    assert await total(errors, Selection()) == 40_001

    # Then memory has not grown with them (KiB)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
    # And everything of that kind can be discarded, and nothing else
    assert sum([len(page) async for page in discard(errors, Selection(category="archived"))]) == 40_000
    assert await errors.backlog() == 1


async def test_what_was_taken_off_begins_anew(tasks: RedisQueue, errors: RedisQueue) -> None:
    # Given an object that failed twice
    await rejected(tasks, report("a"), report("a"))
    taken: list[tuple[str, str]] = []

    async def take_back(route: str, key: str) -> None:
        taken.append((route, key))

    # When it is taken off, and fails again
    assert await forget(errors, take_back) == 1
    assert taken == [("photos", "a")]
    await rejected(tasks, report("a"))

    # Then its history begins with that
    (found,) = await look(errors, Selection(), 10)
    assert found.times == 1


async def test_reports_of_the_first_release_are_read_and_taken_off(errors: RedisQueue, redis: Any) -> None:
    # Given an entry without a subject, and one that a reader of that release was given and never gave back
    await redis.xadd(errors._keys.stream, {"payload": report("old")})
    await redis.xadd(errors._keys.stream, {"attempts": "3", "payload": report("held")})
    assert len(await errors.receive(1, 1)) == 1

    # When they are looked at, and one of their objects fails again
    found = await look(errors, Selection(), 10)
    assert [entry.report.key for entry in found if entry.report] == ["old", "held"]
    assert all(entry.times == 1 and entry.first is not None for entry in found)
    await errors.send([report("old")])

    # Then everything can be taken off
    assert sum([len(page) async for page in discard(errors, Selection())]) == 3
    assert await errors.backlog() == 0


async def test_what_has_not_come_again_for_long_is_dropped(settings: Settings, errors: RedisQueue, redis: Any) -> None:
    # Given a report of long ago, and one of today, and a fleet that keeps reports for a day
    await redis.xadd(errors._keys.stream, {"payload": report("old"), "subject": b"s" * 12, "times": 1, "first": 1}, id="1000-0")
    await redis.hset(f"{errors._keys.subjects}:461", b"s" * 12, "1000-0")
    await errors.send([report("new")])
    kept = settings.queue.model_copy(update={"error_retention_seconds": 86400.0})

    # When a worker begins to take tasks
    worker = await RedisQueue.open(settings.model_copy(update={"queue": kept}))
    await worker.receive(1, 0.01)
    await worker.close()

    # Then the old one is gone, with what was remembered of it
    (found,) = await look(errors, Selection(), 10)
    assert reports.decode(found.delivery.payload).key == "new"
    remembered = [name async for name in redis.scan_iter(f"{errors._keys.subjects}:*")]
    assert [await redis.hlen(name) for name in remembered] == [1]


async def test_looking_ends_where_it_began_however_many_come_meanwhile(errors: RedisQueue) -> None:
    # Given objects that fail again as soon as they are looked at
    await errors.send([report(f"k{number}") for number in range(10)])

    # When they are discarded
    seen = 0
    async for page in discard(errors, Selection()):
        seen += len(page)
        await errors.send([report(f"again{number}") for number in range(10)])

    # Then it ends
    assert seen == 10
    assert await errors.backlog() == 10
