"""What a route does with an object at the destination that is neither a copy of ours nor equal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from common.checksums import crc32c
from common.errors import Category, DestinationTaken
from common.objects import Headers, StoredObject, Version
from common.report import decode
from common.state.cache import Kind, Receipt, Record
from common.state.flight import Flight
from common.state.records import kept_mark
from common.steps import ignore
from common.storage.base import MIB, Absent, Body, Matches
from common.storage.names import SOURCE_KEY, SOURCE_SIZE, SOURCE_VERSION
from common.storage.source_time import MTIME
from publisher.diff import Keeping, Verdict, judge
from tests.unit.worker.conftest import NOW, ROUTE, noise
from tests.unit.worker.test_look import RULES
from worker.look import Look, Seen
from worker.replicate import Ends
from worker.settle import Settler
from worker.tally import Tally

if TYPE_CHECKING:
    from common.storage.base import Writer
    from common.task import Task
    from tests.unit.worker.conftest import World
    from worker.carry import OnConflict

NOTHING = Record(None, None)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def foreign(world: World, data: bytes = b"of another", headers: Headers | None = None) -> StoredObject:
    found = await world.destination_writer.stat("k")
    expected = Absent() if found is None else Matches(found.version)
    return await world.destination_writer.put("k", Body(data, crc32c(data), headers or Headers()), expected)


def looking(writer: Writer, on_conflict: OnConflict) -> Look:
    return Look(writer, replace(RULES, on_conflict=on_conflict))


async def current(world: World, task: Task) -> StoredObject:
    found = await world.source_writer.stat(task.key)
    assert found is not None
    return found


async def seen(world: World, on_conflict: OnConflict, record: Record = NOTHING) -> tuple[bool, bool]:
    """(Whether it is written over something that is not ours, whether it is kept)."""
    task = await world.task(await world.put("k", b"the bytes"))
    look = await looking(world.writer, on_conflict).at(task, record, lambda: current(world, task))
    assert look.proven is None
    return look.foreign, look.kept


async def test_it_is_written_over_where_nothing_else_is_said(world: World) -> None:
    await foreign(world)
    assert await seen(world, "overwrite") == (True, False)


async def test_it_is_kept(world: World) -> None:
    await foreign(world)
    assert await seen(world, "keep") == (True, True)


async def test_it_is_a_failure_with_a_way_out(world: World) -> None:
    await foreign(world)
    with pytest.raises(DestinationTaken, match="on_conflict") as caught:
        await seen(world, "fail")
    assert caught.value.category is Category.DESTINATION_CONFLICT
    assert not caught.value.retryable
    assert "--update" in str(caught.value)


@pytest.mark.parametrize("on_conflict", ["overwrite", "keep", "newer", "fail"])
async def test_a_copy_of_ours_is_always_brought_up_to_date(world: World, on_conflict: OnConflict) -> None:
    # Given a copy of ours by its own word, of an older version
    metadata = {SOURCE_VERSION: "of before", SOURCE_SIZE: "10", SOURCE_KEY: RULES.origin.name("k")}
    await foreign(world, headers=Headers(metadata=metadata))
    assert await seen(world, on_conflict) == (False, False)
    # And one that has lost its metadata, and is what our receipt names
    there = await foreign(world)
    receipt = Receipt("of before", 10, None, there.version.token, 1_700_000_000, "worker")
    assert await seen(world, on_conflict, Record(None, receipt)) == (False, False)
    # But not one that the receipt does not name: somebody has replaced it
    await foreign(world, b"once more.")
    if on_conflict == "overwrite":
        assert await seen(world, on_conflict, Record(None, receipt)) == (True, False)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("on_conflict", ["overwrite", "keep", "newer", "fail"])
async def test_a_copy_of_ours_whose_bytes_nobody_can_compare_is_still_ours(
    world: World, on_conflict: OnConflict, listed: bool
) -> None:
    # Given a destination that compares nothing of what arrives, and a copy of the task's version by its own word
    world.destination_writer.limits = replace(world.writer.limits, compares_bytes=False)  # type: ignore[misc]
    task = replace(await world.task(await world.put("k", b"the bytes")), there=listed)
    metadata = {SOURCE_VERSION: task.version.token, SOURCE_SIZE: "9", SOURCE_KEY: RULES.origin.name("k")}
    there = await foreign(world, b"the bytes", Headers(metadata=metadata))

    async def at_source() -> StoredObject:
        return replace(await current(world, task), crc32c=None, md5="another kind of checksum")

    # When it is looked at because its record is lost
    look = await looking(world.writer, on_conflict).at(task, NOTHING, at_source)

    # Then it is written again, to prove it, and it is nobody else's
    assert look == Seen(Matches(there.version))


@pytest.mark.parametrize("on_conflict", ["overwrite", "keep", "newer", "fail"])
async def test_what_is_equal_is_no_conflict(world: World, on_conflict: OnConflict) -> None:
    there = await foreign(world, b"the bytes")
    task = await world.task(await world.put("k", b"the bytes"))
    look = await looking(world.writer, on_conflict).at(task, NOTHING, lambda: current(world, task))
    assert look.proven == there


@pytest.mark.parametrize(
    ("source", "destination", "kept"),
    [
        ({"modified": NOON + timedelta(microseconds=1)}, {"modified": NOON}, False),
        ({"modified": NOON, "nanoseconds": 1}, {"modified": NOON}, False),
        ({"modified": NOON}, {"modified": NOON}, True),
        ({"modified": NOON}, {"modified": NOON + timedelta(seconds=1)}, True),
        ({"modified": None}, {"modified": NOON}, True),
        ({"modified": NOON}, {"modified": None}, True),
        # What was noted of a file goes before the time of its upload, on either side
        ({"modified": NOON}, {"modified": NOON + timedelta(days=1), "headers": Headers(metadata={MTIME: "1.5"})}, False),
        ({"modified": NOON, "headers": Headers(metadata={MTIME: "1.5"})}, {"modified": NOON - timedelta(days=1)}, True),
    ],
)
async def test_the_newer_one_stays(world: World, source: dict[str, object], destination: dict[str, object], kept: bool) -> None:
    task = await world.task(await world.put("k", b"the bytes"))
    here = replace(StoredObject("k", 9, task.version), **source)  # type: ignore[arg-type]
    there = replace(StoredObject("k", 10, Version("1")), **destination)  # type: ignore[arg-type]

    class Showing:
        limits = world.writer.limits

        async def stat(self, _: str) -> StoredObject:
            return there

    async def at_source() -> StoredObject:
        return here

    look = await looking(Showing(), "newer").at(task, NOTHING, at_source)  # type: ignore[arg-type]
    assert (look.foreign, look.kept) == (True, kept)


def routed(world: World, on_conflict: OnConflict) -> None:
    world.beside[ROUTE] = Ends(world.reader, world.writer, replace(RULES, on_conflict=on_conflict))


async def judged(world: World, on_conflict: str) -> Verdict:
    """What the next sweep makes of the object."""
    found = await world.source_writer.stat("k")
    assert found is not None
    compared = await world.cache.compare(ROUTE, ["k"], [found.version.token])
    ((_, record),) = compared.differ
    return judge(found.version.token, record, NOW + 60, 3600, Keeping(on_conflict, NOW - 3600))


@pytest.mark.parametrize("size", [10, 2 * MIB], ids=["small", "in parts"])
async def test_what_is_kept_is_left_out_until_something_changes(world: World, size: int) -> None:
    # Given an object that is not ours at the destination, and a route that keeps such objects
    there = await foreign(world)
    routed(world, "keep")
    task = await world.task(await world.put("k", noise(size)))
    # When the object is to be replicated
    assert (await world.replicate(task)).fate == ["ack"]
    # Then it stays, the job has left the object out, and there is no receipt
    assert await world.destination_writer.stat("k") == there
    assert (await world.job()).left_out == {"kept": 1}
    assert await world.cache.get(ROUTE, Kind.CONSUMED, "k") is None
    record = await world.cache.get(ROUTE, Kind.PUBLISHED, "k")
    assert record is not None
    assert (record["left_out"], record["etag"]) == ("kept", task.version.token)
    # And the next sweep leaves it out as well, unless the rule is another
    assert await judged(world, "keep") is Verdict.KEPT
    assert await judged(world, "newer") is Verdict.OVERDUE
    # And the same task delivered once more changes nothing
    assert (await world.replicate(task)).fate == ["ack"]
    assert (await world.job()).left_out == {"kept": 1}
    # And a new version at the source is looked at again
    await world.put("k", noise(size))
    assert await judged(world, "keep") is Verdict.CHANGED


async def test_a_late_word_of_an_old_version_does_not_hide_the_new_one(world: World) -> None:
    # Given two versions published one after the other
    old = await world.task(await world.put("k", b"old bytes"))
    new = await world.task(await world.put("k", b"new bytes"))
    # When the old one is settled as kept
    settler = Settler(world.cache, Flight(world.redis, clock=lambda: NOW), "worker-1", Tally(), ignore)
    await settler.kept(old, kept_mark("keep", NOW))
    # Then the new one is still on its way
    record = await world.cache.get(ROUTE, Kind.PUBLISHED, "k")
    assert record is not None
    assert (record["etag"], record.get("left_out")) == (new.version.token, None)
    assert (await world.job()).in_flight == 1


async def test_what_is_written_over_is_counted_apart(world: World) -> None:
    # Given one object that is not ours at the destination, and one that is not there
    await foreign(world)
    routed(world, "overwrite")
    tasks = [await world.task(await world.put(key, b"the bytes")) for key in ("k", "other")]
    # When both are replicated, and then one once more, as ours
    for task in tasks:
        await world.replicate(task)
    await world.replicate(await world.task(await world.put("k", b"new bytes")))
    # Then one was written over what was not ours
    assert (await world.job()).overwritten == 1


async def test_where_nothing_is_to_be_written_over_the_object_fails(world: World) -> None:
    await foreign(world)
    routed(world, "fail")
    delivery = await world.replicate(await world.task(await world.put("k", b"the bytes")))
    assert delivery.fate == ["reject"]
    assert decode(delivery.report).category == Category.DESTINATION_CONFLICT
    assert world.destination_store.writes == 1
