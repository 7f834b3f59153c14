"""What counts as a death of an object's worker, and what does not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from common import report
from common.errors import Forbidden, KillsWorker, QueueUnavailable, Unavailable
from common.state.cache import Claim, Outcome
from common.task import encode
from tests.unit.worker.conftest import DEATHS, ROUTE, Delivered
from tests.unit.worker.test_replicate import Faulty, always
from worker.deaths import SUSPECT, Suspects

if TYPE_CHECKING:
    from common.objects import Version
    from common.task import Task
    from tests.unit.worker.conftest import World


def claim(task: Task, owner: str) -> Claim:
    return Claim(ROUTE, task.key, task.version.token, owner, 60)


async def dies(world: World, task: Task, owner: str) -> None:
    """A worker takes the object and is never heard of again; its lease runs out."""
    (claimed,) = await world.cache.claim([replace(claim(task, owner), alone=True)])
    assert claimed.outcome is Outcome.TAKEN
    await lease_runs_out(world)


async def lease_runs_out(world: World) -> None:
    for key in [key async for key in world.redis.client.scan_iter(f"{world.redis.keys.prefix}:*:lease:*")]:
        await world.redis.client.delete(key)


async def deaths(world: World, task: Task) -> int:
    (claimed,) = await world.cache.claim([claim(task, "who asks")])
    await world.cache.release([claim(task, "who asks")])
    return claimed.deaths


async def task_of(world: World, key: str = "k") -> Task:
    return await world.task(await world.put(key, b"bytes"))


async def test_an_object_that_killed_its_workers_is_set_aside(world: World) -> None:
    # Given an object of which one worker after the other has died
    task = await task_of(world)
    for number in range(DEATHS):
        await dies(world, task, f"dead-{number}")

    # When it is delivered once more
    delivery = await world.replicate(task)

    # Then it is not touched any more, but reported and counted, and after a redrive it has all its chances again
    assert delivery.fate == ["reject"]
    found = report.decode(delivery.report)
    assert (found.category, found.key, found.payload) == ("kills_worker", "k", encode(task))
    assert f"{DEATHS} worker processes died" in found.message
    assert (await world.job()).failed == 1
    assert world.destination_store.writes == 0
    assert await deaths(world, task) == 0


async def test_one_death_less_is_no_reason(world: World) -> None:
    task = await task_of(world)
    for number in range(DEATHS - 1):
        await dies(world, task, f"dead-{number}")
    assert (await world.replicate(task)).fate == ["ack"]
    assert [key async for key in world.redis.client.scan_iter(f"{world.redis.keys.prefix}:*:begun:*")] == []


async def test_another_version_begins_anew(world: World) -> None:
    task = await task_of(world)
    for number in range(DEATHS):
        await dies(world, task, f"dead-{number}")
    assert (await world.replicate(await task_of(world))).fate == ["ack"]


async def test_a_worker_that_says_how_it_ended_has_not_died(world: World) -> None:
    # Given an object that fails, again and again
    task = await task_of(world)
    world.reader = Faulty(world.source_reader, read=always(Unavailable("503")))  # type: ignore[assignment]
    assert (await world.replicate(task)).fate == ["nack"]
    assert await deaths(world, task) == 0

    # And one whose worker is asked to stop
    begun: asyncio.Event = asyncio.Event()

    async def forever(_plain: Any, _key: str, _span: Any, _version: Version) -> None:
        begun.set()
        await asyncio.Event().wait()

    world.reader = Faulty(world.source_reader, read=forever)  # type: ignore[assignment]
    working = asyncio.create_task(world.replicate(task))
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await deaths(world, task) == 0

    # And one whose queue is away when its successor is to be sent
    async def away(_messages: object) -> None:
        raise QueueUnavailable("away")

    world.reader = world.source_reader
    await world.put("k", b"a newer version")
    world.queue.send = away  # type: ignore[method-assign, assignment]
    with pytest.raises(QueueUnavailable):
        await world.replicate(task)
    # Then none of them counts
    assert await deaths(world, task) == 0


async def test_a_worker_whose_lease_ran_out_while_redis_stood_still_is_alive(world: World) -> None:
    # Given a worker in the middle of a large object, and a Redis that stood still for longer than its lease, twice
    task = await task_of(world)
    for number in range(DEATHS):
        await dies(world, task, f"alive-{number}")
    assert await deaths(world, task) == DEATHS

    # When they go on renewing
    for number in range(DEATHS):
        await world.cache.renew([claim(task, f"alive-{number}")])

    # Then nobody has died
    assert await deaths(world, task) == 0


async def test_a_suspect_is_handled_with_no_other_beside_it(world: World) -> None:
    # Given two objects of which workers have died, and others
    suspects = [await task_of(world, f"suspect-{number}") for number in range(2)]
    for task in suspects:
        for number in range(SUSPECT):
            await dies(world, task, f"dead-{number}")
    others = [await task_of(world, f"other-{number}") for number in range(3)]
    gate, begun = asyncio.Event(), asyncio.Event()

    reading: list[str] = []

    async def gated(plain: Any, *args: Any) -> Any:
        reading.append(args[0].partition("-")[0])
        begun.set()
        await gate.wait()
        return await plain(*args)

    world.reader = Faulty(world.source_reader, read=gated)  # type: ignore[assignment]
    replicator = world.replicator()

    # When one process gets them all at once
    first, second, *rest = [Delivered(encode(task)) for task in [*suspects, *others]]
    working = [asyncio.create_task(replicator.replicate(first))]
    await begun.wait()
    working += [asyncio.create_task(replicator.replicate(each)) for each in rest]
    working.append(asyncio.create_task(replicator.replicate(second)))
    while reading.count("other") < len(others):
        begun.clear()
        await begun.wait()

    # Then the others are read beside the first suspect, the second waits, and would not count if the process died now
    assert sorted(reading) == ["other"] * 3 + ["suspect"]
    await lease_runs_out(world)
    assert (await deaths(world, suspects[0]), await deaths(world, suspects[1])) == (SUSPECT + 1, SUSPECT)
    # And comes to its turn
    gate.set()
    await asyncio.gather(*working)
    assert [each.fate for each in (first, second, *rest)] == [["ack"]] * 5


async def test_a_turn_that_does_not_come_gives_the_slot_back(world: World) -> None:
    # Given a process that handles a suspect for hours
    task = await task_of(world)
    suspects = Suspects(DEATHS, turn_seconds=0)
    async with suspects.turn(task, SUSPECT) as ours:
        assert ours
        # Then another does not wait for it
        async with suspects.turn(task, SUSPECT) as mine:
            assert not mine


async def test_it_can_be_switched_off(world: World) -> None:
    task = await task_of(world)
    Suspects(0).judge(task, 1000)
    with pytest.raises(KillsWorker):
        Suspects(1).judge(task, 1)


async def test_what_is_refused_after_deaths_is_reported_as_what_it_is(world: World) -> None:
    # Given an object of which a worker died, and which is then refused
    task = await task_of(world)
    await dies(world, task, "dead")
    world.reader = Faulty(world.source_reader, read=always(Forbidden("no")))  # type: ignore[assignment]
    assert report.decode((await world.replicate(task)).report).category == "forbidden"
