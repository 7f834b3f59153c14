"""S3 Inventory as a listing: everything that it lists once, from any checkpoint; what cannot be used is refused with advice."""

from __future__ import annotations

import gzip
import hashlib
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest

from common.checksums import crc32c
from common.config import Settings, StoreOptions
from common.errors import ChecksumMismatch, LocationMissing, ObjectError, Refused
from common.location import Location
from common.objects import Headers
from common.storage import memory, s3, s3_inventory
from common.storage.base import Absent, Body
from common.storage.s3_inventory import Inventory, InventoryReader
from common.transport.http import Transport
from publisher.position import EVERYTHING, Gap
from publisher.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.storage.base import Page, Reader

FOLDER = "out/photos/daily/"
COLUMNS = "Bucket, Key, Size, LastModifiedDate, ETag, StorageClass"
MOMENT = "2026-11-20T03:04:05.000Z"
NASTY = ("in/a b", "in/a+b", "in/%41", 'in/"quoted", twice', "in/ü\u2028", "in/line\nbreak", "in/x", "in/nul\0")


def line(key: str, *, size: int = 7, tag: str = "e1") -> list[str]:
    return ["photos", quote_plus(key), str(size), MOMENT, tag, "STANDARD"]


def table(rows: Sequence[Sequence[str]]) -> bytes:
    """As S3 writes it: every field in quotes."""
    return "".join(",".join('"' + field.replace('"', '""') + '"' for field in row) + "\n" for row in rows).encode()


class Shelf:
    """A bucket with inventories in it."""

    def __init__(self, name: str) -> None:
        memory.create(name)
        self._name = name
        self._settings = StoreOptions(), Settings(), Transport()
        self._writer = memory.writer(Location("memory", name, ""), *self._settings)

    def reader(self, at: Location) -> Reader:
        return memory.reader(Location("memory", self._name, at.prefix), *self._settings)

    async def put(self, key: str, data: bytes) -> None:
        await self._writer.put(key, Body(data, crc32c(data), Headers()), Absent())

    async def deliver(self, day: str, contents: Sequence[bytes], **changed: Any) -> str:
        """An inventory of that day; the key of its manifest."""
        entries = []
        for number, data in enumerate(contents):
            key = f"{FOLDER}data/{day}-{number}.csv.gz"
            await self.put(key, data)
            entries.append({"key": key, "size": len(data), "MD5checksum": hashlib.md5(data, usedforsecurity=False).hexdigest()})
        said = {"sourceBucket": "photos", "fileFormat": "CSV", "fileSchema": COLUMNS, "files": entries, **changed}
        manifest = f"{FOLDER}{day}/manifest.json"
        await self.put(manifest, json.dumps(said).encode())
        return manifest

    def inventory(self, url: str = f"s3://lists/{FOLDER}") -> Inventory:
        return Inventory(url, Location.parse("s3://photos/in"), self.reader)


@pytest.fixture
def shelf(request: pytest.FixtureRequest) -> Shelf:
    return Shelf(request.node.name)


async def listed(inventory: Inventory, after: str | None = None) -> list[tuple[str, int, str]]:
    return [(item.key, item.size, item.version.token) async for page in inventory.pages(after) for item in page.objects]


def keys_of(pages: Sequence[Page]) -> list[str]:
    return [item.key for page in pages for item in page.objects]


async def test_every_object_of_the_source_is_listed_as_s3_wrote_it(shelf: Shelf) -> None:
    # Given an inventory with keys that have to be decoded, in two files, one of them of several gzip members
    objects = [line(key, size=number, tag=f"tag-{number}") for number, key in enumerate(NASTY)]
    first = gzip.compress(table(objects[:2])) + gzip.compress(table(objects[2:4]))
    await shelf.deliver("2026-11-20T01-00Z", [first, gzip.compress(table([*objects[4:], line("elsewhere/y")]))])
    # When the route's part of the bucket is listed
    found = await listed(shelf.inventory())
    # Then there is each object once, by its key below the location, with size and version
    assert found == [(key.removeprefix("in/"), number, f"tag-{number}") for number, key in enumerate(NASTY)]
    (page, *_) = [page async for page in shelf.inventory().pages(None)]
    assert page.objects[0].modified is not None
    assert page.objects[0].storage_class == "STANDARD"


