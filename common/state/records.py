"""What the cache knows of an object, and the bytes that say it.

A hundred million objects make every byte count: both records of an object share one value of about 33 bytes, in which a version
token stands once when both mean the same version, a hex ETag takes 16 bytes, and times and GCS generations (microseconds) are
differences to the time of consumption.

    header     1   bits 0-1: 0 published only, 1 consumed only, 2 both, same version, 3 both, different versions
                   bits 2-3: kind of the token; bit 4: crc32c follows; bits 5-7: kind of the destination version
    worker     v   its number in the route's table of workers; only if consumed
    token      t   the consumed version; the published one if there is no other
    published      if different: 1 byte kind, then token; then the time: 4 bytes if alone, else zigzag v of (consumed - published)
    consumed       time 4, size v, crc32c 4 (if known), destination version

v is a varint, 7 bits to the byte, low bits first; other numbers are big-endian. Tokens: 0 = 16 bytes, read as hex; 1 = the same,
then v, read as hex-number (a multipart ETag); 2 = v, read as decimal (a generation); 3 = length v, then UTF-8. A destination
version is one of these four, except that 2 is zigzag v of (generation - consumed time in microseconds); or 4 = the consumed
token.

A published record whose time lies beyond 0xC0000000 (the year 2072) has none: the object was looked at and left out, because
what is at its destination is kept (`Kept`). Bit 29 says under which rule, the 29 bits below it when, in seconds since 2026; after
2042 they begin anew, and all that is kept looks old. Whoever does not know of it takes it for a clock that was wrong. Either way
the object is published again, and looked at.

The scripts (scripts/_record.lua) take a value apart and put it together again, and leave tokens and receipts as they are.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HEX = re.compile(r"([0-9a-f]{32})(?:-([1-9][0-9]{0,8}))?", re.ASCII)
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_HEX_ONLY, _HEX_NUMBER, _NUMBER, _TEXT, _SAME = range(5)
_ONLY_PUBLISHED, _ONLY_CONSUMED, _BOTH, _BOTH_DIFFERENT = range(4)
_CRC = 16
_KEPT, _KEPT_TIME, _KEPT_SINCE = 0xC000_0000, 0x1FFF_FFFF, 1_767_225_600
_RULES = ("keep", "newer")
_TIME = struct.Struct(">I")
_new = tuple.__new__
"""Makes a named tuple in half the time; a page of lookups makes thousands."""


class Kept(NamedTuple):
    """What is at the destination stays by the route's `on_conflict`; so it was decided at `at` (whole unix seconds)."""

    on_conflict: str
    at: int


class Published(NamedTuple):
    """A task for this version was confirmed by the queue at `at` (whole unix seconds). A hint that ages."""

    etag: str
    at: int

    @property
    def kept(self) -> Kept | None:
        """Set where the task has ended since, and nothing was copied: `at` is no time then."""
        if self.at < _KEPT:
            return None
        return Kept(_RULES[self.at >> 29 & 1], _KEPT_SINCE + (self.at & _KEPT_TIME))


class Receipt(NamedTuple):
    """Proof that this source version is at the destination: the version that it has there, size and checksum, when, by whom."""

    etag: str
    size: int
    crc32c: int | None
    destination_version: str
    at: int
    worker: str


class Record(NamedTuple):
    published: Published | None = None
    consumed: Receipt | None = None


NOTHING = Record()


def kept_mark(on_conflict: str, now: float) -> int:
    """What stands in place of the time of a published record whose object was left out: see `Published.kept`."""
    return _KEPT | _RULES.index(on_conflict) << 29 | (int(now) - _KEPT_SINCE) & _KEPT_TIME


def pack_token(text: str) -> bytes:
    """A version token as one byte of kind and its bytes. One text has exactly one form: scripts compare the bytes."""
    kind, body = _token(text)
    return bytes((kind,)) + body


def pack_tokens(texts: Sequence[str]) -> bytes | None:
    """The bytes of many tokens of kind 0, 16 of each, without the kind; None where there is one of another kind.

    All at once, because a listing has a thousand, and of each by itself it takes as long as the rest of the comparison.
    """
    digits = "".join(texts)
    if len(digits) != 32 * len(texts) or any(map((32).__ne__, map(len, texts))):
        return None
    try:
        packed = bytes.fromhex(digits)
    except ValueError:
        return None
    return packed if packed.hex() == digits else None  # fromhex takes capitals and blanks as well


