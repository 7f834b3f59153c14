"""What S3 keeps beside the bytes, as HTTP headers both ways.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html: user metadata travels in `x-amz-meta-` headers with
lower-case names; values outside US-ASCII are rendered in RFC 2047 form, which is also how we send them.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime
from email.header import decode_header
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from common.objects import Headers, StoredObject, Version

if TYPE_CHECKING:
    from collections.abc import Mapping

_META = "x-amz-meta-"
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_CARRIED = {
    "content_type": "content-type",
    "cache_control": "cache-control",
    "content_disposition": "content-disposition",
    "content_encoding": "content-encoding",
    "content_language": "content-language",
}


def to_wire(headers: Headers) -> list[tuple[str, str]]:
    """The headers of a request that stores them."""
    wire = [(name, _ascii(value)) for field, name in _CARRIED.items() if (value := getattr(headers, field)) is not None]
    wire += [(_META + name, _ascii(value)) for name, value in headers.metadata.items()]
    return wire


def from_wire(wire: Mapping[str, str]) -> Headers:
    """The headers of an answer that describes an object."""
    carried = {field: wire[name] for field, name in _CARRIED.items() if wire.get(name)}
    # Some gateways say "aws-chunked", the framing of an upload long gone, as if it were the object's encoding.
    if carried.get("content_encoding") == "aws-chunked":
        del carried["content_encoding"]
    metadata = {name[len(_META) :]: _text(value) for name, value in wire.items() if name.startswith(_META)}
    return Headers(**carried, metadata=metadata)


def stored(key: str, size: int, wire: Mapping[str, str]) -> StoredObject:
    """The object that the headers of a GET or HEAD describe."""
    version_id = wire.get("x-amz-version-id")
    modified = wire.get("last-modified")
    return StoredObject(
        key=key,
        size=size,
        version=Version(etag(wire.get("etag", "")), version_id if version_id != "null" else None),
        modified=_date(modified) if modified else None,
        headers=from_wire(wire),
        crc32c=whole_crc32c(wire),
        storage_class=wire.get("x-amz-storage-class"),
    )


def etag(value: str) -> str:
    """The opaque token, without quotes and without the weakness mark that a proxy may have put on it."""
    return value.removeprefix("W/").strip('"')


def whole_crc32c(wire: Mapping[str, str]) -> int | None:
    """The CRC32C over all bytes, where S3 has one. A composite one is a checksum of checksums and means nothing to us
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html). Objects put in parts (their ETag says
    so) are left out: there are servers that call the composite one FULL_OBJECT.
    """
    value = wire.get("x-amz-checksum-crc32c")
    composite = "-" in wire.get("etag", "") or wire.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT"
    if not value or composite:
        return None
    raw = base64.b64decode(value)
    return int.from_bytes(raw, "big") if len(raw) == 4 else None


def _ascii(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode('utf-8', 'surrogateescape')).decode()}?="


def _text(value: str) -> str:
    if not (value.startswith("=?") and value.endswith("?=")):
        return value
    pieces = decode_header(value)
    return "".join(piece if isinstance(piece, str) else piece.decode(charset or "ascii", "replace") for piece, charset in pieces)


def _date(value: str) -> datetime:
    """An HTTP date; the one form that servers send (RFC 9110, 5.6.7) without the library's patience with all others."""
    month = _MONTHS.get(value[8:11])
    if month and len(value) == 29 and value.endswith(" GMT"):
        with suppress(ValueError):
            clock = int(value[17:19]), int(value[20:22]), int(value[23:25])
            return datetime(int(value[12:16]), month, int(value[5:7]), *clock, tzinfo=UTC)
    return parsedate_to_datetime(value).astimezone(UTC)
