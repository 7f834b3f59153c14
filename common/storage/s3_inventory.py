"""S3 Inventory as the listing of a bucket that is too large to be listed again and again.

S3 writes the list of all objects once a day or a week: a manifest, and files of comma-separated values, gzipped
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html). Reading it asks the bucket nothing, and
goes as fast as one core inflates and parses.

It shows the bucket as it was when it was made. What has changed since then is met by the workers: they find another version or
none at the source, and go on with what is there now. What is new since then is in the next inventory, or in a usual listing.

A checkpoint names the manifest, the file and the line, so a scan goes on in the inventory that it began, if a newer one has
come meanwhile. It begins with a character that comes before every key: should the route be listed as usual from then on, that
listing begins at its beginning.

In memory: two pieces of a file as it is stored, one that is inflated, and a line; whatever the bucket's size, and whatever the
files hold: somebody else may be able to write them.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import re
import zlib
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from common.cancelling import cancel
from common.errors import ChecksumMismatch, LocationMissing, Refused, SourceMissing
from common.location import Location
from common.objects import Span
from common.storage.base import MIB, Fault, Page
from common.storage.s3_listing import as_listed, decoded
from common.storage.s3_manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence

    from common.objects import StoredObject, Version
    from common.storage.base import Content, Reader
    from common.storage.s3_listing import Row
    from common.storage.s3_manifest import File

PIECE = 4 * MIB
"""What is read at once, and at most what is inflated at once."""
PAGE = 1000
STEP = 64 * 1024
"""What is handed to the inflater at once. It copies what it has not used each time that it stops, and may stop at every byte."""
LONGEST_LINE = 256 * 1024
"""Bytes. A key has at most 1,024, each written as three, and a list of access rights some 20 KiB; a line of more is none."""
LARGEST_MANIFEST = 16 * MIB
"""Some 50,000 files; S3 makes one for each million objects or so."""
MANIFEST = "manifest.json"
_DAY = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\dZ/manifest\.json")
_BEHIND_DAYS = "3"
"""Beside the folders of the days lie `data/` and `hive/`, with very many files."""
_CHECKPOINT = re.compile("\x01(\\d{1,9}):(\\d{1,15}):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Place:
    """`line` lines of the file with that number are behind us."""

    manifest: str
    file: int = 0
    line: int = 0

    def __str__(self) -> str:
        return f"\x01{self.file}:{self.line}:{self.manifest}"

    @classmethod
    def of(cls, checkpoint: str | None) -> _Place | None:
        """None for what is not ours: a key, where the route was listed as usual before."""
        match = _CHECKPOINT.fullmatch(checkpoint or "")
        return cls(match[3], int(match[1]), int(match[2])) if match else None


class InventoryReader:
    """A reader whose listing is an inventory; everything else is the inner reader's, and closing it closes that."""

    def __init__(self, inner: Reader, inventory: Inventory) -> None:
        self.limits = replace(inner.limits, ordered_listing=False, parallel_listing=False, lists_as_it_is=False)
        self._inner = inner
        self._inventory = inventory

    async def stat(self, key: str) -> StoredObject | None:
        return await self._inner.stat(key)

    def list(self, after: str | None = None) -> AsyncIterator[Page]:
        return self._inventory.pages(after)

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        return await self._inner.read(key, span, version)

    async def close(self) -> None:
        await self._inner.close()


