"""Objects read, whole and in spans."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import (
    ObjectError,
    SourceChanged,
    SourceMissing,
)
from common.objects import Span, Version
from common.storage.base import Absent, Matches
from common.transport.http import Transport
from tests.conformance.storage.moves import NOISE, body

if TYPE_CHECKING:
    from common.storage.base import Reader, Writer
    from tests.conformance.storage.backends import Backend


async def test_spans_bring_exactly_their_bytes(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an object
    data = NOISE[:5000]
    put = await writer.put("key", body(data), Absent())

    # When spans of it are read
    for span in (Span(0, 1), Span(0, 100), Span(1, 2), Span(2000, 4500), Span(4999, 5000), Span(0, 5000)):
        content = await reader.read("key", span, put.version)

        # Then each brings its bytes, and tells the size of the whole
        assert content.data == data[span.start : span.end]
        assert content.object.size == 5000
        assert content.object.version == put.version


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 4095), max_size=8, unique=True))
async def test_any_cut_of_an_object_is_the_object(backend: Backend, cuts: list[int]) -> None:
    # Given an object, and places to cut it
    transport = Transport()
    writer, reader = backend.writer(transport), backend.reader(transport)
    data = NOISE[:4096]
    there = await writer.stat("key") or await writer.put("key", body(data), Absent())
    edges = [0, *sorted(cuts), len(data)]

    # When the pieces are read at the same time
    spans = [Span(start, end) for start, end in pairwise(edges)]
    pieces = await asyncio.gather(*(reader.read("key", span, there.version) for span in spans))

    # Then they are the object
    assert b"".join(piece.data for piece in pieces) == data
    await writer.close()
    await reader.close()
    await transport.close()


async def test_a_span_behind_the_end_is_an_error(writer: Writer, reader: Reader) -> None:
    # Given a short object
    put = await writer.put("key", body(b"short"), Absent())

    # When more is asked for than there is, with and without a version
    # Then no half answer comes
    for span in (Span(0, 6), Span(4, 9), Span(5, 6), Span(100, 200)):
        for version in (put.version, None):
            with pytest.raises(ObjectError):
                await reader.read("key", span, version)


async def test_a_read_is_pinned_to_its_version(writer: Writer, reader: Reader) -> None:
    # Given an object that is replaced after it has been listed
    first = await writer.put("key", body(b"first"), Absent())
    await writer.put("key", body(b"other"), Matches(first.version))

    # When the first is read, whole or in part
    # Then the answer is that it is gone, and no byte of the second
    for span in (None, Span(0, 5), Span(2, 3)):
        with pytest.raises(SourceChanged):
            await reader.read("key", span, first.version)


async def test_what_is_missing_is_missing(writer: Writer, reader: Reader) -> None:
    # Given nothing
    # When it is looked for
    # Then stat says so, and read does
    assert await writer.stat("nothing") is None
    assert await reader.stat("nothing") is None
    for span in (None, Span(0, 5)):
        with pytest.raises(SourceMissing):
            await reader.read("nothing", span, None)
    with pytest.raises(SourceMissing):
        await reader.read("nothing", None, Version("1-2-3"))
