"""Bytes against what their store states of all of them: one rule for every reader, and for the parts of a large object.

One checksum is compared, the first that is stated of CRC32C, CRC64NVME (both can be joined from parts), SHA-256, SHA-1, MD5 and
CRC32. Where nothing is stated nothing is proven, and `is_stated` says so: whoever moves the object then counts it as unverified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.checksums import IN_ORDER, Digest, crc32c, crc64nvme
from common.errors import ChecksumMismatch

if TYPE_CHECKING:
    from common.objects import StoredObject


def is_stated(found: StoredObject) -> bool:
    """Whether the store states any checksum of all bytes."""
    return found.crc32c is not None or found.crc64nvme is not None or in_order(found) is not None


def in_order(found: StoredObject) -> tuple[str, str] | None:
    """(kind, hex digits) of the checksum that goes through the bytes in their order; None where one that can be joined is stated,
    or none at all.
    """
    if found.crc32c is not None or found.crc64nvme is not None:
        return None
    stated = {**found.digests, "md5": found.md5} if found.md5 is not None else found.digests
    return next(((kind, stated[kind]) for kind in IN_ORDER if kind in stated), None)


async def compare(data: bytes, found: StoredObject, name: str, service: str) -> None:
    """Raises ChecksumMismatch when these are not all bytes of the object. `name` and `service` are for the message."""
    if (kind := await difference(data, found)) is not None:
        raise ChecksumMismatch(f"cannot read {name!r}: the bytes do not match the {kind} that {service} keeps of them")


async def difference(data: bytes, found: StoredObject) -> str | None:
    """The kind of the checksum that shows that these are not all bytes of the object; None where none does."""
    if found.crc32c is not None:
        return None if crc32c(data) == found.crc32c else "CRC32C"
    if found.crc64nvme is not None:
        return None if crc64nvme(data) == found.crc64nvme else "CRC64NVME"
    if (stated := in_order(found)) is None:
        return None
    kind, expected = stated
    digest = Digest(kind)
    await digest.update(data)
    return None if digest.hexdigest() == expected else kind.upper()
