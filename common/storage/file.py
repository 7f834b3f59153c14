"""A directory as a location: `file:///directory`. This file reads; `file_writer` writes.

Every regular file below the directory is an object. Symbolic links are not followed and not objects, so that a tree cannot
lead out of itself or in circles; pages count them (`left_out`: symlink, special_file, staging). Files are read in threads, a span
at a time; only the span is in memory.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from common.checksums import crc32c
from common.errors import ChecksumMismatch, InvalidName, LocationMissing, Refused, SourceChanged, SourceMissing
from common.objects import StoredObject
from common.storage.base import LARGEST_READ, MIB, Content, Fault, Limits, Page
from common.storage.file_listing import LeftOut, walk
from common.storage.file_note import describe, may_be_same, read_note, stat_file, token
from common.storage.file_tree import Tree, encoded, failure, is_gone, segments, told
from common.storage.file_writer import FileWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from common.config import Settings, StoreOptions
    from common.location import Location
    from common.objects import Span, Version
    from common.storage.base import Reader, Writer
    from common.storage.file_listing import Entry
    from common.transport.http import Transport

LIMITS = Limits(
    largest_object=2**63 - 1, largest_put=64 * MIB, parallel_parts=True, on_this_machine=True, may_be_same=may_be_same
)
PAGE = 1000


def reader(location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Reader:  # noqa: ARG001
    """A reader of the directory. Touches nothing yet: a missing directory is the first call's LocationMissing."""
    return FileReader(location.prefix)


def writer(location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Writer:  # noqa: ARG001
    """A writer to the directory. Looks at once what the filesystem can do, and removes what crashed uploads left behind."""
    return FileWriter.open(Tree(location.prefix), LIMITS)


async def ready(location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> None:  # noqa: ARG001
    """Raises ObjectError where nothing could be written: no such directory, no right to it, no room."""
    await asyncio.to_thread(_ready, location.prefix)


def _ready(root: str) -> None:
    path = encoded(root)
    with told(f"cannot write to {root!r}"):
        if not os.path.isdir(path):  # noqa: PTH112 - names are bytes
            raise LocationMissing(f"cannot write to {root!r}: there is no such directory; create it, or mount what belongs there")
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        room = os.statvfs(path)
        if room.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not room.f_bavail or (room.f_files and not room.f_favail):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FileReader:
    """One directory as a source. Holds nothing open between calls."""

    def __init__(self, root: str, page: int = PAGE) -> None:
        self.limits = LIMITS
        self._tree = Tree(root)
        self._page = page

    async def stat(self, key: str) -> StoredObject | None:
        return await asyncio.to_thread(stat_file, self._tree, key)

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        found = walk(self._tree, b"" if after is None else encoded(after))
        ahead: list[Entry] = []
        while True:
            # One entry more than a page holds is fetched, to know whether the page is the last.
            entries = ahead + await asyncio.to_thread(_take, found, self._page + 1 - len(ahead))
            entries, ahead = entries[: self._page], entries[self._page :]
            yield _page(entries, last=not ahead)
            if not ahead:
                return

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        return await asyncio.to_thread(self._read, key, span, version)

    async def close(self) -> None:
        """Nothing is held open."""

    def _read(self, key: str, span: Span | None, version: Version | None) -> Content:
        where = self._tree.root + key
        try:
            with self._tree.file(segments(key)) as (descriptor, before):
                if version is not None and token(before) != version.token:
                    raise SourceChanged(f"{where} is version {token(before)}, not {version.token}")
                start, end = (0, before.st_size) if span is None else (span.start, span.end)
                if end > before.st_size:
                    raise SourceChanged(f"{where} has {before.st_size} bytes, the span ends at {end}")
                if span is None and end > LARGEST_READ:
                    raise Refused(f"{where}: {end} bytes are more than a read of a whole object may bring ({LARGEST_READ})")
                data = _read_span(descriptor, start, end)
                if len(data) != end - start or token(os.fstat(descriptor)) != token(before):
                    raise SourceChanged(f"{where} was changed while it was read")
                found = describe(key, before, read_note(descriptor, before))
                if end - start == before.st_size and found.crc32c not in (None, crc32c(data)):
                    raise ChecksumMismatch(
                        f"{where}: the bytes are not those that were written, and nobody says to have changed them"
                    )
                return Content(found, data)
        except InvalidName as error:
            raise SourceMissing(f"no file can have this name: {error}") from error
        except OSError as error:
            if is_gone(error):
                raise SourceMissing(f"{where} does not exist, or is not a regular file") from error
            raise failure(error, where) from error


def _page(entries: Sequence[Entry], *, last: bool) -> Page:
    objects = [entry for entry in entries if isinstance(entry, StoredObject)]
    faults = [entry for entry in entries if isinstance(entry, Fault)]
    left_out: Counter[str] = Counter()
    for entry in entries:
        if isinstance(entry, LeftOut):
            left_out[entry.reason] += entry.entries
    return Page(objects, None if last else entries[-1].key, faults, left_out)


def _take(found: Iterator[Entry], most: int) -> list[Entry]:
    return list(islice(found, most))


def _read_span(descriptor: int, start: int, end: int) -> bytes:
    """The bytes from start to end; fewer if the file ends before."""
    data = os.pread(descriptor, end - start, start)
    if len(data) == end - start:
        return data
    pieces = [data]
    position = start + len(data)
    while position < end and pieces[-1]:
        pieces.append(os.pread(descriptor, end - position, position))
        position += len(pieces[-1])
    return b"".join(pieces)
