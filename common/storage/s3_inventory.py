"""S3 Inventory as the listing of a bucket that is too large to be listed again and again.

S3 writes the list of all objects once a day or a week: a manifest, and files of comma-separated values, gzipped
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html). Reading it asks the bucket nothing, and
goes as fast as one core inflates and parses.

It shows the bucket as it was when it was made. What has changed since then is met by the workers: they find another version or
none at the source, and go on with what is there now. What is new since then is in the next inventory, or in a usual listing.

A checkpoint names the manifest, the file and the line, so a scan goes on in the inventory that it began, if a newer one has
come meanwhile. It begins with a character that comes before every key: should the route be listed as usual from then on, that
listing begins at its beginning.

In memory: two pieces of a file as it is stored, and one that is inflated; whatever the bucket's size.
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
from common.storage.base import MIB, Page
from common.storage.s3_listing import as_listed, decoded
from common.storage.s3_manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from common.objects import StoredObject, Version
    from common.storage.base import Content, Reader
    from common.storage.s3_listing import Row
    from common.storage.s3_manifest import File

PIECE = 4 * MIB
"""What is read at once, and at most what is inflated at once."""
PAGE = 1000
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
        self.limits = replace(inner.limits, ordered_listing=False, parallel_listing=False)
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
                    found = self._below(manifest.rows(rows, f"the inventory's file {file.key!r}"))
                    yield Page(as_listed(found, [row[0] for row in found]), str(_Place(place.manifest, number, done)))
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
        try:
            content = await self._files.read(key, None, None)
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
        digest, inflater = hashlib.md5(usedforsecurity=False), zlib.decompressobj(wbits=31)
        async with aclosing(self._stored(file)) as stored:
            async for data in stored:
                digest.update(data)
                left, more = data, True
                while left or more:
                    if inflater.eof:  # another one behind it: a gzip file may be several in a row
                        inflater = zlib.decompressobj(wbits=31)
                    try:
                        piece = inflater.decompress(left, PIECE)
                    except zlib.error as error:
                        raise ChecksumMismatch(f"the inventory's file {file.key!r} is damaged: {error}") from error
                    left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                    more = len(piece) == PIECE and not inflater.eof
                    if piece:
                        yield piece
        if file.md5 and digest.hexdigest() != file.md5.lower():
            raise ChecksumMismatch(f"the inventory's file {file.key!r} does not have the MD5 that the manifest says")
        if file.size and not inflater.eof:
            raise ChecksumMismatch(f"the inventory's file {file.key!r} ends in the middle")

    async def _stored(self, file: File) -> AsyncGenerator[bytes, None]:
        spans = [Span(start, min(start + PIECE, file.size)) for start in range(0, file.size, PIECE)]
        ahead: asyncio.Task[Content] | None = None
        try:
            for number, span in enumerate(spans):
                content = await (ahead or self._files.read(file.key, span, None))
                ahead = None
                if number + 1 < len(spans):
                    ahead = asyncio.create_task(self._files.read(file.key, spans[number + 1], None))
                yield content.data
        except SourceMissing as error:
            raise LocationMissing(
                f"the inventory's file {file.key!r} is gone: wait for the next inventory, or keep the files for longer"
            ) from error
        finally:
            if ahead is not None:
                await cancel(ahead)


def _split(lines: Sequence[bytes], file: File) -> list[list[str]]:
    """Keys are URL-encoded, so that no field holds a line's end."""
    try:
        rows = list(csv.reader(b"\n".join(lines).decode().split("\n"), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"the inventory's file {file.key!r} is not what an inventory holds: {error}") from error
    if len(rows) != len(lines):
        raise Refused(f"the inventory's file {file.key!r} is not what an inventory holds: a field of several lines")
    return rows
