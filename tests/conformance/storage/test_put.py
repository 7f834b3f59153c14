"""Objects written whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import google_crc32c
import pytest

from common.errors import (
    ChecksumMismatch,
    LocationMissing,
    PreconditionFailed,
)
from common.objects import Headers, Span
from common.storage.base import Absent, Body, Matches
from tests.conformance.storage.backends import where
from tests.conformance.storage.moves import NOISE, PLAIN, body, in_parts

if TYPE_CHECKING:
    from common.storage.base import Reader, Writer
    from tests.conformance.storage.backends import Backend


@pytest.mark.parametrize("size", ["empty", "one byte", "4 KiB", "a part"])
async def test_what_is_put_is_there(backend: Backend, writer: Writer, reader: Reader, size: str) -> None:
    # Given bytes of a size at which implementations differ
    data = NOISE[: {"empty": 0, "one byte": 1, "4 KiB": 4096, "a part": backend.part}[size]]
    before = datetime.now(UTC) - timedelta(seconds=2)

    # When they are put
    put = await writer.put("some/key", body(data), Absent())

    # Then the answer, both stats and a read agree on what is there
    there = await writer.stat("some/key")
    seen = await reader.stat("some/key")
    assert there is not None
    assert seen is not None
    assert (put.key, put.size) == ("some/key", len(data))
    assert put.version.token
    assert put.version == there.version == seen.version
    assert (there.size, seen.size) == (len(data), len(data))
    assert seen.modified is not None
    assert before <= seen.modified <= datetime.now(UTC) + timedelta(seconds=2)
    assert {put.crc32c, there.crc32c} <= {google_crc32c.value(data), None}
    content = await reader.read("some/key", None, put.version)
    assert content.data == data
    assert (content.object.key, content.object.size, content.object.version) == ("some/key", len(data), put.version)


async def test_headers_and_metadata_come_back(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an object with everything that can be kept beside the bytes
    headers = Headers(
        content_type="text/plain; charset=utf-8",
        cache_control="max-age=60",
        content_disposition='attachment; filename="a b.txt"',
        content_encoding="gzip",
        content_language="de",
        metadata={"brigade-source-version": "9a0364b9e99bb480dd25e1f0284c8555-3", "owner": "someone else", "empty-ish": "-"},
    )

    # When it is put whole, and put in parts
    await writer.put("whole", body(b"text", headers), Absent())
    if backend.traits.completes_uploads:
        await in_parts(writer, "parts", NOISE[: backend.part + 1], backend.part, headers=headers)

    # Then it comes back from a stat, and with the first bytes of a read
    for key in ("whole", "parts") if backend.traits.completes_uploads else ("whole",):
        found = await writer.stat(key)
        read = (await reader.read(key, Span(0, 4), None)).object
        assert found is not None
        for answer in (found, read):
            assert answer.headers.content_type == headers.content_type
            assert answer.headers.cache_control == headers.cache_control
            assert answer.headers.content_disposition == headers.content_disposition
            assert answer.headers.content_language == headers.content_language
            assert answer.headers.content_encoding == headers.content_encoding
            assert headers.metadata.items() <= answer.headers.metadata.items()


async def test_metadata_outside_ascii_come_back(backend: Backend, writer: Writer) -> None:
    # Given values as people write them
    metadata = {
        "author": "J\u00f6rg \u0416\u0443\u0440\u043d\u0430\u043b \U0001faa3",
        "percent": "100% = 50%25",
        "spaces": "a  b",
    }

    # When they are put
    await writer.put("key", body(b"text", Headers(metadata=metadata)), Absent())

    # Then not a character of them is different
    found = await writer.stat("key")
    assert found is not None
    assert metadata.items() <= found.headers.metadata.items()


@where(lambda traits: traits.checks_preconditions)
async def test_absent_never_overwrites(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an object
    first = await writer.put("key", body(b"first"), Absent())

    # When another is to be written where nothing is
    with pytest.raises(PreconditionFailed):
        await writer.put("key", body(b"second"), Absent())

    # Then the first one is untouched
    assert (await reader.read("key", None, first.version)).data == b"first"


async def test_matches_replaces_what_was_seen(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an object that was seen
    first = await writer.put("key", body(b"first"), Absent())

    # When it is replaced
    second = await writer.put("key", body(b"second, and longer"), Matches(first.version))

    # Then there is another version
    assert second.version != first.version
    assert (await reader.read("key", None, second.version)).data == b"second, and longer"


@where(lambda traits: traits.checks_preconditions)
async def test_matches_refuses_what_was_not_seen(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an object that was replaced after it had been seen
    first = await writer.put("key", body(b"first"), Absent())
    second = await writer.put("key", body(b"second, and longer"), Matches(first.version))

    # When somebody writes over what he believes to be the first, or over what is not there
    with pytest.raises(PreconditionFailed):
        await writer.put("key", body(b"third"), Matches(first.version))
    with pytest.raises((PreconditionFailed, LocationMissing)):
        await writer.put("nothing", body(b"third"), Matches(first.version))

    # Then nothing has changed
    assert (await reader.read("key", None, second.version)).data == b"second, and longer"
    assert await reader.stat("nothing") is None


@where(lambda traits: traits.checks_checksums)
async def test_wrong_bytes_are_not_stored(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given bytes that are not those that were hashed
    wrong = Body(b"wrong bytes", google_crc32c.value(b"right bytes"), PLAIN)

    # When they are put
    with pytest.raises(ChecksumMismatch):
        await writer.put("key", wrong, Absent())

    # Then nothing is there
    assert await reader.stat("key") is None
