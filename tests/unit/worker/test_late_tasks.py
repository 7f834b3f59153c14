"""A task for a version that is not the source's current one never overwrites: on every path, for every kind of source."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from common.config import Settings, StoreOptions
from common.location import Location
from common.steps import Step
from common.storage import file, gcs, s3
from common.storage.base import MIB
from common.storage.gdrive.control import Drive
from common.storage.gdrive.reader import DriveReader
from common.task import encode
from common.transport.http import Transport
from tests.fakes.drive import DriveServer
from tests.fakes.gcs import GcsServer
from tests.fakes.s3 import S3Server
from tests.fakes.s3.store import Versioning
from tests.unit.storage.s3_ends import SETTINGS
from tests.unit.worker.conftest import Delivered, World, noise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from common.storage.base import Reader

SOURCES = ["s3 with versions", "s3", "gcs", "drive, revised", "drive, another file", "drive, renamed", "file"]
SMALL, LARGE = 4000, 2 * MIB + 17


@dataclass
class Source:
    """A store with an object "k", and a way to put another version there."""

    reader: Reader
    put: Callable[[bytes], object]


@asynccontextmanager
async def source(kind: str, tmp_path: Path) -> AsyncIterator[Source]:
    transport = Transport()
    service, _, how = kind.partition(", ")
    try:
        if service == "file":
            yield Source(
                file.reader(Location.parse(f"file://{tmp_path}"), StoreOptions(), Settings(), transport),
                (tmp_path / "k").write_bytes,
            )
        elif service == "drive":
            async with DriveServer() as drive:
                yield Source(_of_drive(drive, transport), lambda data: _put_on_drive(drive, how, data))
        elif service == "gcs":
            async with GcsServer(buckets=["demo"]) as cloud:
                options = StoreOptions(endpoint=cloud.url)
                reader = gcs.reader(Location.parse("gs://demo"), options, Settings(), transport)
                yield Source(reader, lambda data: cloud.put("demo", "k", data))
        else:
            async with S3Server(buckets=["demo"]) as server:
                if how := service.partition(" with ")[2]:
                    server.bucket("demo").versioning = Versioning.ENABLED
                options = StoreOptions(endpoint=server.url, region=server.region, compat="aws")
                reader = s3.reader(Location.parse("s3://demo"), options, SETTINGS, transport)
                yield Source(reader, lambda data: server.put("demo", "k", data))
    finally:
        await transport.close()


def _of_drive(server: DriveServer, transport: Transport) -> Reader:
    options = StoreOptions(endpoint=server.url)
    return DriveReader(Drive(options, Settings(), transport, write=False), Location.parse("gdrive://root"), options)


def _put_on_drive(server: DriveServer, how: str, data: bytes) -> None:
    there = [item["id"] for item in server.files() if item["name"] == "k" and not item["trashed"]]
    if there and how == "revised":
        server.seed.change(server.store.get(there[0]), {"data": data})
        return
    for file_id in there:
        away = {"name": "elsewhere"} if how == "renamed" else {"trashed": True}
        server.seed.change(server.store.get(file_id), away)
    server.put("k", data)


async def listed(world: World) -> bytes:
    """The payload of a task for the object as it is now."""
    found = await world.reader.stat("k")
    assert found is not None
    return encode(await world.task(found))


async def deliver(world: World, payload: bytes) -> list[str]:
    delivery = Delivered(payload)
    await world.replicator().replicate(delivery)
    return delivery.fate


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["whole", "in parts"])
@pytest.mark.parametrize("kind", SOURCES)
async def test_a_delivery_that_comes_back_late_does_not_overwrite(world: World, tmp_path: Path, kind: str, size: int) -> None:
    async with source(kind, tmp_path) as at:
        # Given an object that was replaced after it was listed, and whose second version is copied
        world.reader = at.reader
        at.put(noise(size))
        first = await listed(world)
        at.put(noise(size))
        second = await listed(world)
        assert await deliver(world, second) == ["ack"]  # and here its worker dies: the delivery is not acknowledged

        # And the third one is copied meanwhile
        third = noise(size)
        at.put(third)
        assert await deliver(world, await listed(world)) == ["ack"]
        writes = world.destination_store.writes

        # When the old deliveries come, then nothing is written over the newer version
        for late in (second, first):
            assert await deliver(world, late) == ["ack"]
        assert world.destination_store.writes == writes
        assert await world.arrived("k") == third
        assert world.destination_store.uploads == {}


@pytest.mark.parametrize("kind", SOURCES)
async def test_what_is_replaced_while_its_parts_are_moved_is_not_put_together(world: World, tmp_path: Path, kind: str) -> None:
    async with source(kind, tmp_path) as at:
        # Given an object in parts of which somebody puts another version there when the last part has been written
        world.reader = at.reader
        at.put(noise(LARGE))
        payload = await listed(world)
        parts = iter([False, False, True])
        newer = noise(LARGE)

        def and_then_it_changes(step: Step) -> None:
            if step is Step.PART_WRITTEN and next(parts):
                at.put(newer)

        world.on_step = and_then_it_changes

        # When it is moved, then nothing appears under its name, and a task for the newer version is on its way
        assert await deliver(world, payload) == ["ack"]
        assert await world.destination_writer.stat("k") is None
        world.on_step = world.steps.append
        (successor,) = world.queue.messages
        assert await deliver(world, successor) == ["ack"]
        assert await world.arrived("k") == newer
        assert world.destination_store.uploads == {}
