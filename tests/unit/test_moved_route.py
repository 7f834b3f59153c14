"""A route keeps its name and gets another destination: everything arrives there, and nothing goes on where it went before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.config import RedisSettings, Route, Settings, StoreOptions
from common.ends import ends_of
from common.errors import Unavailable
from common.location import Location
from common.state.cache import Cache
from common.state.route_ends import RouteEnds
from common.state.store import Store
from common.state.uploads import Uploads
from common.steps import Step
from common.storage import memory
from common.storage.base import MIB
from common.task import decode
from common.transport.http import Transport
from publisher.moved import Moved
from tests.pair import Pair
from tests.unit.worker.conftest import NOW, ROUTE, World, noise
from worker.carry import Rules
from worker.replicate import Ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.base import Reader, Writer


class Led:
    """A route that leads from the world's source to one place or another, with publisher and worker of the same settings."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.places = [f"memory://{name}-destination/to", f"memory://{name}-elsewhere"]
        memory.create(f"{name}-elsewhere")

    def route(self, place: int) -> Route:
        source, destination = Location.parse(f"memory://{self.name}-source"), Location.parse(self.places[place])
        return Route(name=ROUTE, source=source, destination=destination)

    def pair(self, place: int) -> Pair:
        route, settings = self.route(place), Settings()
        ends = {ROUTE: ends_of(route, settings).digest}
        self.world.cache = Cache(self.world.redis, clock=lambda: NOW, ends=ends)
        self.world.uploads = Uploads(self.world.redis, ends)
        writer: Writer = memory.writer(route.destination, StoreOptions(), settings, Transport())
        return Pair(self.world, route, Ends(self.world.source_reader, writer, Rules.of(route)), lambda: self.reader(place))

    def reader(self, place: int) -> Reader:
        return memory.reader(self.route(place).destination, StoreOptions(), Settings(), Transport())

    async def look(self, place: int) -> None:
        """As a publisher does before it opens a job."""
        moved = Moved(RouteEnds(self.world.redis), self.world.cache, lambda route: ends_of(route, Settings()))
        await moved.look(self.route(place))

    async def held(self, place: int) -> dict[str, bytes]:
        reader = self.reader(place)
        pages = [page async for page in reader.list()]
        return {each.key: (await reader.read(each.key, None, None)).data for page in pages for each in page.objects}


@pytest.fixture
async def world(redis_address: str, fresh: str) -> AsyncIterator[World]:
    store = await Store.open(RedisSettings(address=redis_address, prefix=fresh))
    yield World(fresh, store)
    memory.drop(f"{fresh}-source")
    memory.drop(f"{fresh}-destination")
    await store.close()


@pytest.fixture
async def led(world: World, fresh: str) -> AsyncIterator[Led]:
    yield Led(world, fresh)
    memory.drop(f"{fresh}-elsewhere")


async def test_everything_arrives_at_the_new_destination(led: Led, capsys: pytest.CaptureFixture[str]) -> None:
    # Given three objects that are copied
    data = {f"k{number}": noise(10) for number in range(3)}
    for key, some in data.items():
        await led.world.put(key, some)
    first = led.pair(0)
    await led.look(0)
    assert (await first.sync(reconcile=False)).moved == 3
    await led.look(0)
    assert (await first.sync(reconcile=False)).proven == 3
    # When the route leads somewhere else
    second = led.pair(1)
    await led.look(1)
    said = capsys.readouterr().err
    # Then that is said once, with both, and all three arrive there, without the destination being listed
    assert said.count("route_changed") == 1
    assert all(str(ends_of(led.route(place), Settings())) in said for place in (0, 1))
    job = await second.sync(reconcile=False)
    assert (job.listed, job.moved, job.unbalanced) == (3, 3, 0)
    assert await led.held(1) == data
    # And when it leads back, then looks find everything, and nothing is copied
    back = led.pair(0)
    await led.look(0)
    job = await back.sync(reconcile=False)
    assert (job.moved, job.proven) == (0, 3)
    assert await led.held(0) == data


async def test_an_interrupted_upload_is_begun_anew_at_the_new_destination(led: Led) -> None:
    # Given a large object of which a worker has written a part when it is stopped
    data = noise(3 * MIB + 5)
    await led.world.put("large", data)
    first = led.pair(0)
    await led.look(0)
    steps = iter(range(100))

    def stops(step: Step) -> None:
        if step is Step.PART_WRITTEN and next(steps) >= 1:
            raise Unavailable("stopped")

    led.world.on_step = stops
    with pytest.raises(AssertionError, match="nack"):
        await first.sync(reconcile=False)
    assert await led.world.uploads.find(ROUTE, "large") is not None
    led.world.on_step = led.world.steps.append
    # When the route leads somewhere else, and the old message comes back to a worker that knows
    led.pair(1)
    await led.look(1)
    second = led.pair(1)
    job = await second.sync(reconcile=False)
    # Then it arrives there, whole, and nothing of it where it went before
    assert (job.moved, job.listed) == (1, 1)
    assert await led.held(0) == {}
    assert await led.held(1) == {"large": data}
    assert await led.world.uploads.find(ROUTE, "large") is None


async def test_a_worker_with_the_old_settings_waits_for_the_new_ones(led: Led) -> None:
    # Given a route that leads somewhere else by the publisher's settings, and an object that is to go there
    await led.world.put("k", b"bytes")
    led.pair(0)
    await led.look(0)
    newer = led.pair(1)
    await led.look(1)
    job = await newer.jobs.open(ROUTE, "sweep", NOW)
    await newer.scanner.run(newer.route, job, term=1, reconcile=False)
    (message,) = newer.tasks.messages
    # When a worker that has not heard of it gets the task
    led.world.patience = 900
    led.pair(0)
    delivery = await led.world.replicate(decode(message))
    # Then the task waits, and nothing is written anywhere
    assert (delivery.fate, delivery.delay > 0) == (["nack"], True)
    assert (await led.held(0), await led.held(1)) == ({}, {})
    # When one gets it that has, then it is copied
    led.pair(1)
    assert (await led.world.replicate(decode(message))).fate == ["ack"]
    assert await led.held(1) == {"k": b"bytes"}


async def test_a_task_of_the_old_pair_goes_where_the_route_leads_now(led: Led) -> None:
    # Given a task that was sent before the route led somewhere else
    await led.world.put("k", b"bytes")
    older = led.pair(0)
    await led.look(0)
    job = await older.jobs.open(ROUTE, "sweep", NOW)
    await older.scanner.run(older.route, job, term=1, reconcile=False)
    (message,) = older.tasks.messages
    # When a worker with the new settings gets it
    newer = led.pair(1)
    await led.look(1)
    assert (await led.world.replicate(decode(message))).fate == ["ack"]
    # Then the object is at the new place, and counted by the next job as what it is
    assert (await led.held(0), await led.held(1)) == ({}, {"k": b"bytes"})
    following = await newer.sync(reconcile=False)
    assert (following.listed, following.proven, following.unbalanced) == (1, 1, 0)
