"""Google Drive as a source.

Drive cannot be asked for "these bytes if they are still that version". But its versions only go forward: when a file still has
the version of the task after the bytes have come, they are that version's. So each read is two requests, the bytes and then a
look.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from common.errors import Refused, SourceChanged, SourceMissing, Unavailable
from common.storage import proof
from common.storage.base import LARGEST_READ, Content
from common.storage.gdrive import changes
from common.storage.gdrive.limits import LIMITS
from common.storage.gdrive.listing import Listing, Walk, place
from common.storage.gdrive.natives import LARGEST_EXPORT
from common.storage.gdrive.quota import UNITS_DOWNLOAD
from common.storage.gdrive.resource import NATIVE
from common.storage.gdrive.tree import Tree
from common.transport.aws import encode_query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.config import StoreOptions
    from common.location import Location
    from common.objects import Span, StoredObject, Version
    from common.storage.base import Page
    from common.storage.gdrive.control import Drive
    from common.storage.gdrive.tree import Resource
    from common.transport.http import Response

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_DOCUMENT = re.compile(r"v\d+(@.+)?")
"""The version of what shows neither a revision nor a hash (`resource.version`): nearly always a document of Google's."""


class DriveReader:
    """One location. `drive` is closed by who opened its transport."""

    limits = replace(LIMITS, largest_unsized=LARGEST_EXPORT, reads_by_key=False, tells_changes=True)

    def __init__(self, drive: Drive, location: Location, options: StoreOptions) -> None:
        self._drive = drive
        self._tree = Tree(drive, location, options)
        self._interrupted: Listing | None = None

    async def stat(self, key: str) -> StoredObject | None:
        found = await self._tree.find(key)
        return None if found is None else self._tree.stored(found, key)

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        """Resumed behind the page at which it met an error it goes on where it was; anywhere else it begins with the folders that
        were under way.
        """
        listing, self._interrupted = self._interrupted, None
        if listing is None or listing.cursor != after:
            where = place(after or "")
            feed = where.startswith(changes.MARK)
            listing = Listing(changes.Feed(self._tree, where) if feed else await Walk.begin(self._tree, where), after)
        whole = False
        try:
            while (page := await listing.next()) is not None:
                whole = page.after is None
                yield page
            whole = True
        finally:
            if not whole:
                self._interrupted = listing

    async def mark(self) -> str | None:
        return await changes.mark(self._tree)

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        file_id = version.id if version is not None else None
        if version is None or file_id is None:
            found = await self._tree.find(key)
            if found is None:
                raise SourceMissing(f"cannot read {self._tree.name(key)!r}: there is no such file")
            seen = self._tree.stored(found, key).version
            if version is not None and version.token != seen.token:
                raise SourceChanged(f"cannot read {self._tree.name(key)!r}: it is another version")
            version, file_id = seen, found["id"]
        if _DOCUMENT.fullmatch(version.token):
            before = await self._still(key, file_id, version)
            if before["mimeType"].startswith(NATIVE):
                return await self._exported(key, before, span, version)
        return await self._content(key, file_id, span, version)

    async def close(self) -> None:
        """The transport is shared and closed by who opened it."""

    async def _content(self, key: str, file_id: str, span: Span | None, version: Version) -> Content:
        name = self._tree.name(key)
        headers = [] if span is None else [("Range", f"bytes={span.start}-{span.end - 1}")]
        expect = LARGEST_READ if span is None else len(span)
        response = await self._drive.send("GET", self._drive.media_url(file_id), headers, expect=expect, units=UNITS_DOWNLOAD)
        if response.status not in (200, 206):
            failed = self._drive.failure(response, "read", name)
            if not failed.retryable:
                await self._still(key, file_id, version)
            raise SourceChanged(str(failed)) if response.status == 416 else failed
        found = self._tree.stored(await self._still(key, file_id, version), key)
        data, total = _bytes(response, span, name)
        if total != found.size:
            raise Unavailable(f"cannot read {name!r}: {total} bytes came of a file of {found.size}")
        if len(data) == found.size:
            await proof.compare(data, found, name, "Drive")
        return Content(found, data)

    async def _exported(self, key: str, before: Resource, span: Span | None, version: Version) -> Content:
        """A document as a file of another format. It is made anew for each request, so that it can only be had whole."""
        name = self._tree.name(key)
        if span is not None:
            raise Refused(f"cannot read {name!r} in parts: an export is other bytes each time")
        file_id, kind = before["id"], self._tree.natives.export(before["mimeType"])
        if kind is None:
            raise SourceMissing(f"cannot read {name!r}: the route leaves documents of this kind out (natives)")
        url = f"{self._drive.origin}/drive/v3/files/{quote(file_id, safe='')}/export?{encode_query([('mimeType', kind)])}"
        response = await self._drive.send("GET", url, expect=LARGEST_EXPORT, units=UNITS_DOWNLOAD)
        if response.status != 200:
            raise self._drive.failure(response, "export", name)
        resource = await self._still(key, file_id, version)
        return Content(replace(self._tree.stored(resource, key), size=len(response.body)), response.body)

    async def _still(self, key: str, file_id: str, version: Version) -> Resource:
        """The file as it is now. Raises SourceChanged unless it has still this version, SourceMissing when it is gone."""
        resource = await self._tree.get(file_id)
        if resource is None:
            raise SourceMissing(f"cannot read {self._tree.name(key)!r}: the file is gone, or in the trash")
        if self._tree.stored(resource, key).version.token != version.token:
            raise SourceChanged(f"cannot read {self._tree.name(key)!r}: it has been changed since it was listed")
        return resource


def _bytes(response: Response, span: Span | None, name: str) -> tuple[bytes, int]:
    """The bytes of the span, and the size of the whole. A 200 brings a file from its beginning, whatever was asked for."""
    data = response.body
    if response.status == 200:
        if span is not None and len(data) < span.end:
            raise Unavailable(f"cannot read {name!r}: asked for bytes {span.start}-{span.end - 1}, the answer is not that range")
        return data if span is None else data[span.start : span.end], len(data)
    ranged = _RANGE.fullmatch(response.headers.get("content-range", ""))
    first, last, total = (int(number) for number in ranged.groups()) if ranged else (0, -1, 0)
    if span is None or (first, last + 1) != (span.start, span.end) or len(data) != len(span):
        raise Unavailable(f"cannot read {name!r}: {len(data)} bytes of the range {first}-{last} are not what was asked for")
    return data, total
