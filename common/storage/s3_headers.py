"""What S3 keeps beside the bytes, as HTTP headers both ways.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html: user metadata travels in `x-amz-meta-` headers with
lower-case names; values outside US-ASCII are rendered in RFC 2047 form, which is also how we send them, and whatever else a
header would not carry as it is: nothing at all, spaces at an end, what would be taken for that form (header_text.py).
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from common.errors import Unavailable
from common.objects import Headers, StoredObject, Version
from common.storage.header_text import decoded, disposition, encoded, encoding, is_plain
from common.storage.metadata import HEADERS, MOST_METADATA, fitting, placed
from common.storage.names import SOURCE_MODIFIED
from common.storage.s3_beside import uncarried
from common.storage.source_time import MOST_ADDED, MTIME, as_rclone_on_s3, of_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.config import StoreOptions

_LARGEST = MOST_METADATA["s3"]
"""Counted as they are sent; the prefix of the names does not count."""
_META = "x-amz-meta-"
_CLASS = "x-amz-storage-class"
_SSE = "x-amz-server-side-encryption"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
"""What the name of a header may be: https://www.rfc-editor.org/rfc/rfc9110#name-tokens"""
_CHECKSUM = "x-amz-checksum-"
_DIGESTS = {"crc32": 4, "sha1": 20, "sha256": 32}
"""Checksums that are sent beside CRC32C and CRC64NVME, and their bytes."""
_MD5 = re.compile(r"[0-9a-f]{32}")
_NOT_MD5 = ("EXPRESS_ONEZONE", "FSX_OPENZFS")
"""Classes of directory buckets and access points, whose ETags are no MD5."""
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_CARRIED = {
    "content_type": "content-type",
    "cache_control": "cache-control",
    "content_disposition": "content-disposition",
    "content_encoding": "content-encoding",
    "content_language": "content-language",
    "expires": "expires",
    "website_redirect": "x-amz-website-redirect-location",
}


def to_wire(headers: Headers) -> list[tuple[str, str]]:
    """The headers of a request that stores them. Raises ValueError for metadata that S3 cannot hold, saying which and why: an
    object is not moved without them behind its owner's back.
    """
    if refused := [field for field in HEADERS if (value := getattr(headers, field)) is not None and not _carries(field, value)]:
        raise ValueError(f"its {', '.join(HEADERS[field] for field in refused)} cannot stand in an HTTP header")
    wire = [(name, value) for field, name in _CARRIED.items() if (value := _header(field, getattr(headers, field) or ""))]
    if headers.storage_class is not None:
        wire.append((_CLASS, headers.storage_class))
    metadata = _with_time(headers.metadata)
    names = [name.lower() for name in metadata]
    values = [encoded(value) for value in metadata.values()]
    if not all(map(_TOKEN, names)):
        unsuited = ", ".join(repr(name) for name in names if not _TOKEN(name))
        raise ValueError(f"its metadata {unsuited} cannot be named in an HTTP header")
    if len(set(names)) < len(names):
        raise ValueError("its metadata has names that differ in their case alone, which S3 does not keep")
    size = sum(map(len, names)) + sum(map(len, values))
    if size > _LARGEST:
        largest = max(zip(values, names, strict=True), key=lambda pair: len(pair[0]))[1]
        raise ValueError(f"its metadata has {size} bytes, S3 keeps {_LARGEST}; the largest is {largest!r}")
    return wire + [(_META + name, value) for name, value in zip(names, values, strict=True)]


def kept(headers: Headers) -> Headers:
    """What of them `to_wire` takes: without what no header of S3's is there for or can carry, and without metadata that cannot be
    the name of one, or are too long together.
    """
    headers = placed(headers, "s3", _carries)
    metadata = headers.metadata
    if all(map(_TOKEN, metadata)) and len(set(map(str.lower, metadata))) == len(metadata) and _fits(metadata):
        return headers
    named: dict[str, str] = {}
    for name in headers.metadata:
        if _TOKEN(lower := name.lower()) and lower not in named:
            named[lower] = name
    if len(named) < len(metadata):
        metadata = {name: metadata[name] for name in named.values()}
    metadata = fitting(metadata, _fits)
    return headers if metadata is headers.metadata else replace(headers, metadata=metadata)


def _carries(field: str, value: str) -> bool:
    return field in _CARRIED and _header(field, value) is not None


def _header(field: str, value: str) -> str | None:
    """The value as the header of that field carries it; None where it cannot."""
    if field == "content_disposition":
        return disposition(value.strip())
    return value.strip() if is_plain(value.strip()) else None


def _fits(metadata: Mapping[str, str]) -> bool:
    characters = len("".join((*metadata, *metadata.values())))
    if 6 * characters + 16 * len(metadata) + MOST_ADDED <= _LARGEST:  # nothing is sent longer than that
        return True
    metadata = _with_time(metadata)
    return sum(len(name) + len(encoded(value)) for name, value in metadata.items()) <= _LARGEST


