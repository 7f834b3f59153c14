"""A large object on its way to Drive: a resumable session, and the proof that what arrived is what was sent.

Drive shows the file as soon as it has the last byte, and compares nothing. So the last part is kept until `complete`; the
file says where its bytes are from only after they have been compared (one request more), and until then nobody takes it for
the object.

The parts come in sequence, and MD5 runs along. An upload that another process began cannot be proven that way: its MD5 died
with it (and hashlib cannot hand one on). Then the whole file is read back, and its CRC32C is compared with that of the
parts, which does outlive a process: a resumed upload costs a download, and is no less proven.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from common.checksums import crc32c as checksum
from common.checksums import join
from common.errors import ChecksumMismatch, Unavailable, UploadLost
from common.storage.base import MIB, PartReceipt
from common.storage.gdrive.quota import NO_UNITS, UNITS_DOWNLOAD
from common.storage.resumable import ResumableSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.errors import ObjectError
    from common.objects import Headers, StoredObject
    from common.storage.gdrive.control import Drive
    from common.storage.gdrive.places import Place
    from common.storage.gdrive.writer import DriveWriter
    from common.transport.http import Response

READ_BACK = 16 * MIB
"""Bytes of a file that is read back, in memory at once. Each request takes 200 units, however much it brings."""


class DriveUpload:
    """A resumable session. `token` holds its URI: whoever knows it can write to it, so it is never shown."""

    def __init__(
        self,
        writer: DriveWriter,
        drive: Drive,
        place: Place,
        *,
        size: int,
        headers: Headers,
        session: str,
        committed: int | None,
    ) -> None:
        self.token = f"{place.id} {session}"
        self._writer = writer
        self._drive = drive
        self._place = place
        self._size = size
        self._headers = headers
        self._last: tuple[int, bytes] = (0, b"")
        self._session = ResumableSession(
            self._send,
            self._failure,
            session,
            drive.origin,
            service="Drive",
            name=place.key,
            size=size,
            committed=committed,
        )
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashed = 0
        """Bytes from the first one on that `_md5` has seen."""

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        if offset == self._hashed:
            self._hashed += len(data)
            await asyncio.to_thread(self._md5.update, data)
        if offset + len(data) == self._size:
            self._last = (offset, data)
            return PartReceipt(number, len(data), crc32c, stored=False)
        ended = await self._session.fill(offset, data)
        if ended is not None:
            raise UploadLost(f"{self._place.key!r}: Drive ended the upload before its last part came")
        return PartReceipt(number, len(data), crc32c)

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        whole = 0
        for receipt in receipts:
            whole = join(whole, receipt.crc32c, receipt.size)
        if sum(receipt.size for receipt in receipts) != self._size or whole != crc32c:
            raise ChecksumMismatch(f"the parts of {self._place.key!r} do not add up to its {self._size} bytes and their CRC32C")
        async with self._writer.lock(self._place.key):
            response = await self._end()
            await self._writer.heed(response, self._place)
            md5 = self._md5.hexdigest() if self._hashed == self._size else None
            found = self._writer.taken(response, self._place, "write", self._size, md5)
            if md5 is None:
                md5 = await self._read_back(found, crc32c)
            return await self._writer.label(self._place, self._headers, md5, crc32c)

    async def abort(self) -> None:
        await self._session.abort()

    async def _end(self) -> Response:
        """Send the last part, once nobody else has written there meanwhile. The answer that ended the upload."""
        ended = await self._session.settle()
        if ended is not None:
            return ended
        await self._writer.still_free(self._place)
        return await self._session.finish(*self._last)

    async def _send(self, method: str, uri: str, headers: Sequence[tuple[str, str]], data: bytes) -> Response:
        return await self._drive.send(method, uri, headers, data, units=NO_UNITS)

    def _failure(self, response: Response, doing: str) -> ObjectError:
        return self._drive.failure(response, doing, self._place.key)

    async def _read_back(self, found: StoredObject, crc32c: int) -> str:
        """The MD5 of the file, once its CRC32C is known to be right. Raises ChecksumMismatch when it is not."""
        md5, whole = hashlib.md5(usedforsecurity=False), 0
        for start in range(0, self._size, READ_BACK):
            end = min(start + READ_BACK, self._size)
            url = self._drive.media_url(self._place.id)
            headers = [("Range", f"bytes={start}-{end - 1}")]
            response = await self._drive.send("GET", url, headers, expect=end - start, units=UNITS_DOWNLOAD)
            if response.status not in (200, 206):
                raise self._session.failure(response, "read back")
            if len(response.body) != end - start:
                raise Unavailable(f"{self._place.key!r} was read back, and {len(response.body)} of {end - start} bytes came")
            await asyncio.to_thread(md5.update, response.body)
            whole = join(whole, checksum(response.body), end - start)
        if whole != crc32c:
            raise ChecksumMismatch(
                f"Drive holds bytes with CRC32C {whole:08x} as {found.key!r}, those with {crc32c:08x} were sent"
            )
        return md5.hexdigest()
