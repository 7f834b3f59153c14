"""A limit of the day: the route waits, nothing is counted against its objects, and it goes on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.errors import Parked
from common.state.agreements import Agreements
from common.storage.shared import Alone, Parking
from tests.unit.worker.conftest import NOW, ROUTE
from worker.parking import LOOK_SECONDS, ParkedRoutes

if TYPE_CHECKING:
    import pytest

    from common.objects import StoredObject
    from common.storage.base import Body, Precondition
    from tests.unit.worker.conftest import World

DAY = 24 * 3600


class _Limited:
    """A destination whose day is over."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.limits = inner.limits
        self.over = True
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        self.asked += 1
        if self.over:
            raise Parked("the user has uploaded 750 GB in a day", until=NOW + DAY)
        stored: StoredObject = await self._inner.put(key, body, precondition)
        return stored


async def test_a_used_up_day_parks_the_route_and_counts_no_attempt(world: World) -> None:
    # Given a destination that takes no more today, and far more objects than an object has attempts
    limited = _Limited(world.writer)
    world.writer = limited
    tasks = [await world.task(await world.put(f"key-{number}", b"bytes")) for number in range(12)]

    # When their tasks are delivered, to two workers
    delivered = [await world.replicate(task, f"worker-{number % 2}") for number, task in enumerate(tasks)]
    again = [await world.replicate(tasks[0]) for _ in range(8)]

    # Then each goes back to the queue for as long as it takes one back, nothing is reported, and only one has asked
    assert all((each.fate, each.delay) == (["nack"], 600) for each in [*delivered, *again])
    assert limited.asked == 1

    # And when the clock passes the reset, they arrive
    limited.over, world.now = False, NOW + DAY
    for task in tasks:
        assert (await world.replicate(task)).fate == ["ack"]
    assert limited.asked == 13


async def test_the_last_wait_is_no_longer_than_what_is_left(world: World) -> None:
    # Given a route that is parked for 20 seconds more
    await Agreements(world.redis).park(ROUTE, Parking(NOW + 20, "the day"))

    # When a task is delivered
    delivery = await world.replicate(await world.task(await world.put("key", b"bytes")))

    # Then it comes again then
    assert (delivery.fate, delivery.delay) == (["nack"], 20)


async def test_other_routes_go_on_and_hear_nothing() -> None:
    # Given a route that is parked
    now = [1000.0]
    parked = ParkedRoutes(Alone(lambda: now[0]), lambda: now[0])
    assert await parked.park("photos", Parked("the day is over", until=2000)) == 1000

    # Then another is not
    assert await parked.seconds("photos") == 1000
    assert await parked.seconds("videos") == 0
    # And with its time its waiting ends
    now[0] = 2000
    assert await parked.seconds("photos") == 0


async def test_it_is_said_once_and_once_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a clock, a route, and what is said
    said: list[str] = []
    monkeypatch.setattr("worker.parking.log", _Said(said))
    now = [1000.0]
    parked = ParkedRoutes(Alone(lambda: now[0]), lambda: now[0])

    # When a hundred objects meet the limit, and a hundred come later
    for number in range(100):
        await parked.park("photos", Parked("the day is over", until=2000 + number))
    for _ in range(100):
        await parked.seconds("photos")
    now[0] = 2099
    for _ in range(100):
        await parked.seconds("photos")

    # Then the log has a line for the beginning and one for the end
    assert said == ["route_parked", "route_resumed"]


async def test_a_worker_hears_of_what_another_was_told() -> None:
    # Given two workers, one of which has looked already
    now = [1000.0]
    shared = Alone(lambda: now[0])
    one, other = ParkedRoutes(shared, lambda: now[0]), ParkedRoutes(shared, lambda: now[0])
    assert await other.seconds("photos") == 0

    # When the first is told of the limit
    await one.park("photos", Parked("the day is over", until=5000))

    # Then the other knows after its next look
    now[0] += LOOK_SECONDS
    assert await other.seconds("photos") == 5000 - now[0]


class _Said:
    def __init__(self, actions: list[str]) -> None:
        self._actions = actions

    def warning(self, text: str, **fields: Any) -> None:
        assert text
        self._actions.append(fields["action"])

    info = warning
