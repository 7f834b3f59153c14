"""Listings: everything once, in order, from anywhere."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from common.objects import Span
from common.storage.base import Absent
from publisher.position import EVERYTHING, Position
from publisher.scan import scan
from tests.conformance.storage.backends import where
from tests.conformance.storage.moves import body, listed

if TYPE_CHECKING:
    import pytest

    from common.storage.base import Reader, Writer
    from common.transport.http import Transport
    from tests.conformance.storage.backends import Backend


async def test_an_empty_location_lists_nothing(reader: Reader) -> None:
    # Given nothing
    # When it is listed
    # Then that is what comes
    assert await listed(reader) == []


async def test_a_listing_has_every_object_once_in_order(backend: Backend, reader: Reader) -> None:
    # Given more objects than a page holds, with names whose order depends on how "/" is sorted
    folders = ("a", "a-b", "a/b", "a0", "b/\u00e9", "b/z")
    keys = [f"{folders[number % 6]}/{number:05}" for number in range(backend.many)]
    backend.fill(keys)

    # When they are listed
    pages = [page async for page in reader.list()]

    # Then each is there once, in the order of its bytes, and no page is larger than a page may be
    found = [stored.key for page in pages for stored in page.objects]
    ordered = reader.limits.ordered_listing and backend.traits.byte_order
    assert (found if ordered else sorted(found, key=str.encode)) == sorted(keys, key=str.encode)
    assert all(len(page.objects) <= 1000 for page in pages)
    assert len(pages) >= backend.many / 1000
    assert pages[-1].after is None
    assert all(stored.size == 1 and stored.version.token and stored.modified for page in pages for stored in page.objects)

    # And when the listing is resumed behind any page, the rest comes; without an order, perhaps more than the rest
    for number, page in enumerate(pages[:-1]):
        assert page.after is not None
        rest = [stored.key for stored in await listed(reader, page.after)]
        later = [stored.key for each in pages[number + 1 :] for stored in each.objects]
        assert rest == later if reader.limits.ordered_listing else set(rest) >= set(later)


@where(lambda traits: traits.ordered_listing)
async def test_a_listing_resumes_behind_any_key(backend: Backend, reader: Reader) -> None:
    # Given some objects
    keys = sorted(["a", "a-b", "b/c", "b/c-d", "b/d/e", "b0", "c/d", "\u00e9", "\uffee", "\U00010000"], key=str.encode)
    backend.fill(keys)

    # When the listing is resumed behind each, also behind one that has gone since
    # Then what follows is listed
    for number, key in enumerate(keys):
        assert [stored.key for stored in await listed(reader, key)] == keys[number + 1 :]
    assert [stored.key for stored in await listed(reader, "b/c!")] == keys[keys.index("b/c") + 1 :]
    assert await listed(reader, "\U0010ffff") == []


async def test_a_location_is_nothing_but_its_prefix(
    backend: Backend, transport: Transport, writer: Writer, reader: Reader
) -> None:
    # Given objects in, beside and above a prefix
    for key in ("in", "in-between/x", "in/a", "in/deep/b", "in0", "out/c"):
        if key != "in" or not (backend.refuses("a//b") or backend.stumbles("a//b")):  # either a file or a directory has a name
            await writer.put(key, body(key.encode()), Absent())
    inner = backend.below("in/")
    inner_reader, inner_writer = inner.reader(transport), inner.writer(transport)

    # When the prefix is a location
    # Then keys are relative to it, in listings, reads and writes
    assert [stored.key for stored in await listed(inner_reader)] == ["a", "deep/b"]
    if reader.limits.ordered_listing:
        assert [stored.key for stored in await listed(inner_reader, "a")] == ["deep/b"]
    content = await inner_reader.read("a", None, None)
    assert (content.data, content.object.key) == (b"in/a", "a")
    assert await inner_reader.stat("out/c") is None
    put = await inner_writer.put("new", body(b"new"), Absent())
    assert put.key == "new"
    found = await inner_writer.stat("new")
    assert found is not None
    assert found.key == "new"
    assert (await reader.read("in/new", None, None)).data == b"new"
    await inner_writer.close()
    await inner_reader.close()


async def test_a_listing_tells_the_version_that_a_read_is_pinned_to(writer: Writer, reader: Reader) -> None:
    # Given an object
    await writer.put("key", body(b"bytes"), Absent())

    # When it is listed
    (stored,) = await listed(reader)

    # Then its bytes can be read by what the listing told
    assert (await reader.read("key", Span(0, stored.size), stored.version)).data == b"bytes"


async def test_ranges_side_by_side_have_every_object_once(
    backend: Backend, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given several pages of objects, with names of all lengths and alphabets
    folders = ("logs/2026/01/", "logs/2026/02/", "Logs/", "a", "\u00e9/", "\u0436/", "\U00010400/")
    keys = [f"{folders[number % 7]}{number:05}" for number in range(backend.many)]
    backend.fill(keys)
    monkeypatch.setattr("publisher.ranges.WORTH_DIVIDING", 100)

    # When they are scanned by one who has no patience
    async with aclosing(scan(reader, EVERYTHING, skip_markers=False, shards=8, patience=0)) as pages:
        found = [(page.done, list(page.objects.keys)) async for page in pages]

    # Then each is there once, wherever the service was asked to begin, and the parts make up the whole
    assert sorted(key for _, part in found for key in part) == sorted(keys)
    position = Position()
    for done, _ in found:
        position = position.beyond(done)
    assert position.ended
    assert len(found) > backend.many / 1000 or not reader.limits.parallel_listing
