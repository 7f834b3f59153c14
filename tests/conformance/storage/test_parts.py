"""Objects written in parts: nothing before the end, then everything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import google_crc32c
import pytest

from common.errors import (
    ChecksumMismatch,
    ObjectError,
    PreconditionFailed,
    UploadLost,
)
from common.objects import Headers, Span
from common.storage.base import Absent, Matches
from tests.conformance.storage.backends import where
from tests.conformance.storage.moves import NOISE, PLAIN, body, in_parts, listed, upload_parts

if TYPE_CHECKING:
    from common.storage.base import Reader, Writer
    from tests.conformance.storage.backends import Backend


@where(lambda traits: traits.completes_uploads)
async def test_parts_become_one_object(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an upload of three parts and a short one, or as many as fit
    data = NOISE[: min(3 * backend.part + 1234, len(NOISE))]
    headers = Headers(content_type="application/x-noise", metadata={"brigade-source-version": "abc"})
    upload = await writer.begin("large", len(data), headers, Absent())
    assert upload.token

    # When the parts are written, from the last to the first where that is allowed
    receipts = await upload_parts(upload, data, backend.part, backwards=writer.limits.parallel_parts)

    # Then nothing can be seen
    assert await reader.stat("large") is None
    assert await listed(reader) == []

    # And when it is completed, all of it can
    done = await upload.complete(receipts, google_crc32c.value(data))
    assert done.size == len(data)
    assert done.crc32c in (google_crc32c.value(data), None)
    found = await reader.stat("large")
    assert found is not None
    assert (found.size, found.version) == (len(data), done.version)
    assert found.headers.content_type == "application/x-noise"
    assert found.headers.metadata["brigade-source-version"] == "abc"
    start = backend.part - 5
    for span in (Span(0, 10), Span(start, start + 10), Span(len(data) - 10, len(data))):
        assert (await reader.read("large", span, done.version)).data == data[span.start : span.end]


@where(lambda traits: traits.completes_uploads and traits.parallel_parts)
async def test_parts_may_be_written_at_the_same_time(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an upload
    data = NOISE[: 2 * backend.part + 7]
    upload = await writer.begin("large", len(data), PLAIN, Absent())

    # When all parts are written at once
    pieces = [
        (number, start, data[start : start + backend.part]) for number, start in enumerate(range(0, len(data), backend.part))
    ]
    receipts = await asyncio.gather(
        *(upload.part(number, start, piece, google_crc32c.value(piece)) for number, start, piece in pieces)
    )

    # Then the object is what was written
    done = await upload.complete(receipts, google_crc32c.value(data))
    assert (await reader.read("large", None, done.version)).data == data


@where(lambda traits: traits.completes_uploads)
async def test_a_part_may_be_repeated(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an upload whose answers get lost
    data = NOISE[: 2 * backend.part - 3]
    upload = await writer.begin("large", len(data), PLAIN, Absent())

    # When every part is written twice
    receipts = []
    for number, start in enumerate((0, backend.part)):
        piece = data[start : start + backend.part]
        await upload.part(number, start, piece, google_crc32c.value(piece))
        receipts.append(await upload.part(number, start, piece, google_crc32c.value(piece)))

    # Then the object has each once
    done = await upload.complete(receipts, google_crc32c.value(data))
    assert (await reader.read("large", None, done.version)).data == data


@where(lambda traits: traits.completes_uploads)
async def test_an_upload_of_one_short_part(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an object smaller than a part, which its writer chose to upload all the same
    # When it is uploaded
    done = await in_parts(writer, "small", b"few bytes", 64 * 1024)

    # Then it is there
    assert (await reader.read("small", None, done.version)).data == b"few bytes"


@where(lambda traits: traits.completes_uploads)
async def test_completing_twice_does_no_harm(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given a completed upload whose answer got lost
    data = NOISE[: backend.part + 1]
    upload = await writer.begin("large", len(data), PLAIN, Absent())
    receipts = await upload_parts(upload, data, backend.part)
    done = await upload.complete(receipts, google_crc32c.value(data))

    # When it is completed again, and then aborted
    try:
        again = await upload.complete(receipts, google_crc32c.value(data))
    except (UploadLost, PreconditionFailed):
        pass
    else:
        assert again.version == done.version
    await upload.abort()

    # Then the object is as it was
    assert (await reader.read("large", None, done.version)).data == data


async def test_an_aborted_upload_leaves_nothing(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an upload with a part
    data = NOISE[: backend.part]
    upload = await writer.begin("large", 2 * backend.part, PLAIN, Absent())
    receipt = await upload.part(0, 0, data, google_crc32c.value(data))

    # When it is aborted, twice
    await upload.abort()
    await upload.abort()

    # Then nothing is there, and nothing more can be done with it
    assert await reader.stat("large") is None
    assert await listed(reader) == []
    with pytest.raises(ObjectError):
        await upload.complete([receipt], google_crc32c.value(data))
    assert await reader.stat("large") is None


@where(lambda traits: traits.checks_preconditions)
async def test_an_upload_never_overwrites_what_came_meanwhile(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an upload to where nothing is, and an object that somebody writes there before it ends
    data = NOISE[: backend.part + 1]
    upload = await writer.begin("large", len(data), PLAIN, Absent())
    receipts = await upload_parts(upload, data, backend.part)
    other = await writer.put("large", body(b"faster"), Absent())

    # When the upload is completed
    with pytest.raises(PreconditionFailed):
        await upload.complete(receipts, google_crc32c.value(data))
    await upload.abort()

    # Then the other object is untouched
    assert (await reader.read("large", None, other.version)).data == b"faster"


@where(lambda traits: traits.completes_uploads)
async def test_an_upload_replaces_what_was_seen(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an object that was seen
    first = await writer.put("large", body(b"first"), Absent())

    # When an upload replaces it
    done = await in_parts(writer, "large", NOISE[: backend.part + 1], backend.part, Matches(first.version))

    # Then it is the upload's
    assert done.version != first.version
    assert (await reader.read("large", Span(0, 5), done.version)).data == NOISE[:5]


@where(lambda traits: traits.checks_checksums)
async def test_an_upload_of_wrong_bytes_is_not_completed(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an upload
    data = NOISE[: backend.part + 1]
    upload = await writer.begin("large", len(data), PLAIN, Absent())
    receipts = await upload_parts(upload, data, backend.part)

    # When it is completed with the checksum of other bytes
    with pytest.raises(ChecksumMismatch):
        await upload.complete(receipts, google_crc32c.value(data[1:]))
    await upload.abort()

    # Then nothing is there
    assert await reader.stat("large") is None