async def test_the_newest_inventory_of_the_folder_is_taken(shelf: Shelf) -> None:
    # Given three days' inventories, and the folders that S3 puts beside them
    for day, key in (("2026-11-19T01-00Z", "old"), ("2026-11-21T01-00Z", "new"), ("2026-11-20T01-00Z", "middle")):
        await shelf.deliver(day, [gzip.compress(table([line(f"in/{key}")]))])
    await shelf.put(f"{FOLDER}hive/dt=2026-11-22-01-00/symlink.txt", b"x")
    # When no one says which
    # Then it is the newest; and any other that is named
    assert [key for key, *_ in await listed(shelf.inventory())] == ["new"]
    named = shelf.inventory(f"s3://lists/{FOLDER}2026-11-20T01-00Z/manifest.json")
    assert [key for key, *_ in await listed(named)] == ["middle"]


async def test_a_listing_goes_on_at_any_checkpoint(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given small pieces and pages, so that both end in the middle of lines and of files
    monkeypatch.setattr(s3_inventory, "PAGE", 4)
    monkeypatch.setattr(s3_inventory, "PIECE", 50)
    names = [f"in/{number:03}" for number in range(90)]
    parts = [table([line(name) for name in names[start : start + 30]]) for start in (0, 30, 60)]
    files = [gzip.compress(part) for part in (parts[0], parts[1].removesuffix(b"\n"), parts[2])]
    await shelf.deliver("2026-11-20T01-00Z", files)
    pages = [page async for page in shelf.inventory().pages(None)]
    whole = keys_of(pages)
    assert whole == [name.removeprefix("in/") for name in names]
    # When a newer inventory comes, and the listing goes on behind any of its pages
    await shelf.deliver("2026-11-21T01-00Z", [gzip.compress(table([line("in/newer")]))])
    # Then it is the one that was begun, and what is left of it
    for number, page in enumerate(pages[:-1]):
        rest = [later async for later in shelf.inventory().pages(page.after)]
        assert keys_of(rest) == keys_of(pages[number + 1 :])
    # And what goes on behind a key, as a usual listing does, begins at the beginning of the newest
    assert [key for key, *_ in await listed(shelf.inventory(), "in/050")] == ["newer"]


async def test_a_checkpoint_comes_before_every_key(shelf: Shelf) -> None:
    await shelf.deliver("2026-11-20T01-00Z", [gzip.compress(table([line("in/!")]))])
    (page, *_) = [page async for page in shelf.inventory().pages(None)]
    assert page.after is not None
    assert page.after < "!"


async def test_a_listing_whose_inventory_was_deleted_begins_anew_with_the_newest(shelf: Shelf) -> None:
    # Given a checkpoint in an inventory that is there no more
    await shelf.deliver("2026-11-21T01-00Z", [gzip.compress(table([line("in/newer")]))])
    # When the listing goes on
    found = await listed(shelf.inventory(), f"\x010:5:{FOLDER}2026-11-01T01-00Z/manifest.json")
    # Then nothing is left out
    assert [key for key, *_ in found] == ["newer"]


async def test_of_several_versions_only_the_latest_counts_and_no_delete_marker(shelf: Shelf) -> None:
    # Given an inventory of all versions, one of them a delete marker, which has neither size nor ETag
    schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag"
    rows = [
        ["photos", "in/a", "v2", "true", "false", "2", MOMENT, "e2"],
        ["photos", "in/a", "v1", "false", "false", "1", MOMENT, "e1"],
        ["photos", "in/b", "v3", "true", "true", "", MOMENT, ""],
        ["photos", "in/b", "v2", "false", "false", "1", MOMENT, "e1"],
    ]
    await shelf.deliver("2026-11-20T01-00Z", [gzip.compress(table(rows))], fileSchema=schema)
    # When it is listed
    # Then there is what a usual listing would show; and its version is pinned by the ETag alone
    assert await listed(shelf.inventory()) == [("a", 2, "e2")]


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({"fileFormat": "Parquet", "fileSchema": "message s3.inventory { }"}, "to the format CSV"),
        ({"fileFormat": "ORC"}, "to the format CSV"),
        ({"fileSchema": "Bucket, Key, Size"}, "LastModifiedDate, ETag"),
        ({"fileSchema": f"{COLUMNS}, VersionId"}, "current versions only"),
        ({"sourceBucket": "music"}, "'music'"),
        ({"files": [{"size": 1}]}, "not the manifest"),
        ({"fileSchema": f"{COLUMNS}, IsMultipartUploaded"}, "6 fields, the manifest names 7"),
    ],
)
async def test_an_unusable_inventory_is_refused_with_advice(shelf: Shelf, changed: dict[str, Any], advice: str) -> None:
    await shelf.deliver("2026-11-20T01-00Z", [gzip.compress(table([line("in/a")]))], **changed)
    with pytest.raises(Refused, match=advice):
        await listed(shelf.inventory())