class Inventory:
    """The inventory at `url` (a manifest.json, or the folder in which S3 puts one for each day) of what is in `source`.

    `open_reader` reads in another location of the same service.
    """

    def __init__(self, url: str, source: Location, open_reader: Callable[[Location], Reader]) -> None:
        self._url = url
        self._source = source
        path = url.removesuffix(MANIFEST) if url.endswith(f"/{MANIFEST}") else url
        folder = Location.parse(path)
        self._manifest = folder.prefix + MANIFEST if path != url else None
        self._folder = open_reader(folder)
        self._files = open_reader(Location(folder.scheme, folder.bucket, ""))
        self._bucket, self._prefix = folder.bucket, folder.prefix

    async def pages(self, after: str | None) -> AsyncIterator[Page]:
        """Raises Refused for an inventory that cannot be used, and says what to change."""
        place = _Place.of(after)
        manifest = None
        if place is not None and (self._manifest is None or place.manifest == self._manifest):
            manifest = await self._read_manifest(place.manifest)
        if place is None or manifest is None:  # nothing to go on with, or its inventory has been deleted meanwhile
            place = _Place(self._manifest or await self._newest())
            manifest = await self._read_manifest(place.manifest)
        if manifest is None:
            raise LocationMissing(f"there is no inventory {self._url!r}: name a manifest.json, or the folder of an inventory")
        for number, file in enumerate(manifest.files):
            if number < place.file:
                continue
            done = place.line if number == place.file else 0
            async with aclosing(self._rows(file, done)) as pages:
                async for rows in pages:
                    done += len(rows)
                    good, odd = manifest.rows(rows, f"the inventory's file {file.key!r}")
                    found = self._below(good)
                    faults = [_fault(row, file) for row in self._below(odd)]
                    objects = as_listed(found, [row[0] for row in found])
                    yield Page(objects, str(_Place(place.manifest, number, done)), faults)
        yield Page((), None)

    async def _newest(self) -> str:
        newest = ""
        async for page in self._folder.list(None):
            for item in page.objects:
                if _DAY.fullmatch(item.key):
                    newest = max(newest, item.key)
            if page.objects and page.objects[-1].key >= _BEHIND_DAYS:
                break
        if not newest:
            raise LocationMissing(
                f"no inventory is in {self._url!r} yet: S3 delivers the first one within 48 hours; the folder to name is "
                "destination-prefix/source-bucket/configuration-id/"
            )
        return self._prefix + newest

    async def _read_manifest(self, key: str) -> Manifest | None:
        found = await self._files.stat(key)
        if found is None:
            return None
        if found.size > LARGEST_MANIFEST:
            raise Refused(f"s3://{self._bucket}/{key} has {found.size} bytes: a manifest has at most {LARGEST_MANIFEST}")
        try:
            content = await self._files.read(key, None, found.version)
        except SourceMissing:
            return None
        return Manifest.read(content.data, f"s3://{self._bucket}/{key}", self._source.bucket)

    def _below(self, rows: list[Row]) -> list[Row]:
        """The rows of what is in the source location, by the keys that it has there."""
        if not rows:
            return rows
        prefix = self._source.prefix
        cut, keys = len(prefix), decoded([row[0] for row in rows])
        return [(key[cut:], *row[1:]) for key, row in zip(keys, rows, strict=True) if key.startswith(prefix)]

    async def _rows(self, file: File, skip: int) -> AsyncGenerator[list[list[str]], None]:
        """The lines of a file behind the first `skip`, a page at a time, split into fields."""
        rest = b""
        async with aclosing(self._inflated(file)) as pieces:
            async for piece in pieces:
                lines = (rest + piece).split(b"\n")
                rest = lines.pop()
                _look_at_length(rest, lines, file)
                behind = min(skip, len(lines))
                skip -= behind
                for start in range(behind, len(lines), PAGE):
                    yield _split(lines[start : start + PAGE], file)
        if rest and not skip:
            yield _split([rest], file)

    async def _inflated(self, file: File) -> AsyncGenerator[bytes, None]:
        """The file piece by piece, the next one on its way meanwhile. Raises ChecksumMismatch at its end unless it is what the
        manifest says: until then whatever was read from it is at worst a task for an object that is not there.
        """
        digest, inflating = hashlib.md5(usedforsecurity=False), _Inflating(file)
        async with aclosing(self._stored(file)) as stored:
            async for data in stored:
                digest.update(data)
                for start in range(0, len(data), STEP):
                    for piece in inflating.pieces(data[start : start + STEP]):
                        yield piece
        if file.md5 and digest.hexdigest() != file.md5.lower():
            raise ChecksumMismatch(f"the inventory's file {file.key!r} does not have the MD5 that the manifest says")
        if file.size and not inflating.ended:
            raise ChecksumMismatch(f"the inventory's file {file.key!r} ends in the middle")

    async def _stored(self, file: File) -> AsyncGenerator[bytes, None]:
        ahead: asyncio.Task[Content] | None = None
        try:
            for start in range(0, file.size, PIECE):
                content = await (ahead or self._piece(file, start))
                ahead = None
                if start + PIECE < file.size:
                    ahead = asyncio.create_task(self._piece(file, start + PIECE))
                yield content.data
        except SourceMissing as error:
            raise LocationMissing(
                f"the inventory's file {file.key!r} is gone: wait for the next inventory, or keep the files for longer"
            ) from error
        finally:
            if ahead is not None:
                await cancel(ahead)

    async def _piece(self, file: File, start: int) -> Content:
        return await self._files.read(file.key, Span(start, min(start + PIECE, file.size)), None)


class _Inflating:
    """A gzip file, which may be several in a row, some of them empty."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._inflater = zlib.decompressobj(wbits=31)

    @property
    def ended(self) -> bool:
        return self._inflater.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What these bytes inflate to: in few pieces, of at most PIECE and what a step of small files makes."""
        small: list[bytes] = []
        left, more = data, True
        while left or more:
            if self._inflater.eof:
                self._inflater = zlib.decompressobj(wbits=31)
            piece = self._more(left)
            left = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            more = len(piece) == PIECE and not self._inflater.eof
            small.append(piece)
            if len(piece) >= STEP:
                yield b"".join(small)
                small.clear()
        yield b"".join(small)

    def _more(self, data: bytes) -> bytes:
        try:
            return self._inflater.decompress(data, PIECE)
        except zlib.error as error:
            raise ChecksumMismatch(f"the inventory's file {self._file.key!r} is damaged: {error}") from error


def _look_at_length(rest: bytes, lines: Sequence[bytes], file: File) -> None:
    longest = max(len(rest), len(lines[0]) if lines else 0)  # only the first may have begun in another piece
    if longest > LONGEST_LINE:
        raise Refused(
            f"the inventory's file {file.key!r} is not what an inventory holds: a line of {longest} bytes or more, "
            f"where {LONGEST_LINE} are allowed"
        )


def _fault(row: Row, file: File) -> Fault:
    return Fault(row[0], Refused(f"the inventory's file {file.key!r} lists {row[0][:200]!r} without an ETag or a size"))


def _split(lines: Sequence[bytes], file: File) -> list[list[str]]:
    """Keys are URL-encoded, so that no field holds a line's end."""
    try:
        rows = list(csv.reader(b"\n".join(lines).decode().split("\n"), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"the inventory's file {file.key!r} is not what an inventory holds: {error}") from error
    if len(rows) != len(lines):
        raise Refused(f"the inventory's file {file.key!r} is not what an inventory holds: a field of several lines")
    return rows
