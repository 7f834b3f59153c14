"""The checksums that prove a copy: CRC32C (Castagnoli), which every destination keeps or verifies, and CRC64NVME, which S3 keeps
of whatever was put there without another.

Both are hashed at memory speed, without the GIL, and can be joined: the checksum of a whole object from those of its parts, so
that parts may be moved in any order and no byte is read twice. Other checksums that a source may keep instead cannot be joined:
they go through the bytes in their order (`Digest`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import zlib
from typing import TYPE_CHECKING, Protocol

from awscrt import checksums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_AT_ONCE = 1024 * 1024
"""Bytes; to hash more takes milliseconds, and is done in a thread, out of the way of the event loop."""


def crc32c(data: bytes | memoryview, before: int = 0) -> int:
    """Of the bytes, unsigned; going on from that of the bytes `before` them."""
    value: int = checksums.crc32c(data, before)
    return value


def crc64nvme(data: bytes | memoryview) -> int:
    """Of the bytes, unsigned."""
    value: int = checksums.crc64nvme(data)
    return value


def join(first: int, second: int, second_length: int) -> int:
    """The CRC32C of A + B, from those of A and of B and the length of B in bytes."""
    value: int = checksums.combine_crc32c(first, second, second_length)
    return value


def join_crc64nvme(first: int, second: int, second_length: int) -> int:
    """As `join`, for CRC64NVME."""
    value: int = checksums.combine_crc64nvme(first, second, second_length)
    return value


def as_text(value: int) -> str:
    """A CRC32C as both S3 and GCS write it: base64 of four bytes, big end first."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


_HASHES: Mapping[str, Callable[[], _Hash]] = {
    "sha256": lambda: hashlib.sha256(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc32": _Crc32,
}
IN_ORDER = tuple(_HASHES)
"""The checksums that cannot be joined; the one that says most comes first."""


class Digest:
    """A running checksum of one of the kinds IN_ORDER. Not for two coroutines at once."""

    def __init__(self, kind: str) -> None:
        self._hash = _HASHES[kind]()

    async def update(self, data: bytes) -> None:
        if len(data) > _AT_ONCE:
            await asyncio.to_thread(self._hash.update, data)
        else:
            self._hash.update(data)

    def hexdigest(self) -> str:
        """Of all bytes so far, in lower-case hex digits."""
        return self._hash.hexdigest()
