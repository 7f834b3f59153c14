"""Objects of which an end states no checksum: moved, and said to be so; and what says to be ours and is of other bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from common.checksums import crc32c
from common.objects import StoredObject, Version
from common.storage import s3
from common.storage.memory import LIMITS
from tests.unit.worker.conftest import ROUTE, World, noise
from worker.verify import End, unproven

if TYPE_CHECKING:
    from common.storage.base import Absent, Body, Limits, Matches

FOUND = StoredObject("k", 1, Version("v"))
AFAR = s3.LIMITS


class _End:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits


@pytest.mark.parametrize(
    ("reader", "source", "writer", "written", "said"),
    [
        (AFAR, FOUND, AFAR, FOUND, (End.SOURCE, End.DESTINATION)),
        (AFAR, replace(FOUND, md5="0"), AFAR, replace(FOUND, crc32c=1), ()),
        (AFAR, replace(FOUND, digests={"sha1": "0"}), AFAR, FOUND, (End.DESTINATION,)),
        (LIMITS, FOUND, AFAR, replace(FOUND, crc32c=0), ()),
        (AFAR, FOUND, LIMITS, FOUND, (End.SOURCE,)),
    ],
)
def test_an_end_that_states_nothing_is_named(
    reader: Limits, source: StoredObject, writer: Limits, written: StoredObject, said: tuple[End, ...]
) -> None:
    ends: Any = _End(reader), _End(writer)
    assert unproven(ends[0], source, ends[1], written) == said


class _Careless:
    """A destination that compares nothing and keeps what arrives: the first `damaged` objects with a wrong byte."""

    def __init__(self, world: World, *, damaged: int, states: bool = True) -> None:
        self._inner = world.destination_writer
        self._damaged = damaged
        self._states = states
        self.limits = replace(LIMITS, preconditions=False, compares_bytes=False, on_this_machine=False)

    async def stat(self, key: str) -> StoredObject | None:
        found = await self._inner.stat(key)
        return found if found is None or self._states else replace(found, crc32c=None)

    async def put(self, key: str, body: Body, precondition: Absent | Matches) -> StoredObject:
        if self._damaged:
            self._damaged -= 1
            data = body.data[:-1] + bytes([body.data[-1] ^ 1])
            body = replace(body, data=data, crc32c=crc32c(data))
        written = await self._inner.put(key, body, precondition)
        return written if self._states else replace(written, crc32c=None)


async def test_wrong_bytes_that_were_stored_are_not_taken_for_ours_the_next_time(world: World) -> None:
    # Given a destination that compares nothing, and says truly what it has stored
    world.writer = _Careless(world, damaged=1)  # type: ignore[assignment]
    data = noise(1000)
    task = await world.task(await world.put("k", data))

    # When an object is damaged on the way there, then it is no success
    assert (await world.replicate(task)).fate == ["nack"]
    assert await world.arrived("k") != data

    # And the next attempt writes it again, though what is there says to be made from the same version
    assert (await world.replicate(task)).fate == ["ack"]
    assert await world.arrived("k") == data

    # And what is there and equal is not written once more when its record is lost
    await world.cache.delete(ROUTE, None)
    writes = world.destination_store.writes
    assert (await world.replicate(task)).fate == ["ack"]
    assert world.destination_store.writes == writes


async def test_what_cannot_be_compared_at_all_is_counted(world: World) -> None:
    # Given a destination that states no checksum
    world.writer = _Careless(world, damaged=0, states=False)  # type: ignore[assignment]
    for number in range(3):
        await world.replicate(await world.task(await world.put(f"{number}", noise(10))))

    # Then the job and the worker say how many objects were moved without that proof
    assert (await world.job()).unverified == 3
