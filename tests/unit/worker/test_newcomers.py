"""Publishers that were upgraded before their workers: what the workers do not know yet waits for those that do."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from common import report
from common.state.jobs import Jobs
from common.task import encode
from tests.published import publish
from tests.unit.worker.conftest import NOW, PATIENCE, Delivered
from worker.replicate import Ends

if TYPE_CHECKING:
    from common.task import Task
    from tests.unit.worker.conftest import World


async def of_new_route(world: World, key: str) -> Task:
    """A task that a publisher has made and recorded for a route that the worker does not have."""
    jobs = Jobs(world.redis)
    job = await jobs.resumable("films") or await jobs.open("films", "demand", NOW)
    found = await world.put(key, b"bytes")
    number = job.published
    await publish(world.redis, "films", job.id, [(key, found.version.token)], at=NOW, after=key)
    return replace(await world.task(found), route="films", job=job.id, number=number)


async def test_tasks_of_a_route_that_comes_later_wait_and_then_arrive(world: World, lines) -> None:
    # Given a publisher that knows a route, and a worker that does not
    world.patience = PATIENCE
    tasks = [await of_new_route(world, f"k{number}") for number in range(20)]
    replicator = world.replicator()

    # When their tasks are delivered, again and again for ten minutes
    delays = []
    for _ in range(10):
        deliveries = [Delivered(encode(task)) for task in tasks]
        for delivery in deliveries:
            await replicator.replicate(delivery)
        assert {tuple(delivery.fate) for delivery in deliveries} == {("nack",)}
        delays.append(deliveries[0].delay)
        world.now += 60

    # Then they are in flight, and nothing of them is proven
    waiting = await Jobs(world.redis).resumable("films")
    assert waiting is not None
    assert (waiting.listed, waiting.in_flight, waiting.proven, waiting.failed, waiting.unbalanced) == (20, 20, 0, 0, 0)
    # And they went back with growing delays, and it was said once
    assert delays == sorted(delays)
    assert 0 < delays[0] < delays[-1] <= 90
    assert [line["subject"] for line in lines() if line.get("action") == "not_known_yet"] == ["route films"]

    # And when the worker has the route, they arrive
    world.beside = {"films": Ends(world.source_reader, world.destination_writer)}
    assert [(await world.replicate(task)).fate for task in tasks] == [["ack"]] * 20


async def test_what_nobody_has_known_for_long_is_a_failure_of_its_job(world: World) -> None:
    # Given a task of a route that no worker has
    world.patience = PATIENCE
    task = await of_new_route(world, "k")
    assert (await world.replicate(task)).fate == ["nack"]

    # When its time is over
    world.now += PATIENCE
    delivery = await world.replicate(task)

    # Then it is reported with its object and what to do, and its job ends
    assert delivery.fate == ["reject"]
    found = report.decode(delivery.report)
    assert (found.category, found.route, found.key, found.payload) == ("malformed", "films", "k", encode(task))
    assert "add it, then redrive" in found.message
    jobs = Jobs(world.redis)
    opened = await jobs.resumable("films")
    assert opened is not None
    job = await jobs.scanned(opened, 0)
    assert job is not None
    assert (job.state, job.failed, job.in_flight, job.unbalanced) == ("done_with_failures", 1, 0, 0)


async def test_a_route_that_nobody_published_leaves_nothing_in_redis(world: World) -> None:
    # Given a forged task whose route is nobody's
    forged = replace(await world.task(await world.put("k", b"x")), route="forged", job="forged-20260101T000000-abcdef")

    # When it is given up
    assert (await world.replicate(forged)).fate == ["reject"]

    # Then its names have been written nowhere
    assert "forged" not in await world.cache.routes()
    assert [key async for key in world.redis.client.scan_iter(f"{world.redis.keys.prefix}*forged*")] == []


async def test_a_task_that_stood_in_line_for_long_is_not_given_up_at_its_first_delivery(world: World) -> None:
    # Given a task that was made an hour before any worker met its route
    world.patience, world.now = PATIENCE, NOW + 3600
    assert (await world.replicate(await of_new_route(world, "k1"))).fate == ["nack"]

    # When one that is made later is delivered after the route's first patience
    world.now += PATIENCE
    late = replace(await of_new_route(world, "k2"), queued=_at(world.now - 10))

    # Then it has its own time
    assert (await world.replicate(late)).fate == ["nack"]
    # And one from the future gains nothing by it
    world.now += PATIENCE
    assert (await world.replicate(replace(late, queued=_at(world.now + 10**8)))).delay <= PATIENCE
    assert (await world.replicate(late)).fate == ["reject"]


@pytest.mark.parametrize("schema", [2, 99])
async def test_a_newer_schema_waits_and_what_is_malformed_does_not(world: World, schema: int) -> None:
    # Given a message of a newer publisher, and one that is none
    world.patience = PATIENCE
    task = encode(await world.task(await world.put("k", b"x")))
    newer = json.dumps(json.loads(task) | {"schema": schema, "key": {"of": "another shape"}}).encode()
    replicator = world.replicator()

    # When they are delivered
    waiting, forged = Delivered(newer), Delivered(task.replace(b'"job":"', b'"job":":'))
    await replicator.replicate(waiting)
    await replicator.replicate(forged)

    # Then the one waits until its time is over, and the other is reported at once
    assert (waiting.fate, forged.fate) == (["nack"], ["reject"])
    world.now += PATIENCE
    again = Delivered(newer)
    await replicator.replicate(again)
    assert again.fate == ["reject"]
    assert report.decode(again.report).payload == newer


async def test_a_forged_job_id_is_refused_before_anything_is_written(world: World) -> None:
    # Given the id of a job, with what its bitmap has behind it
    task = await world.task(await world.put("k", b"x"))
    forged = replace(task, job=f"{task.job}:settled")

    # When it is delivered
    delivery = await world.replicate(forged)

    # Then it is reported, nothing was moved, and the job goes on as if it had not come
    assert delivery.fate == ["reject"]
    assert report.decode(delivery.report).category == "malformed"
    assert world.destination_store.writes == 0
    assert (await world.replicate(task)).fate == ["ack"]
    assert (await world.job()).moved == 1


def _at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)
