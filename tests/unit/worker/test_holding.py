"""A route that refuses everything is held, said once, tried with one object now and then, and goes on by itself."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest

from common import report
from common.errors import Forbidden, LocationMissing, ObjectError, Unauthenticated, Unavailable
from common.state.cache import Claim
from common.storage.file_tree import failure
from common.storage.retry import Policy, Retrier, RetryingReader, RetryingWriter
from common.task import encode
from tests.unit.worker.conftest import HOLD_AFTER, PAUSES, ROUTE, Delivered
from worker.holding import FREE_TRIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.task import Task
    from tests.unit.worker.conftest import World
    from worker.replicate import Replicator

OBJECTS = 60


class _End:
    """One end of a route. `refuses` says which keys it refuses at the moment."""

    def __init__(self, inner: Any, error: Callable[[], ObjectError]) -> None:
        self._inner = inner
        self._error = error
        self.limits = getattr(inner, "limits", None)
        self.refuses: Callable[[str], bool] = lambda _: True
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def read(self, key: str, *args: Any) -> Any:
        return await self._inner.read(key, *args) if self._takes(key) else None

    async def put(self, key: str, *args: Any) -> Any:
        return await self._inner.put(key, *args) if self._takes(key) else None

    def _takes(self, key: str) -> bool:
        self.asked += 1
        if self.refuses(key):
            raise self._error()
        return True


def broken(world: World, error: Callable[[], ObjectError], *, at_source: bool) -> _End:
    """Make one end of the world's route refuse every object."""

    async def sleep(_: float) -> None: ...

    retrier = Retrier(Policy(attempts=1), sleep, lambda: 1.0, at_source=at_source)
    if at_source:
        end = _End(world.source_reader, error)
        world.reader = RetryingReader(end, retrier)  # type: ignore[arg-type]
    else:
        end = _End(world.destination_writer, error)
        world.writer = RetryingWriter(end, retrier)  # type: ignore[arg-type]
    return end


async def tasks_of(world: World, count: int = OBJECTS) -> list[Task]:
    return [await world.task(await world.put(f"k{number:03}", b"bytes")) for number in range(count)]


async def deliver(world: World, workers: Sequence[Replicator], tasks: Sequence[Task]) -> list[Delivered]:
    """Each task once, to the workers in turn."""
    deliveries = [Delivered(encode(task)) for task in tasks]
    for number, delivery in enumerate(deliveries):
        await workers[number % len(workers)].replicate(delivery)
    return deliveries


def left(tasks: Sequence[Task], deliveries: Sequence[Delivered]) -> list[Task]:
    return [task for task, delivery in zip(tasks, deliveries, strict=True) if delivery.fate == ["nack"]]


def no_room() -> ObjectError:
    return failure(OSError(errno.ENOSPC, "no"), "k")


@pytest.mark.parametrize("at_source", [True, False], ids=["source", "destination"])
@pytest.mark.parametrize(
    "error",
    [lambda: Forbidden("no"), lambda: Unauthenticated("expired"), lambda: LocationMissing("no bucket"), no_room],
    ids=["forbidden", "unauthenticated", "location_missing", "disk full"],
)
async def test_an_end_that_refuses_everything_holds_its_route(world: World, lines, error, at_source: bool) -> None:
    # Given an end that refuses every object, two workers, and far more objects than it takes to see that
    end = broken(world, error, at_source=at_source)
    tasks = await tasks_of(world)
    workers = [world.replicator("worker-1"), world.replicator("worker-2")]

    # When their tasks are delivered, and again all through the pauses of an hour
    waiting = tasks
    for _ in range(20):
        waiting = left(waiting, await deliver(world, workers, waiting))
        world.now += 180

    # Then only a few have asked in vain and failed, and the others wait, with every attempt that they had
    few = 2 * HOLD_AFTER + FREE_TRIALS
    assert HOLD_AFTER <= end.asked <= few + 12
    assert len(waiting) >= OBJECTS - few - 12
    # And it was said once, with which end it is
    said = [(line["route"], line["end"], line["level"]) for line in lines() if line.get("action") == "route_held"]
    assert said == [(ROUTE, "source" if at_source else "destination", "error")]
    job = await world.job()
    assert job.parked is None or job.parked.held.startswith("source" if at_source else "destination")


async def test_it_goes_on_by_itself_and_nothing_more_has_failed(world: World, lines) -> None:
    # Given a held route
    end = broken(world, lambda: Unauthenticated("expired"), at_source=True)
    tasks = await tasks_of(world)
    workers = [world.replicator("worker-1"), world.replicator("worker-2")]
    waiting = left(tasks, await deliver(world, workers, tasks))
    asked = end.asked
    assert len(waiting) == OBJECTS
    assert {each.delay for each in await deliver(world, workers, waiting)} == {PAUSES[0]}
    assert end.asked == asked

    # When the credentials are renewed, and the pause is over
    end.refuses = lambda _: False
    world.now += PAUSES[0]
    rounds = 0
    while waiting:
        waiting = left(waiting, await deliver(world, workers, waiting))
        world.now += 5
        rounds += 1

    # Then every object arrives, at once, and that is said once
    assert rounds <= 2
    assert [line["route"] for line in lines() if line.get("action") == "route_goes_on"] == [ROUTE]
    job = await world.job()
    assert (job.moved, job.failed, job.parked) == (OBJECTS, 0, None)


