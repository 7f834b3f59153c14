"""Objects whose size shows only when they are read: documents of Drive, exported on their way to somewhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common import report
from common.errors import Unavailable
from common.objects import UNSIZED
from common.state.cache import Kind
from common.storage.names import SOURCE_SIZE, SOURCE_VERSION
from tests.fakes.drive import DriveServer
from tests.unit.storage.drive import DOCX, listed, reading
from tests.unit.worker.conftest import ROUTE, World, noise
from tests.unit.worker.test_replicate import Faulty, once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.gdrive.reader import DriveReader

KEY = "letter.docx"


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as running:
        yield running


@pytest.fixture
async def reader(server: DriveServer, world: World) -> AsyncIterator[DriveReader]:
    async with reading(server, "root", natives="export") as opened:
        world.reader = opened
        yield opened


async def test_a_document_arrives_with_the_size_that_it_turned_out_to_have(
    server: DriveServer, world: World, reader: DriveReader
) -> None:
    # Given a document
    data = noise(5000)
    server.document("letter", {DOCX: data})
    (stored,) = await listed(reader)
    assert stored.size == UNSIZED

    # When its task is delivered
    delivery = await world.replicate(await world.task(stored))

    # Then it is at the destination, whole, and the records say how large it is
    assert delivery.fate == ["ack"]
    assert await world.arrived(KEY) == data
    there = await world.destination_writer.stat(KEY)
    assert there is not None
    assert there.headers.content_type == DOCX
    assert there.headers.metadata[SOURCE_SIZE] == "5000"
    assert there.headers.metadata[SOURCE_VERSION] == stored.version.token
    record = await world.cache.get(ROUTE, Kind.CONSUMED, KEY)
    assert record is not None
    assert (record["size"], record["etag"]) == (5000, stored.version.token)
    job = await world.job()
    assert (job.moved, job.bytes) == (1, 5000)


async def test_a_document_that_is_there_is_not_copied_again(server: DriveServer, world: World, reader: DriveReader) -> None:
    # Given a document that arrived, and a cache that was lost
    server.document("letter", {DOCX: b"bytes"})
    (stored,) = await listed(reader)
    await world.replicate(await world.task(stored))
    await world.cache.delete(ROUTE, None)
    before = await world.destination_writer.stat(KEY)

    # When its task comes again
    delivery = await world.replicate(await world.task(stored))

    # Then the destination is as it was, and the proof is written again
    assert delivery.fate == ["ack"]
    assert await world.destination_writer.stat(KEY) == before
    record = await world.cache.get(ROUTE, Kind.CONSUMED, KEY)
    assert record is not None
    assert record["size"] == 5


async def test_an_export_larger_than_a_put_goes_in_parts(server: DriveServer, world: World, reader: DriveReader) -> None:
    # Given a destination that takes less in one put than the export turns out to have
    data = noise(300_000)
    server.document("letter", {DOCX: data})
    (stored,) = await listed(reader)
    writer = Faulty(world.destination_writer)
    writer.limits = replace(world.destination_writer.limits, largest_put=100_000)  # type: ignore[attr-defined]
    world.writer = writer  # type: ignore[assignment]

    # When it is moved
    delivery = await world.replicate(await world.task(stored))

    # Then it arrives in parts, whole
    assert (delivery.fate, await world.arrived(KEY)) == (["ack"], data)
    assert "begin" in writer.calls
    assert "put" not in writer.calls


async def test_a_fault_in_the_middle_is_tried_again(server: DriveServer, world: World, reader: DriveReader) -> None:
    # Given a destination that is away for a moment
    server.document("letter", {DOCX: b"bytes"})
    (stored,) = await listed(reader)
    task = await world.task(stored)
    world.writer = Faulty(world.destination_writer, put=once(Unavailable("away")))  # type: ignore[assignment]
    first = await world.replicate(task)
    second = await world.replicate(task)
    assert (first.fate, second.fate) == (["nack"], ["ack"])
    assert await world.arrived(KEY) == b"bytes"


async def test_a_document_that_was_written_on_gets_a_successor(server: DriveServer, world: World, reader: DriveReader) -> None:
    # Given a document that somebody works on between listing and moving
    document = server.document("letter", {DOCX: b"first"})
    (stored,) = await listed(reader)
    task = await world.task(stored)
    server.seed.change(server.store.get(document), {"exports": {DOCX: b"second"}})

    # When the task is delivered, then another is sent for what the document is now
    assert (await world.replicate(task)).fate == ["ack"]
    (newer,) = world.sent()
    assert (newer.size, newer.key) == (UNSIZED, KEY)
    assert (await world.replicate(newer)).fate == ["ack"]
    assert await world.arrived(KEY) == b"second"


async def test_an_export_that_is_too_large_is_told_and_not_tried_again(
    server: DriveServer, world: World, reader: DriveReader
) -> None:
    # Given a document that Google does not export
    server.settings.export_limit = 3
    server.document("letter", {DOCX: b"bytes"})
    (stored,) = await listed(reader)

    # When its task is delivered
    delivery = await world.replicate(await world.task(stored))

    # Then it is on the error topic, with what can be done
    assert delivery.fate == ["reject"]
    said = report.decode(delivery.report)
    assert said.category == "too_large"
    assert "10 MB" in said.message
