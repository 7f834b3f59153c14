"""An object that changes whenever its turn comes: gone after a few times, ever later, and then left to the next sweep."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from common.state.cache import Kind
from common.storage.base import MIB
from common.task import decode, encode
from tests.unit.worker.conftest import NOW, ROUTE, World, noise
from worker.replicate import ROUNDS

if TYPE_CHECKING:
    from common.task import Task


async def changed(world: World, size: int) -> None:
    await world.put("log", noise(size))


@pytest.mark.parametrize("size", [10, 2 * MIB], ids=["small", "in parts"])
async def test_an_object_that_never_rests_is_left_to_the_next_sweep(
    world: World, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given an object that changes each time before it is read
    task = await world.task(await world.put("log", noise(size)))
    waits = []
    for _ in range(ROUNDS):
        await changed(world, size)
        # When its task is carried out
        assert (await world.replicate(task)).fate == ["ack"]
        # Then the version that is there now is sent for, in the same job and under the same number
        (newer,) = world.sent()
        assert (newer.job, newer.number) == (task.job, task.number)
        world.queue.messages.clear()
        waits.append(newer.not_before and newer.not_before.timestamp() - NOW)
        task = replace(newer, not_before=None)
    # And later each time
    assert waits == [None, 1, 2, 4, 8]
    # When it has changed once more
    await changed(world, size)
    assert (await world.replicate(task)).fate == ["ack"]
    # Then it is left, and named
    assert world.sent() == []
    said = [line for line in capsys.readouterr().err.splitlines() if "object_changing" in line]
    assert len(said) == 1
    assert "warning" in said[0]
    assert "'log' changed each of the 6 times" in said[0]
    assert world.destination_store.writes == 0
    # And the next sweep, which sees another version than was published, sends for it again
    record = await world.cache.get(ROUTE, Kind.PUBLISHED, "log")
    now_there = await world.source_writer.stat("log")
    assert now_there is not None
    assert record is None or record["etag"] != now_there.version.token
    # Until then it is left out, and nothing says that it has arrived
    job = await world.job()
    assert (job.listed, job.left_out, job.unbalanced) == (1, {"changing": 1}, 0)
    # And nothing is left at the destination's service
    assert world.destination_store.uploads == {}


async def test_what_is_not_due_yet_waits(world: World) -> None:
    # Given a task that is to be looked at in four seconds
    plain = await world.task(await world.put("log", b"bytes"))
    task = later(plain, 4)
    # When it is delivered before, it comes back when it is due, and nothing is asked or written
    delivery = await world.replicate(task)
    assert (delivery.fate, delivery.delay) == (["nack"], 4)
    assert world.destination_store.writes == 0
    # And when it is due, it is moved
    world.now += 4
    assert (await world.replicate(task)).fate == ["ack"]
    assert await world.arrived("log") == b"bytes"


async def test_no_message_can_make_an_object_wait_for_long(world: World) -> None:
    task = later(await world.task(await world.put("log", b"bytes")), 10**9)
    assert (await world.replicate(task)).fate == ["ack"]


def later(task: Task, seconds: float) -> Task:
    return replace(task, rounds=3, not_before=datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds))


async def test_rounds_travel_in_the_task_where_there_are_any(world: World) -> None:
    task = await world.task(await world.put("log", b"bytes"))
    assert b"rounds" not in encode(task)
    assert b"not_before" not in encode(task)
    assert decode(encode(later(task, 1))) == later(task, 1)
