"""The whole of an object that is moved in parts, against what its source states of all bytes.

A range of an object has no checksum to be compared with, the whole has. CRC32C and CRC64NVME are joined from those of the parts.
Any other goes through the bytes in their order: a part that comes early waits here for those before it, after it has been
written, and one that the reader had to ask for again keeps its place. A running hash cannot be kept for another process
(hashlib gives none away); so whoever goes on with an upload reads the parts before once more, and holds them against the CRC32C
of what was sent then. Nothing is compared with less than all of it: there is no way through here without a result.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.checksums import Digest, join, join_crc64nvme
from common.errors import ChecksumMismatch
from common.storage import proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import StoredObject
    from common.storage.base import PartReceipt


class Whole:
    """Of one object, for one attempt. Many parts at once may wait in `add`; whoever gives one up cancels the others."""

    def __init__(self, source: StoredObject) -> None:
        self._source = source
        kind, self._expected = proof.in_order(source) or ("", "")
        self._kind = kind
        self._digest = Digest(kind) if kind else None
        self._next = 0
        self._turn = asyncio.Condition()

    def wants(self, arrived: PartReceipt) -> bool:
        """Whether a part that has arrived in an earlier attempt is to be read again, because its receipt does not say enough."""
        return self._digest is not None or (self._source.crc64nvme is not None and arrived.crc64nvme is None)

    async def add(self, number: int, data: bytes) -> None:
        """The bytes of one part; every part is added once. Returns when those before it have been, too."""
        if self._digest is None:
            return
        async with self._turn:
            await self._turn.wait_for(lambda: self._next == number)
            await self._digest.update(data)
            self._next += 1
            self._turn.notify_all()

    def crc32c(self, receipts: Sequence[PartReceipt]) -> int:
        """The CRC32C of all bytes, from the receipts of all parts in their order. Raises ChecksumMismatch unless the parts
        together are the bytes of which the source states a checksum.
        """
        whole = 0
        for part in receipts:
            whole = join(whole, part.crc32c, part.size)
        self._compare("CRC32C", whole, self._source.crc32c)
        if self._source.crc64nvme is not None:
            self._compare("CRC64NVME", _crc64nvme(receipts), self._source.crc64nvme)
        if self._digest is not None:
            complete = self._next == len(receipts)
            self._compare(self._kind.upper(), self._digest.hexdigest() if complete else None, self._expected)
        return whole

    def _compare(self, kind: str, found: int | str | None, stated: int | str | None) -> None:
        if stated is not None and found != stated:
            raise mismatch(f"the parts read of {self._source.key!r} have the {kind} {found} together, its source keeps {stated}")


def mismatch(message: str) -> ChecksumMismatch:
    """For bytes that came from the source and are not what it keeps."""
    error = ChecksumMismatch(message)
    error.at_source = True
    return error


def _crc64nvme(receipts: Sequence[PartReceipt]) -> int | None:
    """None where a part has none: nothing is proven then."""
    whole = 0
    for part in receipts:
        if part.crc64nvme is None:
            return None
        whole = join_crc64nvme(whole, part.crc64nvme, part.size)
    return whole
