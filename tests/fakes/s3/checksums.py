"""The checksums that S3 knows: one of a whole object, one made of those of its parts, and CRC64NVME, which it adds by itself.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html. XXHASH is left out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import google_crc32c

from tests.fakes.s3.errors import S3Error, invalid_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FULL, COMPOSITE = "FULL_OBJECT", "COMPOSITE"
PREFIX = "x-amz-checksum-"
_POLYNOMIAL = 0x9A6C9329AC4BC9B5
"""CRC-64/NVME, reflected: the lowest bit is the highest power."""
_ONES = (1 << 64) - 1


def crc64nvme(data: bytes) -> bytes:
    """By folding: the front half, multiplied by a power of x, is added to the back half, until little is left.

    A table of bytes would take a second for 10 MB; this takes a tenth of it, in plain integers.
    """
    bits = 8 * len(data) + 64
    value = int.from_bytes(data, "little") ^ (_ONES if len(data) >= 8 else _ONES & ((1 << (8 * len(data))) - 1))
    carried = 0 if len(data) >= 8 else _ONES >> (8 * len(data))  # what of the start value lies behind a short message
    value |= carried << (8 * len(data))
    while bits > 1024:
        back = (bits - 64) // 2
        front = bits - back
        low, high = value & ((1 << front) - 1), value >> front
        value = _times(low, _power(back)) ^ (high << (front + 63 - back))
        bits = front + 63
    for _ in range(bits - 64):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return (value ^ _ONES).to_bytes(8, "big")


def _times(value: int, factor: int) -> int:
    """Without carries. In reflected order the product of a and b bits has a + b - 1."""
    product = 0
    while factor:
        low = factor & -factor
        product ^= value * low
        factor ^= low
    return product


def _power(exponent: int) -> int:
    """x to the `exponent`, modulo the polynomial, by squaring."""
    result, square = 1 << 63, 1 << 62
    while exponent:
        if exponent & 1:
            result = _reduced(_times(result, square))
        square = _reduced(_times(square, square))
        exponent >>= 1
    return result


def _reduced(product: int) -> int:
    """127 bits to 64: the low 63 bits are the high powers."""
    for _ in range(63):
        product = (product >> 1) ^ (_POLYNOMIAL if product & 1 else 0)
    return product


ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: int(google_crc32c.value(data)).to_bytes(4, "big"),
    "CRC64NVME": crc64nvme,
    "SHA1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
    "SHA512": lambda data: hashlib.sha512(data).digest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
}
_TYPES = {"CRC32": (COMPOSITE, FULL), "CRC32C": (COMPOSITE, FULL), "CRC64NVME": (FULL,)}
"""Which types a multipart upload may have, the default first; all others have only the composite one."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """`value` as it travels: base64, and for a composite one the number of parts behind it."""

    algorithm: str
    value: str
    type: str = FULL

    @property
    def header(self) -> str:
        return PREFIX + self.algorithm.lower()

    @property
    def tag(self) -> str:
        return f"Checksum{self.algorithm}"


def of(algorithm: str, data: bytes) -> Checksum:
    return Checksum(algorithm, base64.b64encode(ALGORITHMS[algorithm](data)).decode())


def composite(algorithm: str, parts: Sequence[Checksum]) -> Checksum:
    raw = b"".join(base64.b64decode(part.value) for part in parts)
    return Checksum(algorithm, f"{of(algorithm, raw).value}-{len(parts)}", COMPOSITE)


def kind(algorithm: str, asked: str | None) -> str:
    """The type of a multipart upload's checksum."""
    allowed = _TYPES.get(algorithm, (COMPOSITE,))
    if asked is None:
        return allowed[0]
    if asked not in allowed:
        raise invalid_request(f"The {asked} checksum type cannot be used with the {algorithm.lower()} checksum algorithm.")
    return asked


def algorithm_named(name: str) -> str:
    if name.upper() not in ALGORITHMS:
        raise invalid_request("Checksum algorithm provided is unsupported. Please try again with any of the valid types.")
    return name.upper()


def declared(headers: Mapping[str, str], trailers: Mapping[str, str]) -> Checksum | None:
    """The one that the client sends along, in a header or behind the body."""
    found = [
        Checksum(algorithm, value)
        for algorithm in ALGORITHMS
        if (value := headers.get(PREFIX + algorithm.lower()) or trailers.get(PREFIX + algorithm.lower())) is not None
    ]
    if len(found) > 1:
        raise invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    promised = headers.get("x-amz-sdk-checksum-algorithm")
    if promised and not found:
        text = (
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
        )
        raise invalid_request(text)
    if promised and found[0].algorithm != promised.upper():
        raise invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    return found[0] if found else None


def check(claimed: Checksum, data: bytes) -> None:
    actual = of(claimed.algorithm, data)
    well_formed(claimed)
    if claimed.value != actual.value:
        raise wrong(claimed)


def well_formed(claimed: Checksum) -> None:
    try:
        raw = base64.b64decode(claimed.value.partition("-")[0], validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != len(ALGORITHMS[claimed.algorithm](b"")):
        raise invalid_request(f"Value for {claimed.header} header is invalid.")


def wrong(claimed: Checksum) -> S3Error:
    return S3Error(400, "BadDigest", f"The {claimed.algorithm} you specified did not match the calculated checksum.")