def pack_listed(token: str, size: int) -> bytes:
    """Size and version token of a listed object, for scripts that hold them against a receipt's."""
    return _varint(size) + pack_token(token)


def pack_receipt(receipt: Receipt) -> tuple[bytes, bytes]:
    """A receipt without its worker: the token as `pack_token` makes it; its header bits with all that follows the token."""
    token = pack_token(receipt.etag)
    kind, body = _token(receipt.destination_version)
    if receipt.destination_version == receipt.etag:
        kind, body = _SAME, b""
    elif kind == _NUMBER:
        body = _varint(_zigzag(int(receipt.destination_version) - receipt.at * 1_000_000))
    header = kind << 5
    crc = b""
    if receipt.crc32c is not None:
        header |= _CRC
        crc = _TIME.pack(receipt.crc32c)
    return token, bytes((header,)) + _TIME.pack(receipt.at) + _varint(receipt.size) + crc + body


def decode(value: bytes, workers: Mapping[int, str]) -> Record:
    """The record that the scripts have stored. `workers` gives the names for the numbers."""
    header = value[0]
    shape, kind = header & 3, header >> 2 & 3
    if shape == _ONLY_PUBLISHED:
        etag, at = _read_token(value, 1, kind)
        return Record(Published(etag, int.from_bytes(value[at : at + 4], "big")))
    worker, at = _read_varint(value, 1)
    etag, at = _read_token(value, at, kind)
    published_etag, age = etag, 0
    if shape == _BOTH_DIFFERENT:
        published_etag, at = _read_token(value, at + 1, value[at])
    if shape != _ONLY_CONSUMED:
        age, at = _read_varint(value, at)
    moment = int.from_bytes(value[at : at + 4], "big")
    size, crc32c, version = _read_proof(value, at + 4, header, etag, moment)
    receipt = _new(Receipt, (etag, size, crc32c, version, moment, workers.get(worker, "")))
    if shape == _ONLY_CONSUMED:
        return Record(None, receipt)
    return Record(_new(Published, (published_etag, moment - (age >> 1 if age & 1 == 0 else -(age + 1 >> 1)))), receipt)


def _read_proof(value: bytes, at: int, header: int, etag: str, moment: int) -> tuple[int, int | None, str]:
    size, at = _read_varint(value, at)
    crc32c = None
    if header & _CRC:
        crc32c = int.from_bytes(value[at : at + 4], "big")
        at += 4
    kind = header >> 5
    if kind == _NUMBER:
        away = _read_varint(value, at)[0]
        version = str((away >> 1 if away & 1 == 0 else -(away + 1 >> 1)) + moment * 1_000_000)
    else:
        version = etag if kind == _SAME else _read_token(value, at, kind)[0]
    return size, crc32c, version


def _token(text: str) -> tuple[int, bytes]:
    if match := _HEX.fullmatch(text):
        digits, number = match.groups()
        if number is None:
            return _HEX_ONLY, bytes.fromhex(digits)
        return _HEX_NUMBER, bytes.fromhex(digits) + _varint(int(number))
    if _DECIMAL.fullmatch(text):
        return _NUMBER, _varint(int(text))
    body = text.encode("utf-8", "surrogatepass")
    return _TEXT, _varint(len(body)) + body


def _read_token(value: bytes, at: int, kind: int) -> tuple[str, int]:
    if kind == _HEX_ONLY:
        end = at + 16
        return value[at:end].hex(), end
    if kind == _HEX_NUMBER:
        number, end = _read_varint(value, at + 16)
        return f"{value[at : at + 16].hex()}-{number}", end
    number, end = _read_varint(value, at)
    if kind == _NUMBER:
        return str(number), end
    return value[end : end + number].decode("utf-8", "surrogatepass"), end + number


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(value: bytes, at: int) -> tuple[int, int]:
    number = value[at]
    at += 1
    if number < 128:
        return number, at
    number &= 127
    shift = 7
    while True:
        byte = value[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else -number * 2 - 1
