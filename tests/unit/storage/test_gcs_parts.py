"""Uploads to GCS with parts in any order: what is where when an answer is lost, a process dies, or somebody else was faster."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import google_crc32c
import pytest

from common.config import Google, Settings, StoreOptions
from common.errors import ChecksumMismatch, Forbidden, InvalidName, PreconditionFailed, RateLimited, Unavailable, UploadLost
from common.location import Location
from common.objects import Headers
from common.storage import gcs
from common.storage.base import Absent, Body, Matches
from common.storage.gcs_parts import STAGING
from tests.fakes.gcs import Fault, GcsServer, Kind
from tests.fakes.gcs.multipart import Multiparts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.objects import StoredObject
    from common.storage.base import PartReceipt, Upload, Writer
    from common.transport.http import Transport

PART = 64 * 1024
"""GCS itself asks for 5 MiB."""
DATA = bytes(range(251)) * (2 * PART // 251) + b"the rest"
CHECKSUM = google_crc32c.value(DATA)
HEADERS = Headers(content_type="application/x-large", cache_control="max-age=5", metadata={"brigade-source-version": "v1"})


@pytest.fixture
async def server() -> AsyncIterator[GcsServer]:
    async with GcsServer(buckets=["demo"]) as running:
        running.multiparts = Multiparts(running.store, smallest=PART)
        yield running
        assert running.failures == []


@pytest.fixture
def writer(server: GcsServer, transport: Transport) -> Writer:
    return made(server, transport)


def made(server: GcsServer, transport: Transport, *, prefix: str = "in/", parallel: bool = True) -> Writer:
    options = StoreOptions(endpoint=server.url, parallel_uploads=parallel)
    return gcs.writer(Location("gs", "demo", prefix), options, Settings(google=Google(project="test")), transport)


async def sent(upload: Upload, *numbers: int) -> list[PartReceipt]:
    spans = [(number, number * PART, DATA[number * PART : (number + 1) * PART]) for number in numbers]
    return list(await asyncio.gather(*(upload.part(*span, google_crc32c.value(span[2])) for span in spans)))


async def ready(writer: Writer, headers: Headers = HEADERS) -> tuple[Upload, list[PartReceipt]]:
    upload = await writer.begin("key", len(DATA), headers, Absent())
    return upload, await sent(upload, 1, 0)


async def completed(upload: Upload, receipts: list[PartReceipt]) -> StoredObject:
    """As the retries do it. A connection that breaks may be made good below already: then there is no error to be seen."""
    for _ in range(2):
        with suppress(Unavailable, RateLimited):
            return await upload.complete(receipts, CHECKSUM)
    return await upload.complete(receipts, CHECKSUM)


async def test_the_object_is_put_together_elsewhere_and_renamed(server: GcsServer, writer: Writer) -> None:
    # Given an upload whose parts came in another order
    upload, receipts = await ready(writer)

    # When it is completed
    done = await upload.complete(receipts, CHECKSUM)

    # Then the object is at its place with all that belongs to it, and was never there before
    assert (done.key, done.size, done.crc32c, done.headers) == ("key", len(DATA), CHECKSUM, HEADERS)
    assert (server.keys("demo"), server.data("demo", "in/key")) == (["in/key"], DATA)
    assert [name for _, name, _ in server.writes][1:] == ["in/key"]
    assert server.writes[0][1].startswith(f"in/{STAGING}")


@pytest.mark.parametrize("operation", ["xml.complete", "get", "move"])
@pytest.mark.parametrize("kind", [Kind.STATUS, Kind.RESET])
async def test_a_completion_that_failed_is_repeated(server: GcsServer, writer: Writer, operation: str, kind: Kind) -> None:
    # Given a service that fails one of the requests before it has an effect
    upload, receipts = await ready(writer)
    fault = server.faults.add(Fault(kind, operation=operation))

    # When the upload is completed
    done = await completed(upload, receipts)

    # Then it goes on from where it was
    assert fault.fired == 1
    assert (done.size, server.keys("demo")) == (len(DATA), ["in/key"])
    assert len(server.writes) == 2


async def test_an_assembly_whose_answer_is_lost_is_found(server: GcsServer, writer: Writer) -> None:
    # Given parts that are put together, and nobody hears of it
    upload, receipts = await ready(writer)
    fault = server.faults.add(Fault(Kind.LOSE_REPLY, operation="xml.complete"))

    # When the upload is completed
    await completed(upload, receipts)

    # Then what is there is taken
    assert fault.fired == 1
    assert (server.keys("demo"), server.requests["xml.part"], len(server.writes)) == (["in/key"], 2, 2)


async def test_a_rename_whose_answer_is_lost_needs_a_look(server: GcsServer, writer: Writer) -> None:
    # Given a rename that nobody hears of
    upload, receipts = await ready(writer)
    fault = server.faults.add(Fault(Kind.LOSE_REPLY, operation="move"))

    # When the upload is completed and then given up
    with pytest.raises(UploadLost):
        await completed(upload, receipts)
    await upload.abort()

    # Then the object is there for whoever looks
    assert fault.fired == 1
    found = await writer.stat("key")
    assert found is not None
    assert found.headers.metadata["brigade-source-version"] == "v1"


@pytest.mark.parametrize("assembled", [False, True])
async def test_another_process_goes_on(server: GcsServer, transport: Transport, writer: Writer, assembled: bool) -> None:
    # Given an upload of a process that died: after its first part, or before the rename
    upload = await writer.begin("key", len(DATA), HEADERS, Absent())
    receipts = await sent(upload, 1)
    if assembled:
        receipts += await sent(upload, 0)
        server.faults.add(Fault(Kind.STATUS, operation="move"))
        with pytest.raises(Unavailable):
            await upload.complete(receipts, CHECKSUM)

    # When another one goes on with what it knows
    again = await made(server, transport).begin("key", len(DATA), HEADERS, Absent(), upload.token)
    if not assembled:
        receipts += await sent(again, 0)
    done = await again.complete(receipts, CHECKSUM)

    # Then no part was sent twice
    assert (done.crc32c, server.keys("demo"), server.requests["xml.part"]) == (CHECKSUM, ["in/key"], 2)


@pytest.mark.parametrize("parallel", [True, False])
async def test_an_upload_is_given_up_by_its_token(
    server: GcsServer, transport: Transport, writer: Writer, parallel: bool
) -> None:
    # Given one upload whose parts are still parts, and one that was put together but not renamed
    first, _ = await ready(writer)
    second, receipts = await ready(writer)
    server.faults.add(Fault(Kind.STATUS, operation="move", status=403))
    with pytest.raises(Forbidden):
        await second.complete(receipts, CHECKSUM)

    # When somebody who knows their tokens gives them up, twice, even if the setting was changed meanwhile
    other = made(server, transport, parallel=parallel)
    for upload in (first, second, second):
        await (await other.begin("key", len(DATA), Headers(), Absent(), upload.token)).abort()

    # Then nothing of them is left
    assert server.keys("demo") == []
    assert server.stats()["multiparts"] == 0


async def test_what_came_meanwhile_stays(server: GcsServer, writer: Writer) -> None:
    # Given an object that came after the upload began, and one that was replaced after it was seen
    first, receipts = await ready(writer)
    seen = await writer.put("key", Body(b"other", google_crc32c.value(b"other"), Headers()), Absent())
    second = await writer.begin("key", len(DATA), HEADERS, Matches(seen.version))
    others = await sent(second, 0, 1)

    # When the first is completed: not over what nobody expected
    with pytest.raises(PreconditionFailed):
        await first.complete(receipts, CHECKSUM)
    await first.abort()
    assert server.data("demo", "in/key") == b"other"

    # Then the second is, over exactly what it has seen
    await second.complete(others, CHECKSUM)
    assert (server.keys("demo"), server.data("demo", "in/key")) == (["in/key"], DATA)


async def test_wrong_bytes_are_never_seen_at_their_place(server: GcsServer, writer: Writer) -> None:
    # Given a part that does not match its checksum, and then a whole that does not
    upload, receipts = await ready(writer)
    with pytest.raises(ChecksumMismatch):
        await upload.part(0, 0, DATA[:PART], 1)
    with pytest.raises(ChecksumMismatch):
        await upload.complete(receipts, CHECKSUM ^ 1)

    # When it is given up, then nothing is left
    assert "in/key" not in server.keys("demo")
    await upload.abort()
    assert server.keys("demo") == []


async def test_parts_that_are_missing_are_noticed(server: GcsServer, writer: Writer) -> None:
    upload = await writer.begin("key", len(DATA), HEADERS, Absent())
    with pytest.raises(ChecksumMismatch, match="do not add up"):
        await upload.complete(await sent(upload, 1), CHECKSUM)


async def test_a_lost_upload_begins_again(server: GcsServer, writer: Writer) -> None:
    # Given an upload that the service forgot
    upload, receipts = await ready(writer)
    await upload.abort()

    # When it is used
    with pytest.raises(UploadLost):
        await sent(upload, 0)
    with pytest.raises(UploadLost):
        await upload.complete(receipts, CHECKSUM)


@pytest.mark.parametrize(
    "headers",
    [
        Headers(content_type="text/plain", metadata={"titel": "grün 🪣"}),
        Headers(content_disposition='attachment; filename="€.txt"'),
        Headers(metadata={"two words": "v"}),
        Headers(metadata={"k": " spaces around "}),
        Headers(metadata={"k": "two\nlines"}),
    ],
)
async def test_what_no_header_can_carry_arrives_all_the_same(server: GcsServer, writer: Writer, headers: Headers) -> None:
    # Given an upload of an object with odd metadata, and a service that will not have two writes in a second
    upload, receipts = await ready(writer, headers)
    server.faults.add(Fault(Kind.STATUS, operation="patch", status=429))

    # When it is completed
    done = await completed(upload, receipts)

    # Then the object has it from its first moment
    assert done.headers == headers
    assert server.resource("demo", "in/key")["metageneration"] == "1"


@pytest.mark.parametrize("metadata", [{"owner": "somebody"}, {"owner": "grün 🪣"}])
async def test_an_object_is_made_in_its_class(server: GcsServer, writer: Writer, metadata: dict[str, str]) -> None:
    # Given an object of a class of its own, with metadata that headers can carry, or cannot
    upload, receipts = await ready(writer, Headers(metadata=metadata, storage_class="NEARLINE"))

    # When it is completed
    done = await completed(upload, receipts)

    # Then it has both, although no patch could have changed the class
    assert (done.storage_class, done.headers.metadata) == ("NEARLINE", metadata)


async def test_a_prefix_that_leaves_no_room_is_said_at_once(server: GcsServer, transport: Transport) -> None:
    # Given a location below which the place of uploads has too long a name
    writer = made(server, transport, prefix="p" * 1000 + "/")

    # When an upload begins there
    with pytest.raises(InvalidName, match="1 to 1024 bytes"):
        await writer.begin("key", len(DATA), HEADERS, Absent())

    # Then nothing was asked
    assert server.requests == {}


async def test_what_a_dead_upload_left_is_no_object(server: GcsServer, writer: Writer, transport: Transport) -> None:
    # Given an upload that was put together, and whose worker died before the rename; and an object that is done
    upload, receipts = await ready(writer)
    server.faults.add(Fault(Kind.STATUS, operation="move", status=503))
    with pytest.raises(Unavailable):
        await upload.complete(receipts, CHECKSUM)
    await writer.put("done", Body(b"x", google_crc32c.value(b"x"), Headers()), Absent())

    # When the bucket is the source of another route
    location = Location("gs", "demo", "")
    reader = gcs.reader(location, StoreOptions(endpoint=server.url), Settings(google=Google(project="test")), transport)
    pages = [page async for page in reader.list()]

    # Then what is ours is counted and left out
    assert [item.key for page in pages for item in page.objects] == ["in/done"]
    assert [dict(page.left_out) for page in pages] == [{"staging": 1}]

    # And no object of a user can have such a name: it would never be seen again
    with pytest.raises(InvalidName, match="upload under way"):
        await writer.put(f"{STAGING}{'0' * 32}", Body(b"x", google_crc32c.value(b"x"), Headers()), Absent())