async def test_where_there_is_none_the_error_says_where_it_would_be(shelf: Shelf) -> None:
    for url in (f"s3://lists/{FOLDER}", f"s3://lists/{FOLDER}2026-11-20T01-00Z/manifest.json"):
        with pytest.raises(LocationMissing, match="folder"):
            await listed(shelf.inventory(url))


def _another_byte(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda data: data[:-4], ChecksumMismatch),
        (_another_byte, ChecksumMismatch),
        (lambda data: gzip.compress(gzip.decompress(data) + table([line("in/b")])), ChecksumMismatch),
        (lambda _: b"not gzip at all", ChecksumMismatch),
        (lambda _: gzip.compress(b'"photos","in/\xff","7","","e1","S"\n'), Refused),
        (lambda _: gzip.compress(b"\n\n"), Refused),
        (lambda _: gzip.compress(b'"photos","in/' + b"a" * 300_000), Refused),
        (lambda _: gzip.compress(b'"photos","in/a\nb","7","","e1","S"\n'), Refused),
    ],
)
async def test_a_damaged_file_is_an_error(shelf: Shelf, damage: Callable[[bytes], bytes], error: type[ObjectError]) -> None:
    # Given a file that is not what the manifest says, or not what an inventory holds
    good = gzip.compress(table([line("in/a")]))
    bad = damage(good)
    entry = {"key": "list.csv.gz", "size": len(bad), "MD5checksum": hashlib.md5(good, usedforsecurity=False).hexdigest()}
    await shelf.put("list.csv.gz", bad)
    await shelf.deliver("2026-11-20T01-00Z", [], files=[entry])
    # When it is listed
    # Then that is never taken for the end of the listing
    with pytest.raises(error):
        await listed(shelf.inventory())


@pytest.mark.parametrize(("size", "tag"), [("", "e1"), ("many", "e1"), ("-1", "e1"), ("1" * 20, "e1"), ("7", "")])
async def test_a_line_without_what_an_object_needs_fails_alone(shelf: Shelf, size: str, tag: str) -> None:
    # Given an odd line among others, and one that is not below the location
    odd = ["photos", "in/odd+one", size, MOMENT, tag, "STANDARD"]
    elsewhere = ["photos", "out/odd", size, MOMENT, tag, "STANDARD"]
    await shelf.deliver("2026-11-20T01-00Z", [gzip.compress(table([line("in/a"), odd, elsewhere, line("in/z")]))])
    # When the inventory is listed
    pages = [page async for page in shelf.inventory().pages(None)]
    # Then the others come, and that one is named with the file that it stands in
    assert keys_of(pages) == ["a", "z"]
    (fault,) = [fault for page in pages for fault in page.faults]
    assert fault.key == "odd one"
    assert "data/2026-11-20T01-00Z-0.csv.gz" in str(fault.error)


