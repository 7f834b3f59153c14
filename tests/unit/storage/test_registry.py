"""The table of backends, and the order of the wrappers around one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest

from common.config import Route, Settings, WorkerSettings
from common.errors import Unavailable
from common.location import SCHEMES, Location
from common.objects import Headers
from common.storage import memory, registry
from common.storage.base import Absent, Body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.storage.base import Precondition, Reader, Writer
    from common.transport.http import Transport


@pytest.fixture
def route(fresh: str) -> Iterator[Route]:
    location = Location.parse(f"memory://{fresh}")
    memory.create(fresh)
    yield Route(name="test", source=location, destination=location)
    memory.drop(fresh)


class Counted:
    """Passes calls on, counts them, and fails the first of them if it is told to."""

    def __init__(self, inner: Any, failures: int = 0) -> None:
        self.limits = inner.limits
        self.calls = 0
        self._inner = inner
        self._failures = failures

    async def stat(self, key: str) -> Any:
        self._count()
        return await self._inner.stat(key)

    async def put(self, key: str, body: Body, precondition: Precondition) -> Any:
        self._count()
        return await self._inner.put(key, body, precondition)

    def _count(self) -> None:
        self.calls += 1
        if self.calls <= self._failures:
            raise Unavailable("told to")


def test_every_scheme_has_a_backend() -> None:
    # Given the schemes that a location may have
    # When they are looked up
    # Then each has one, and no backend is without a scheme
    assert set(registry.BACKENDS) == set(SCHEMES)


async def test_retries_lie_between_the_hooks(route: Route, transport: Transport) -> None:
    # Given a backend that fails twice, and hooks on both sides of the retries
    hooked: dict[str, Counted] = {}
    naps: list[float] = []

    def inside(inner: Any) -> Any:
        return hooked.setdefault("inside", Counted(inner, failures=2))

    def outside(inner: Any) -> Any:
        return hooked.setdefault("outside", Counted(inner))

    async def sleep(seconds: float) -> None:
        naps.append(seconds)

    settings = Settings(worker=WorkerSettings(attempts=3, backoff_seconds=2))
    writer: Writer = registry.open_writer(
        route, settings, transport, inside=inside, outside=outside, sleep=sleep, dice=lambda: 1.0
    )

    # When something is put
    await writer.put("key", Body(b"x", google_crc32c.value(b"x"), Headers()), Absent())

    # Then the inner hook met every attempt and the outer one met the call; the settings said how long to wait
    assert (hooked["inside"].calls, hooked["outside"].calls) == (3, 1)
    assert naps == [2.0, 4.0]

    # And the same holds for a reader
    hooked.clear()
    reader: Reader = registry.open_reader(
        route, settings, transport, inside=inside, outside=outside, sleep=sleep, dice=lambda: 1.0
    )
    assert await reader.stat("key") is not None
    assert (hooked["inside"].calls, hooked["outside"].calls) == (3, 1)


async def test_source_and_destination_are_the_route_s_own(fresh: str, transport: Transport) -> None:
    # Given a route between two stores
    memory.create(f"{fresh}-a")
    memory.create(f"{fresh}-b")
    route = Route(
        name="test", source=Location.parse(f"memory://{fresh}-a/in"), destination=Location.parse(f"memory://{fresh}-b/out")
    )

    # When something is written to its destination
    writer = registry.open_writer(route, Settings(), transport)
    reader = registry.open_reader(route, Settings(), transport)
    await writer.put("key", Body(b"x", google_crc32c.value(b"x"), Headers()), Absent())

    # Then the source does not have it
    assert await reader.stat("key") is None
    assert memory.create(f"{fresh}-b").get(b"out/key") is not None
    memory.drop(f"{fresh}-a")
    memory.drop(f"{fresh}-b")
