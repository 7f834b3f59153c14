"""CRC32C (Castagnoli), the one checksum that every destination keeps or verifies: hashing and joining.

`google_crc32c` hashes at memory speed and releases the GIL. What it lacks is joining: the checksum of a whole object from
those of its parts, so that parts may be moved in any order and no byte is read twice. Appending n zero bytes to a message is
a linear map over GF(2) on its CRC; joining is that map and an exclusive or (the method of zlib's crc32_combine, by Mark Adler).
"""

from __future__ import annotations

import base64
from functools import lru_cache

import google_crc32c

_POLYNOMIAL = 0x82F63B78  # reflected; RFC 3720, appendix B.4
_BITS = 32

Matrix = tuple[int, ...]


def crc32c(data: bytes) -> int:
    """Of the bytes, unsigned."""
    value: int = google_crc32c.value(data)
    return value


def as_text(value: int) -> str:
    """A CRC32C as both S3 and GCS write it: base64 of four bytes, big end first."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def join(first: int, second: int, second_length: int) -> int:
    """The CRC32C of A + B, from those of A and of B and the length of B in bytes."""
    if second_length == 0:
        return first
    return _times(_append_zeros(second_length), first) ^ second


def _times(matrix: Matrix, vector: int) -> int:
    total = 0
    row = 0
    while vector:
        if vector & 1:
            total ^= matrix[row]
        vector >>= 1
        row += 1
    return total


def _square(matrix: Matrix) -> Matrix:
    return tuple(_times(matrix, row) for row in matrix)


@lru_cache(maxsize=64)
def _append_zeros(count: int) -> Matrix:
    """The map that appending `count` zero bytes is. Parts have few different lengths: the cache makes a join cost
    microseconds.
    """
    one_bit: Matrix = (_POLYNOMIAL, *(1 << bit for bit in range(_BITS - 1)))
    power = _square(_square(_square(one_bit)))  # one byte
    result: Matrix = tuple(1 << bit for bit in range(_BITS))
    while count:
        if count & 1:
            result = tuple(_times(power, row) for row in result)
        power = _square(power)
        count >>= 1
    return result
