"""Files whose change time has moved: an edit in place is copied, anything else costs a reading."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from common.config import Settings, StoreOptions
from common.errors import SourceChanged
from common.location import Location
from common.objects import Version
from common.state.cache import Kind, Settled, Settlement
from common.storage import file
from common.storage.base import MIB
from common.task import encode
from common.transport.http import Transport
from tests.unit.worker.conftest import ROUTE, Delivered, World, noise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from common.objects import StoredObject

MTIME = 1_700_000_000_123_456_789


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "destination").mkdir()
    return tmp_path / "source" / "k"


def between(world: World, path: Path, *, directory: bool = False) -> World:
    """The world with the directory as its source, and another as its destination where that is wanted."""
    options, settings, transport = StoreOptions(), Settings(), Transport()
    world.reader = file.reader(Location.parse(f"file://{path.parent}"), options, settings, transport)
    if directory:
        there = Location.parse(f"file://{path.parent.parent / 'destination'}")
        world.writer = file.writer(there, options, settings, transport)
    return world


def write(path: Path, data: bytes) -> None:
    """In place, with the modification time of before."""
    with path.open("r+b" if path.exists() else "wb") as stream:
        stream.write(data)
    os.utime(path, ns=(MTIME, MTIME))


def moving_the_change_time(path: Path, change: Callable[[], object]) -> None:
    """The filesystem's clock ticks every few milliseconds: within one tick nothing can be told apart."""
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:
        change()


async def listed(world: World) -> StoredObject:
    (page,) = [page async for page in world.reader.list()]
    (found,) = page.objects
    return found


async def copied(world: World) -> str:
    """Move what is listed; the version that the destination has then."""
    delivery = Delivered(encode(await world.task(await listed(world))))
    await world.replicator().replicate(delivery)
    assert delivery.fate == ["ack"]
    found = await world.writer.stat("k")
    assert found is not None
    return found.version.token


def without_change_time(path: Path) -> str:
    status = path.stat()
    return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"


async def note(world: World, version: str, copy: str) -> None:
    """Record the object as consumed, with these versions in the place of those that it was copied with."""
    (record,) = await world.cache.lookup(ROUTE, ["k"])
    assert record.consumed is not None
    task = await world.task(await listed(world))
    receipt = record.consumed._replace(etag=version, destination_version=copy)
    settled = Settlement(ROUTE, "k", task.version.token, "worker-1", Settled.MOVED, receipt, 0)
    await world.cache.settle([settled])


@pytest.mark.parametrize("directory", [False, True], ids=["to a store", "to a directory"])
@pytest.mark.parametrize("size", [5, 5 * MIB])
async def test_a_file_rewritten_in_place_is_copied(world: World, path: Path, size: int, directory: bool) -> None:
    # Given a copied file, which is written anew in place, as long as before, and with its time put back
    write(path, noise(size))
    first = await copied(between(world, path, directory=directory))
    before = await listed(world)
    data = noise(size)
    moving_the_change_time(path, lambda: write(path, data))

    # Then it is another version, and copied
    assert (await listed(world)).version != before.version
    with pytest.raises(SourceChanged):
        await world.reader.read("k", None, before.version)
    assert await copied(world) != first
    if directory:
        assert (path.parent.parent / "destination" / "k").read_bytes() == data
    else:
        assert await world.arrived("k") == data


@pytest.mark.parametrize("directory", [False, True], ids=["to a store", "to a directory"])
@pytest.mark.parametrize("size", [0, 5, 5 * MIB])
async def test_a_new_mode_or_link_costs_no_copy(world: World, path: Path, size: int, directory: bool) -> None:
    # Given a copied file that gets another mode, and a second name, which move its change time
    write(path, noise(size))
    first = await copied(between(world, path, directory=directory))
    names = (path.parent.parent / f"another-{number}" for number in itertools.count())
    for change in (lambda: path.chmod(0o600), lambda: os.link(path, next(names))):
        before = await listed(world)
        moving_the_change_time(path, change)
        now = await listed(world)
        assert now.version != before.version

        # When the new version is moved, then nothing is written, and the version counts as copied
        assert await copied(world) == first
        known = await world.cache.get(ROUTE, Kind.CONSUMED, "k")
        assert known is not None
        assert known["etag"] == now.version.token
    assert world.budget.held == 0


async def test_a_record_of_an_older_release_costs_no_copy(world: World, path: Path) -> None:
    # Given a file and its copy, as a release that did not know the change time has noted them
    write(path, b"bytes")
    between(world, path, directory=True)
    first = await copied(world)
    old, old_copy = without_change_time(path), without_change_time(path.parent.parent / "destination" / "k")
    await note(world, old, old_copy)

    # When it is listed, then it seems changed; when it is moved, nothing is written
    assert (await listed(world)).version.token != old
    assert await copied(world) == first

    # And when an old record names the copy, a change of the file goes over it all the same
    await note(world, old, old_copy)
    moving_the_change_time(path, lambda: write(path, b"other"))
    assert await copied(world) != first
    assert (path.parent.parent / "destination" / "k").read_bytes() == b"other"


async def test_a_destination_that_is_not_the_copy_any_more_is_written(world: World, path: Path) -> None:
    # Given a copied file that gets another mode, and a destination where somebody else has written meanwhile
    write(path, b"bytes")
    await copied(between(world, path))
    found = await world.destination_writer.stat("k")
    assert found is not None
    world.destination_store.remove("to/k")
    moving_the_change_time(path, lambda: path.chmod(0o600))

    # When the new version is moved, then it is not taken for copied
    await copied(world)
    assert await world.arrived("k") == b"bytes"
    assert world.destination_store.writes == 2


def test_versions_differ_in_the_change_time_alone() -> None:
    may_be_same = file.LIMITS.may_be_same
    assert may_be_same("-5-3-7", "-5-3-7-9")
    assert may_be_same("5-3-7--9", "5-3-7")
    assert not may_be_same("5-3-7", "5-3-8")
    assert not may_be_same("5-3-7-9", "6-3-7-9")
    assert not may_be_same("etag", "etag")
    assert not file.LIMITS.may_be_same(Version("v1").token, "5-3-7")