async def test_one_worker_tries_one_object_and_pauses_double(world: World) -> None:
    # Given a held route
    end = broken(world, lambda: Unauthenticated("expired"), at_source=False)
    tasks = await tasks_of(world)
    workers = [world.replicator(f"worker-{number}") for number in range(3)]
    await deliver(world, workers, tasks)
    asked = end.asked

    # When each pause is over, and all workers get all tasks
    pauses = []
    for trial in range(1, 7):
        parked = (await world.job()).parked
        assert parked is not None
        pauses.append(parked.until - world.now)
        world.now = parked.until
        await deliver(world, workers, tasks)
        # Then one object is tried
        assert end.asked == asked + trial

    # And the pauses grow up to the longest
    assert pauses == [15, 30, 60, 120, 240, 300]


async def test_what_others_have_under_way_when_a_route_is_held_does_not_count(world: World) -> None:
    # Given many objects in the middle of being read when the source begins to refuse
    end = broken(world, lambda: Forbidden("no"), at_source=True)
    gate, plain = asyncio.Event(), end.read

    async def late(key: str, *args: Any) -> Any:
        await gate.wait()
        return await plain(key, *args)

    end.read = late  # type: ignore[method-assign]
    deliveries = [Delivered(encode(task)) for task in await tasks_of(world)]
    replicator = world.replicator()
    working = [asyncio.create_task(replicator.replicate(delivery)) for delivery in deliveries]

    # When all of them are refused
    gate.set()
    await asyncio.gather(*working)

    # Then none has failed but those before the hold
    assert sum(delivery.fate == ["reject"] for delivery in deliveries) < HOLD_AFTER
    assert sum(delivery.fate == ["nack"] for delivery in deliveries) > OBJECTS - HOLD_AFTER


async def test_one_refused_object_among_good_ones_never_holds_its_route(world: World, lines) -> None:
    # Given a source in which every third object is refused, and one that is refused again and again
    end = broken(world, lambda: Forbidden("no"), at_source=True)
    end.refuses = lambda key: int(key[1:]) % 3 == 0
    tasks = await tasks_of(world)
    replicator = world.replicator()

    # When all are delivered
    deliveries = await deliver(world, [replicator], tasks)
    again = await deliver(world, [replicator], [tasks[0]] * 2 * HOLD_AFTER)

    # Then those are reported at once, and the others have arrived
    assert [each.fate[0] for each in deliveries] == ["reject" if number % 3 == 0 else "ack" for number in range(OBJECTS)]
    assert report.decode(deliveries[0].report).category == "forbidden"
    assert {each.fate[0] for each in again} == {"reject"}
    assert not [line for line in lines() if line.get("action") == "route_held"]


async def test_what_says_nothing_of_the_location_never_holds_it(world: World) -> None:
    broken(world, lambda: Unavailable("503"), at_source=False)
    deliveries = await deliver(world, [world.replicator()], await tasks_of(world))
    assert (await world.job()).parked is None
    assert {each.fate[0] for each in deliveries} == {"nack"}


async def test_a_route_of_which_only_refused_objects_are_left_comes_to_its_end(world: World) -> None:
    # Given as many refused objects as hold a route, and nothing else
    broken(world, lambda: Forbidden("no"), at_source=True)
    waiting = await tasks_of(world, 2 * HOLD_AFTER)
    replicator = world.replicator()

    # When time passes
    rounds = 0
    while waiting and rounds < 200:
        waiting = left(waiting, await deliver(world, [replicator], waiting))
        world.now += PAUSES[1]
        rounds += 1

    # Then they have all been reported, one for each trial after the first few
    assert not waiting
    job = await world.job()
    assert job.failed == 2 * HOLD_AFTER
    assert rounds >= FREE_TRIALS


async def test_a_trial_that_shows_nothing_makes_room_for_the_next(world: World) -> None:
    # Given a held route whose source is well again, and an object that has meanwhile gone from it
    end = broken(world, lambda: Forbidden("no"), at_source=True)
    tasks = await tasks_of(world)
    replicator = world.replicator()
    waiting = left(tasks, await deliver(world, [replicator], tasks))
    end.refuses = lambda _: False
    world.now += PAUSES[0]

    # When somebody else has that object at the moment of the trial, and then another one is delivered
    await world.cache.claim([Claim(ROUTE, waiting[0].key, waiting[0].version.token, "worker-9", 60)])
    busy, next_one = await deliver(world, [replicator], waiting[:2])

    # Then that is the next trial, and the route goes on
    assert (busy.fate, next_one.fate) == (["nack"], ["ack"])
    assert (await deliver(world, [replicator], waiting[2:3]))[0].fate == ["ack"]