async def test_a_line_without_an_end_is_refused_when_it_is_too_long(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a file of 1 MB that inflates to a GiB, all of it one line
    member = gzip.compress(bytes(2**26), 9)
    read: list[int] = []
    pieces = s3_inventory._Inflating.pieces

    def noted(self: Any, data: bytes) -> Any:
        for piece in pieces(self, data):
            read.append(len(piece))
            yield piece

    monkeypatch.setattr(s3_inventory._Inflating, "pieces", noted)
    await shelf.deliver("2026-11-20T01-00Z", [member * 16])
    # When it is listed, then it is refused by name, and hardly any of it is inflated
    with pytest.raises(Refused, match=r"data/2026-11-20T01-00Z-0\.csv\.gz.*a line of"):
        await listed(shelf.inventory())
    assert sum(read) <= s3_inventory.PIECE


@pytest.mark.parametrize("content", [b"", b"x"])
async def test_many_small_files_in_one_are_read_in_one_go(shelf: Shelf, content: bytes) -> None:
    # Given 2 MB of gzip files in a row, each with nothing or one letter in it, and one with an object
    many = gzip.compress(content) * 100_000
    ended = gzip.compress(b"\n") if content else b""
    await shelf.deliver("2026-11-20T01-00Z", [many + ended + gzip.compress(table([line("in/a")]))])
    # When they are listed, then that does not take the square of their number
    if content:
        with pytest.raises(Refused, match="a line of 1 fields"):
            await listed(shelf.inventory())
    else:
        assert [key for key, *_ in await listed(shelf.inventory())] == ["a"]


@pytest.mark.parametrize("size", [-1, 10**30, float("inf"), 6 * 2**40])
async def test_a_manifest_of_impossible_files_is_refused(shelf: Shelf, size: float) -> None:
    await shelf.deliver("2026-11-20T01-00Z", [], files=[{"key": "list.csv.gz", "size": size, "MD5checksum": ""}])
    with pytest.raises(Refused, match="is not the manifest of an inventory"):
        await listed(shelf.inventory())


async def test_a_manifest_is_not_read_whatever_its_size(shelf: Shelf) -> None:
    await shelf.put(f"{FOLDER}2026-11-20T01-00Z/manifest.json", b"[" * (s3_inventory.LARGEST_MANIFEST + 1))
    with pytest.raises(Refused, match="a manifest has at most"):
        await listed(shelf.inventory())


async def test_a_file_that_is_gone_is_said_to_be_gone(shelf: Shelf) -> None:
    await shelf.deliver("2026-11-20T01-00Z", [], files=[{"key": "data/gone.csv.gz", "size": 5, "MD5checksum": ""}])
    with pytest.raises(LocationMissing, match="is gone"):
        await listed(shelf.inventory())


async def test_a_scan_of_a_route_reads_its_inventory(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a reader with an inventory, and a publisher that may list eight ranges at once
    monkeypatch.setattr(s3_inventory, "PAGE", 10)
    await shelf.deliver("2026-11-20T01-00Z", [gzip.compress(table([line(f"in/{number:02}") for number in range(35)]))])
    reader = InventoryReader(shelf.reader(Location.parse("s3://photos/in")), shelf.inventory())
    # When the scan is interrupted behind its second page, and goes on from the gap that is left
    async with aclosing(scan(reader, EVERYTHING, skip_markers=True, shards=8)) as pages:
        first = [await anext(pages), await anext(pages)]
    left = [page async for page in scan(reader, [Gap(first[-1].done.until, None)], skip_markers=True, shards=8)]
    # Then every object was listed once, in one range
    assert [item.key for page in (*first, *left) for item in page.objects] == [f"{number:02}" for number in range(35)]


def test_the_option_of_a_source_makes_its_reader_read_the_inventory() -> None:
    for inventory, kind in ((None, s3.S3Reader), (f"s3://lists/{FOLDER}", InventoryReader)):
        reader = s3.reader(Location.parse("s3://photos/in"), StoreOptions(inventory=inventory), Settings(), Transport())
        assert isinstance(reader, kind)
        assert reader.limits.parallel_listing is (inventory is None)
