"""From every kind of location to every other: each awkward name, each size, everything beside the bytes; compared byte for byte
and field for field.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from common.errors import Category
from common.objects import Headers
from common.report import decode
from common.storage.names import SOURCE_MODIFIED, SOURCE_SIZE, SOURCE_VERSION
from common.storage.registry import open_reader, open_writer
from common.task import Task, encode
from tests.e2e.matrix import CLASSES, DESTINATIONS, MIB, MODIFIED, SETTINGS, SOURCES, THINGS, Stage
from tests.nasty_names import NASTY
from tests.unit.worker.conftest import NOW, ROUTE, Delivered, World
from worker.carry import LENIENT, Rules
from worker.replicate import Ends

if TYPE_CHECKING:
    from common.config import Route
    from common.objects import StoredObject
    from common.storage.base import Reader, Writer
    from common.transport.http import Transport

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SIDE_BY_SIDE = 16
NO_GS_NAMES = frozenset({"only one dot", "only two dots", "acme", "newline", "carriage return", "both"})
NO_PATHS = frozenset(
    {
        "double slash",
        "many slashes",
        "leading slash",
        "slash",
        "two slashes",
        "scheme",
        "directory marker",
        "one dot",
        "two dots",
        "escape",
        "only one dot",
        "only two dots",
        "ends in dots",
        "longest, one segment",
        "longest, unicode",
        "segment of 256 bytes",
    }
)
UNHELD = {"s3": frozenset[str](), "gs": NO_GS_NAMES, "gdrive": frozenset[str](), "file": NO_PATHS}
"""Of tests.nasty_names.NASTY, what can be no name there. S3 and Drive hold every one."""
REFUSED: dict[tuple[str, str], frozenset[str]] = {
    ("s3", "gs"): NO_GS_NAMES,
    ("s3", "s3"): frozenset(),
    ("s3", "gdrive"): frozenset(),
    ("s3", "file"): NO_PATHS,
    ("s3 through a CDN", "gs"): NO_GS_NAMES,
    ("s3 through a CDN", "s3"): frozenset(),
    ("s3 through a CDN", "gdrive"): frozenset(),
    ("s3 through a CDN", "file"): NO_PATHS,
    ("gs", "gs"): frozenset(),
    ("gs", "s3"): frozenset(),
    ("gs", "gdrive"): frozenset(),
    ("gs", "file"): NO_PATHS - {"only one dot", "only two dots"},
    ("gdrive", "gs"): NO_GS_NAMES,
    ("gdrive", "s3"): frozenset(),
    ("gdrive", "gdrive"): frozenset(),
    ("gdrive", "file"): NO_PATHS,
    ("file", "gs"): NO_GS_NAMES - {"only one dot", "only two dots"},
    ("file", "s3"): frozenset(),
    ("file", "gdrive"): frozenset(),
    ("file", "file"): frozenset(),
}
"""Names that the source has and the destination cannot hold: each ends on the error topic as `invalid_name`."""


@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("source", SOURCES)
async def test_everything_arrives_as_it_is(
    world: World, stage: Stage, transport: Transport, fresh: str, source: str, destination: str
) -> None:
    # Given a source with every name that it can hold, and a route that lets nothing be lost
    route = stage.route(source, destination, fresh)
    ends = Ends(open_reader(route, SETTINGS, transport), open_writer(route, SETTINGS, transport), Rules.of(route))
    world.beside[fresh] = ends
    scheme = route.source.scheme
    due = {key for label, key in NASTY.items() if label not in UNHELD[scheme]} | (THINGS.keys() - NASTY.values())
    stage.edge.paths.clear()

    # When all that is listed there is replicated
    found = [each async for page in ends.reader.list() for each in page.objects]
    assert sorted(each.key for each in found) == sorted(due)
    deliveries = await replicated(world, route, found)

    # Then the names that the destination cannot hold are on the error topic, as what they are, and no others
    refused = {key: decode(delivery.report) for key, delivery in deliveries.items() if delivery.fate == ["reject"]}
    assert {report.category for report in refused.values()} <= {Category.INVALID_NAME}, refused
    assert refused.keys() == {NASTY[label] for label in REFUSED[source, destination]}
    assert all(delivery.fate == ["ack"] for key, delivery in deliveries.items() if key not in refused)

    if route.cdn is not None:
        assert len(stage.edge.paths) > len(found) / 2  # or S3 has been asked for what the edge was there for

    # And everything else is there, byte for byte, under its own name, and nothing beside it
    held = stage.held(route)
    assert held.keys() == due - refused.keys()
    assert [key for key, data in held.items() if data != THINGS[key].data] == []

    # And field for field, with proof of what it was made from
    there = {"source": route.destination, "source_options": route.destination_options, "cdn": None}
    back = open_reader(route.model_copy(update=there), SETTINGS, transport)
    for each in found:
        if each.key in held:
            await compared(ends.reader, back, each)
    await dated(stage, route, back, {each.key: each for each in found})
    if destination in CLASSES and scheme in CLASSES:
        rare = await back.stat("beside/rare")
        assert rare is not None
        assert rare.storage_class == CLASSES[destination]


async def replicated(world: World, route: Route, found: list[StoredObject]) -> dict[str, Delivered]:
    replicator, queued = world.replicator(), datetime.fromtimestamp(NOW, UTC)
    window = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(number: int, each: StoredObject) -> Delivered:
        to = route.destination.url(each.key)
        task = Task(route.name, each.key, each.version, each.size, each.modified, to, "job", number, queued)
        delivery = Delivered(encode(task))
        async with window:
            await replicator.replicate(delivery)
        return delivery

    deliveries = await asyncio.gather(*(one(number, each) for number, each in enumerate(found)))
    for number, each in enumerate(found):
        if deliveries[number].fate == ["nack"]:  # it waited for another that may have been the same to the destination
            deliveries[number] = await one(number, each)
    return {each.key: delivery for each, delivery in zip(found, deliveries, strict=True)}


async def compared(reader: Reader, back: Reader, listed: StoredObject) -> None:
    """Whatever the source says of an object, the destination says too."""
    there, here = await reader.stat(listed.key), await back.stat(listed.key)
    assert there is not None
    assert here is not None
    assert said(there.headers).items() <= said(here.headers).items(), listed.key
    proof = {SOURCE_VERSION: there.version.token, SOURCE_SIZE: str(there.size)}
    assert here.headers.metadata == {**here.headers.metadata, **there.headers.metadata, **proof}, listed.key


def said(headers: Headers) -> dict[str, str]:
    every = {each.name: getattr(headers, each.name) for each in fields(headers) if each.name != "metadata"}
    return {name: value for name, value in every.items() if value is not None}


async def dated(stage: Stage, route: Route, back: Reader, found: dict[str, StoredObject]) -> None:
    """The time of the source is that of the copy where that can be, and is noted beside it everywhere."""
    key = "beside/rich"
    told = found[key].modified
    assert told is not None
    if route.source.scheme in ("gdrive", "file"):
        assert told == MODIFIED
    copy = await back.stat(key)
    assert copy is not None
    assert copy.headers.metadata[SOURCE_MODIFIED] == told.isoformat()
    if route.destination.scheme in ("gdrive", "file"):
        assert stage.modified(route, key) == pytest.approx(told.timestamp(), abs=0.001)


LADEN: dict[str, dict[str, str]] = {
    "s3": {"long": "l" * 2000, "no name": "x", "Case": "x", "case": "x"},
    "gs": {"long": "l" * 8200},
    "gdrive": {"long": random.Random(9).randbytes(4000).hex()},
    "file": {"long": "l" * 65_536},
}
"""More than each keeps, and what a header's name cannot be."""
LEFT = {"s3": {"case"}}
SIZES = {"small": 5, "in parts": 5 * MIB + 1}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("destination", DESTINATIONS)
async def test_what_does_not_fit_is_left_behind_and_counted(
    world: World, stage: Stage, transport: Transport, fresh: str, destination: str, size: str
) -> None:
    # Given an object with more beside its bytes than the destination can keep
    writer, reader = opened(stage, transport, fresh, destination)
    world.beside[ROUTE] = Ends(world.source_reader, writer, LENIENT)
    found = await world.put("laden", bytes(SIZES[size]), Headers("text/x", metadata={**LADEN[destination], "owner": "somebody"}))

    # When it is replicated by a lenient route
    delivery = await world.replicate(await world.task(found))

    # Then it arrives with what fits, and with the proof of where it is from
    assert delivery.fate == ["ack"]
    copy = await reader.stat("laden")
    assert copy is not None
    assert (copy.size, copy.headers.content_type) == (found.size, "text/x")
    theirs = {name for name in copy.headers.metadata if not name.startswith(("brigade-", "goog-", "mtime"))}
    assert theirs == {"owner"} | LEFT.get(destination, set())
    assert copy.headers.metadata[SOURCE_VERSION] == found.version.token
    # And the job tells
    job = await world.job()
    assert (job.moved, job.metadata_lost) == (1, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("destination", DESTINATIONS)
async def test_a_strict_route_moves_nothing_that_does_not_fit(
    world: World, stage: Stage, transport: Transport, fresh: str, destination: str, size: str
) -> None:
    # Given the same object
    writer, reader = opened(stage, transport, fresh, destination)
    world.beside[ROUTE] = Ends(world.source_reader, writer, Rules(strict=True))
    found = await world.put("laden", bytes(SIZES[size]), Headers("text/x", metadata=LADEN[destination]))

    # When it is replicated by a strict route
    delivery = await world.replicate(await world.task(found))

    # Then it is on the error topic, with what is lost, whose it is and what to do, and nothing was written
    assert delivery.fate == ["reject"]
    report = decode(delivery.report)
    assert (report.category, report.attempts) == (Category.METADATA_LOST, 1)
    assert report.message is not None
    assert all(word in report.message for word in ("metadata", "'long'", "'laden'", "at the source", "lenient"))
    assert await reader.stat("laden") is None
    job = await world.job()
    assert (job.failed, job.metadata_lost) == (1, 0)


def opened(stage: Stage, transport: Transport, fresh: str, destination: str) -> tuple[Writer, Reader]:
    route = stage.route("file", destination, fresh)
    there = {"source": route.destination, "source_options": route.destination_options}
    return open_writer(route, SETTINGS, transport), open_reader(route.model_copy(update=there), SETTINGS, transport)