def _with_time(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """With the time of the file where rclone looks for it, unless the source has an entry of that name."""
    if SOURCE_MODIFIED not in metadata or MTIME in map(str.lower, metadata):
        return metadata
    time = of_file(metadata)
    return metadata if time is None else {**metadata, MTIME: as_rclone_on_s3(time)}


def to_store(options: StoreOptions) -> list[tuple[str, str]]:
    """How an object is to be stored, as the headers of the request that stores it. The ACL is the bucket's business."""
    wire = []
    if options.storage_class is not None:
        wire.append((_CLASS, options.storage_class))
    if options.encryption is not None:
        wire.append((_SSE, options.encryption))
    if options.kms_key_id is not None:
        wire.append((f"{_SSE}-aws-kms-key-id", options.kms_key_id))
    if options.tags:
        pairs = (f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in options.tags.items())
        wire.append(("x-amz-tagging", "&".join(pairs)))
    return wire


def from_wire(wire: Mapping[str, str]) -> Headers:
    """The headers of an answer that describes an object."""
    carried = {field: decoded(wire[name]) for field, name in _CARRIED.items() if wire.get(name)}
    if "content_encoding" in carried and (left := encoding(carried.pop("content_encoding"))) is not None:
        carried["content_encoding"] = left
    metadata = {name[len(_META) :]: decoded(value) for name, value in wire.items() if name.startswith(_META)}
    return Headers(**carried, metadata=metadata)


def stored(key: str, size: int, wire: Mapping[str, str], *, believed: bool = False) -> StoredObject:
    """The object that the headers of a GET or HEAD describe. `believed`: see whole_crc32c."""
    modified = wire.get("last-modified")
    tags = wire.get("x-amz-tagging-count", "")
    return StoredObject(
        key=key,
        size=size,
        version=version_of(etag(wire.get("etag", "")), wire),
        modified=_date(modified) if modified else None,
        headers=from_wire(wire),
        crc32c=whole_crc32c(wire, believed=believed),
        crc64nvme=_whole_crc64nvme(wire, believed=believed),
        md5=_md5(wire, believed=believed),
        digests=_digests(wire, believed=believed),
        storage_class=wire.get(_CLASS),
        tags=int(tags) if tags.isdecimal() else 0,
        uncarried=uncarried(wire),
    )


def version_of(token: str, wire: Mapping[str, str]) -> Version:
    """With the id that the answer says, where the bucket keeps versions."""
    version_id = wire.get("x-amz-version-id")
    return Version(token, version_id if version_id != "null" else None)


def of_a_version(found: StoredObject, name: str) -> StoredObject:
    """What was found. Raises Unavailable for an answer without an ETag: it may be of any version, and is asked for again."""
    if not found.version.token:
        raise Unavailable(f"the answer about {name!r} has no ETag, and does not say which version it is of")
    return found


def etag(value: str) -> str:
    """The opaque token, without quotes and without the weakness mark that a proxy may have put on it."""
    return value.removeprefix("W/").strip('"')


def whole_crc32c(wire: Mapping[str, str], *, believed: bool = False) -> int | None:
    """The CRC32C over all bytes, where S3 has one. A composite one is a checksum of checksums and means nothing to us
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html). There are servers that call it
    FULL_OBJECT: objects put in parts (their ETag says so) have one only where the service is believed.
    """
    said = wire.get("x-amz-checksum-crc32c")
    return crc32c_of(said) if said and _of_all_bytes(wire, believed=believed) else None


def is_md5(text: str) -> bool:
    """Whether it has the form of one."""
    return _MD5.fullmatch(text) is not None


def crc32c_of(text: str) -> int | None:
    """From base64; None for what is no CRC32C, such as a composite one with its number of parts behind it."""
    return _unsigned(text, 4)


def _of_all_bytes(wire: Mapping[str, str], *, believed: bool) -> bool:
    in_parts = "-" in wire.get("etag", "")
    kind = wire.get("x-amz-checksum-type", "COMPOSITE" if in_parts else "FULL_OBJECT")
    return kind == "FULL_OBJECT" and (believed or not in_parts)


def _whole_crc64nvme(wire: Mapping[str, str], *, believed: bool) -> int | None:
    """S3 adds it to whatever came without a checksum, and it is always of all bytes."""
    said = wire.get("x-amz-checksum-crc64nvme")
    return _unsigned(said, 8) if said and _of_all_bytes(wire, believed=believed) else None


def _md5(wire: Mapping[str, str], *, believed: bool) -> str | None:
    """The ETag where it is documented to be the MD5: of an object that was put in one piece, as it is or encrypted by S3's own
    keys (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html). Elsewhere 32 digits may be anything.
    """
    tag = wire.get("etag", "").strip('"')
    plain = wire.get(_SSE, "AES256") == "AES256" and f"{_SSE}-customer-algorithm" not in wire
    return tag if believed and plain and is_md5(tag) and wire.get(_CLASS) not in _NOT_MD5 else None


def _digests(wire: Mapping[str, str], *, believed: bool) -> dict[str, str]:
    """A composite one has its number of parts behind it, or says so, and means nothing to us."""
    if not _of_all_bytes(wire, believed=believed):
        return {}
    raw = {kind: _raw(wire.get(_CHECKSUM + kind, ""), size) for kind, size in _DIGESTS.items()}
    return {kind: value.hex() for kind, value in raw.items() if value is not None}


def _unsigned(text: str, size: int) -> int | None:
    raw = _raw(text, size)
    return None if raw is None else int.from_bytes(raw, "big")


def _raw(text: str, size: int) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return raw if len(raw) == size else None


def _date(value: str) -> datetime | None:
    """An HTTP date; the one form that servers send (RFC 9110, 5.6.7) without the library's patience with all others. None for
    what is none: a time that nobody can read is no reason to leave an object behind.
    """
    month = _MONTHS.get(value[8:11])
    if month and len(value) == 29 and value.endswith(" GMT"):
        with suppress(ValueError):
            clock = int(value[17:19]), int(value[20:22]), int(value[23:25])
            return datetime(int(value[12:16]), month, int(value[5:7]), *clock, tzinfo=UTC)
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(value).astimezone(UTC)
    return None
