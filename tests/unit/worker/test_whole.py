"""An object in parts against what its source states of the whole: damage in any part, faults at others, and workers that die."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from common import report
from common.checksums import crc32c, crc64nvme
from common.config import Settings, StoreOptions
from common.errors import ChecksumMismatch, Unavailable
from common.location import Location
from common.objects import StoredObject, Version
from common.state.cache import Kind
from common.state.uploads import Saved
from common.steps import Step
from common.storage import gcs, s3
from common.storage.base import MIB, Absent, PartReceipt
from common.storage.gdrive.control import Drive
from common.storage.gdrive.reader import DriveReader
from common.storage.retry import Policy, Retrier, RetryingReader
from common.task import encode
from common.transport.http import Transport
from tests.fakes.drive import DriveServer, Fault
from tests.fakes.drive import Kind as Faults
from tests.fakes.gcs import GcsServer
from tests.fakes.s3 import S3Server
from tests.unit.storage.s3_ends import SETTINGS
from tests.unit.worker.conftest import ATTEMPTS, ROUTE, Delivered, World, noise
from worker.whole import Whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.objects import Span
    from common.storage.base import Content, Reader, Writer

PARTS = 4
DATA = noise((PARTS - 1) * MIB + 4321)
SOURCES = ["drive", "drive, by MD5", "s3, crc64nvme", "s3, sha256", "s3, crc32", "s3, md5", "gcs"]
IN_ORDER = ["drive", "s3, sha256", "s3, md5"]
"""Those whose checksum goes through the bytes in their order."""


@dataclass
class Way:
    """The way from a source: it damages or refuses the parts that begin at these bytes, so many times."""

    inner: Reader
    damaged: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    read_from: Counter[int] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        assert span is not None
        self.read_from[span.start] += 1
        if self.refused[span.start] > 0:
            self.refused[span.start] -= 1
            raise Unavailable("503")
        content = await self.inner.read(key, span, version)
        if self.damaged[span.start] > 0:
            self.damaged[span.start] -= 1
            return replace(content, data=content.data[:-1] + bytes([content.data[-1] ^ 1]))
        return content


@asynccontextmanager
async def source(kind: str) -> AsyncIterator[Way]:
    """A store that holds DATA as "k" and states one checksum of it."""
    transport = Transport()
    opened, reader = await _opened(kind, transport)
    async with opened:
        try:
            yield Way(reader())
        finally:
            await transport.close()


async def _opened(kind: str, transport: Transport) -> tuple[Any, Any]:
    service, _, checksum = kind.partition(", ")
    if service == "drive":
        drive = DriveServer()
        drive.put("k", DATA)

        def of_drive() -> Reader:
            options = StoreOptions(endpoint=drive.url)
            reader = DriveReader(Drive(options, Settings(), transport, write=False), Location.parse("gdrive://root"), options)
            if checksum:
                without_sha256(reader)
            return reader

        return drive, of_drive
    if service == "gcs":
        cloud = GcsServer(buckets=["demo"])
        cloud.put("demo", "k", DATA)
        return cloud, lambda: gcs.reader(Location.parse("gs://demo"), StoreOptions(endpoint=cloud.url), Settings(), transport)
    buckets = S3Server(buckets=["demo"], new=checksum != "md5")
    buckets.put("demo", "k", DATA, checksum=checksum.upper() if checksum in ("sha256", "crc32") else None)
    return buckets, lambda: s3.reader(
        Location.parse("s3://demo"), StoreOptions(endpoint=buckets.url, region=buckets.region, compat="aws"), SETTINGS, transport
    )


def without_sha256(reader: DriveReader) -> None:
    """As Drive describes files of before it kept SHA-256."""
    stored = reader._tree.stored

    def older(item: dict[str, Any], key: str) -> StoredObject:
        return stored({name: value for name, value in item.items() if name != "sha256Checksum"}, key)

    reader._tree.stored = older  # type: ignore[method-assign]


def retrying(way: Way) -> Reader:
    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    return RetryingReader(way, Retrier(Policy(attempts=3, first_delay=0.0), at_once, lambda: 0.0, at_source=True))


def in_sequence(writer: Any) -> Writer:
    """A destination that takes parts one behind the other."""
    writer.limits = replace(writer.limits, parallel_parts=False)
    return cast("Writer", writer)


async def begun(world: World, way: Way, *, parallel: bool = True) -> bytes:
    """The payload of a task for the object at the end of the way."""
    world.reader = retrying(way)
    if not parallel:
        world.writer = in_sequence(world.destination_writer)
    found = await world.reader.stat("k")
    assert found is not None
    return encode(await world.task(found))


async def deliver(world: World, payload: bytes) -> Delivered:
    delivery = Delivered(payload)
    await world.replicator().replicate(delivery)
    return delivery


async def assert_nothing_is_there(world: World) -> None:
    assert await world.destination_writer.stat("k") is None
    assert world.destination_store.uploads == {}
    assert await world.uploads.find(ROUTE, "k") is None
    assert await world.cache.get(ROUTE, Kind.CONSUMED, "k") is None
    assert world.budget.held == 0


@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "in sequence"])
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", SOURCES)
async def test_damage_in_any_part_begins_the_object_anew(world: World, kind: str, part: int, parallel: bool) -> None:
    # Given a way on which one part is damaged once, while others are refused at first
    async with source(kind) as way:
        way.damaged[part * MIB] = 1
        way.refused.update({other * MIB: 1 for other in range(PARTS) if other != part})
        payload = await begun(world, way, parallel=parallel)

        # When the object is moved
        first = await deliver(world, payload)

        # Then it does not arrive, and nothing is left to be gone on with
        assert first.fate == ["nack"]
        await assert_nothing_is_there(world)

        # And the next attempt reads every part afresh, and brings it
        assert (await deliver(world, payload)).fate == ["ack"]
        assert await world.arrived("k") == DATA
        assert world.destination_store.writes == 1


@pytest.mark.parametrize("kind", SOURCES)
async def test_damage_each_time_is_a_mismatch_and_no_object(world: World, kind: str) -> None:
    # Given a way on which the same part is damaged each time
    async with source(kind) as way:
        way.damaged[MIB] = 1000
        payload = await begun(world, way)

        # When all attempts are used up
        for _ in range(ATTEMPTS - 1):
            assert (await deliver(world, payload)).fate == ["nack"]
        last = await deliver(world, payload)

        # Then the object is reported as what it is, and nothing of it is there
        assert last.fate == ["reject"]
        assert report.decode(last.report).category == "checksum_mismatch"
        await assert_nothing_is_there(world)


@pytest.mark.parametrize("kind", SOURCES)
async def test_parts_that_are_asked_for_again_are_compared_like_all_others(world: World, kind: str) -> None:
    # Given a way on which every part is refused at first, and none is damaged
    async with source(kind) as way:
        way.refused.update({part * MIB: 2 for part in range(PARTS)})
        payload = await begun(world, way)

        # When the object is moved, then it arrives in one attempt, each part read once
        assert (await deliver(world, payload)).fate == ["ack"]
        assert await world.arrived("k") == DATA
        assert set(way.read_from.values()) == {3}


async def killed(world: World, payload: bytes, *, after: int) -> None:
    """A worker that dies when so many parts are written."""
    reached, seen = asyncio.Event(), Counter[Step]()

    def count(step: Step) -> None:
        seen[step] += 1
        if seen[Step.PART_WRITTEN] == after:
            reached.set()

    world.on_step = count
    working = asyncio.create_task(world.replicator().replicate(Delivered(payload)))
    await reached.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    world.on_step = world.steps.append


@pytest.mark.parametrize("kind", SOURCES)
async def test_an_upload_is_gone_on_with_and_is_no_less_proven(world: World, kind: str) -> None:
    # Given a worker that died with half of the parts written
    async with source(kind) as way:
        payload = await begun(world, way, parallel=False)
        await killed(world, payload, after=3)
        saved = await world.uploads.find(ROUTE, "k")
        assert saved is not None
        arrived = len(saved.receipts)
        assert 0 < arrived < PARTS
        way.read_from.clear()

        # When another goes on
        assert (await deliver(world, payload)).fate == ["ack"]

        # Then the object is whole; where its checksum goes through all bytes they have been read, and else only the rest
        assert await world.arrived("k") == DATA
        assert len(way.read_from) == (PARTS if kind in {*IN_ORDER, "drive, by MD5", "s3, crc32"} else PARTS - arrived)


@pytest.mark.parametrize("kind", SOURCES)
async def test_damage_before_a_kill_is_noticed_after_it(world: World, kind: str) -> None:
    # Given a worker that wrote a damaged part and died
    async with source(kind) as way:
        way.damaged[0] = 1
        payload = await begun(world, way, parallel=False)
        await killed(world, payload, after=3)

        # When another goes on
        second = await deliver(world, payload)

        # Then the object does not arrive, the upload is given up, and a third brings it
        assert second.fate == ["nack"]
        await assert_nothing_is_there(world)
        assert (await deliver(world, payload)).fate == ["ack"]
        assert await world.arrived("k") == DATA


@pytest.mark.parametrize("kind", IN_ORDER)
async def test_damage_after_a_kill_is_noticed_too(world: World, kind: str) -> None:
    # Given a worker that died, and a way that damages the part that is read again, or a new one
    for part in (0, PARTS - 1):
        async with source(kind) as way:
            payload = await begun(world, way, parallel=False)
            await killed(world, payload, after=3)
            way.damaged[part * MIB] = 1

            # When another goes on, then the object does not arrive
            assert (await deliver(world, payload)).fate == ["nack"]
            await assert_nothing_is_there(world)


async def test_parts_of_an_older_worker_without_the_sources_checksum_are_read_again(world: World) -> None:
    # Given an upload of a worker that did not note CRC64NVME, and whose first part was damaged
    for damaged in (True, False):
        async with source("s3, crc64nvme") as way:
            payload = await begun(world, way)
            found = await world.reader.stat("k")
            assert found is not None
            assert found.crc64nvme == crc64nvme(DATA)
            data = DATA[1 : MIB + 1] if damaged else DATA[:MIB]
            upload = await world.destination_writer.begin("k", len(DATA), found.headers, Absent())
            receipt = await upload.part(0, 0, data, crc32c(data))
            await world.uploads.begun(ROUTE, "k", Saved(upload.token, found.version.token, len(DATA), MIB, "absent"))
            await world.uploads.arrived(ROUTE, "k", receipt)

            # When a worker of today goes on, then it does not leave them out of the comparison
            delivery = await deliver(world, payload)
            assert delivery.fate == (["nack"] if damaged else ["ack"])
            assert way.read_from[0] == 1
    assert await world.arrived("k") == DATA


async def test_damage_on_the_wire_from_drive_never_becomes_an_object(world: World) -> None:
    # Given Drive's answers, one of which is damaged on the network: each in turn
    for nth in range(1, PARTS + 1):
        server = DriveServer()
        server.put("k", DATA)
        async with server:
            transport = Transport()
            options = StoreOptions(endpoint=server.url)
            reader = DriveReader(Drive(options, Settings(), transport, write=False), Location.parse("gdrive://root"), options)
            payload = await begun(world, Way(reader))
            fault = server.faults.add(Fault(Faults.CORRUPT, operation="files.get.media", nth=nth))

            # When the object is moved, then it does not arrive with the wrong byte
            assert (await deliver(world, payload)).fate == ["nack"]
            assert fault.fired == 1
            await assert_nothing_is_there(world)
            await transport.close()


async def test_without_all_parts_there_is_no_result() -> None:
    # Given a source that states an MD5, and parts of which one was not added, or has no CRC64NVME
    found = StoredObject("k", 4, Version("v"), md5="098f6bcd4621d373cade4e832627b4f6")
    halves = [PartReceipt(0, 2, crc32c(b"te")), PartReceipt(1, 2, crc32c(b"st"), crc64nvme=1)]
    whole = Whole(found)
    await whole.add(0, b"te")

    # When the whole is asked for, then it is a mismatch; and not when all have come
    with pytest.raises(ChecksumMismatch, match="MD5"):
        whole.crc32c(halves)
    await whole.add(1, b"st")
    assert whole.crc32c(halves) == crc32c(b"test")
    with pytest.raises(ChecksumMismatch, match="CRC64NVME"):
        Whole(replace(found, crc64nvme=crc64nvme(b"test"))).crc32c(halves)
    with pytest.raises(ChecksumMismatch, match="CRC32C"):
        Whole(replace(found, crc32c=1)).crc32c(halves)
