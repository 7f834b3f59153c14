"""The checksums that prove a copy: CRC32C (Castagnoli), which every destination keeps or verifies, and CRC64NVME, which S3 keeps
of whatever was put there without another.

Both are hashed at memory speed, without the GIL, and can be joined: the checksum of a whole object from those of its parts, so
that parts may be moved in any order and no byte is read twice.
"""

from __future__ import annotations

import base64

from awscrt import checksums


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
