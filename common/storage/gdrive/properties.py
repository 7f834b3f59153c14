"""What is kept beside the bytes of a file: headers and metadata as Drive's properties, nothing lost on the way.

Drive has no header but the type. It has properties: 30 for everybody (`properties`), 30 of one program's own
(`appProperties`), each of at most 124 bytes, name and value together
(https://developers.google.com/workspace/drive/api/guides/properties). User metadata goes to the former, where people can
search for it; where an object comes from and its other headers go to the latter. What is too long, or too much, is bundled:
JSON, deflated, in base64, cut into numbered properties `brigade-more-00`, … About 4 KB of deflated metadata fit; what is
beyond that is told beforehand (`kept`), and refused by a write.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from common.errors import Refused
from common.objects import Headers
from common.storage.header_text import is_unicode
from common.storage.metadata import fitting, placed
from common.storage.names import PREFIX, SOURCE_KEY, SOURCE_MODE, SOURCE_MODIFIED, SOURCE_SIZE, SOURCE_VERSION
from common.storage.source_time import of_file

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 124
MOST = 30
UNKNOWN_TYPE = "application/octet-stream"
DESCRIPTION = "description"
"""Metadata of this name is what Drive shows as the description of the file, and the other way round."""

MD5 = "brigade-md5"
CRC32C = "brigade-crc32c"
"""Of the bytes that were sent. Stored together with the bytes they prove: a file whose own MD5 is another is not what was
sent."""
_CONTENT_TYPE = "brigade-content-type"
_MORE = "brigade-more-"
_LARGEST_BUNDLE = 64 * 1024
"""Bytes of JSON that a bundle is unpacked to; ours hold far less."""
_HEADERS = {
    "cache_control": "brigade-cache-control",
    "content_disposition": "brigade-content-disposition",
    "content_encoding": "brigade-content-encoding",
    "content_language": "brigade-content-language",
    "expires": "brigade-expires",
    "website_redirect": "brigade-website-redirect",
    "custom_time": "brigade-custom-time",
}
_PROVENANCE = (SOURCE_VERSION, SOURCE_SIZE, SOURCE_MODIFIED, SOURCE_KEY, SOURCE_MODE)
_OURS = frozenset({MD5, CRC32C, _CONTENT_TYPE, *_HEADERS.values()})
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NATIVE = "application/vnd.google-apps."
_BTIME = "btime"
"""Seconds since 1970: when a file was made, as rclone keeps it."""


def fields(headers: Headers, name: str, checks: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """The part of a new file's resource that says what its headers say. `checks` are MD5 and CRC32C where they are known.

    Raises Refused when they do not fit; `name` is the file, for the error.
    """
    kind = media_type(headers.content_type)
    own = {key: value for field, key in _HEADERS.items() if (value := getattr(headers, field)) is not None}
    if headers.content_type is not None and headers.content_type != kind:
        own[_CONTENT_TYPE] = headers.content_type
    own |= checks
    theirs = dict(headers.metadata)
    own |= {key: theirs.pop(key) for key in _PROVENANCE if key in theirs}
    description = theirs.pop(DESCRIPTION, None)
    found: dict[str, Any] = {"mimeType": kind, "description": description or ""}
    found["appProperties"], found["properties"] = _packed(own, theirs, name)
    return found | dates(headers)


def kept(headers: Headers) -> Headers:
    """What of them fits: all, or what is left without the largest entries of the metadata."""
    headers = placed(headers, "gdrive", lambda _, value: is_unicode(value))
    metadata = fitting(headers.metadata, lambda some: _fits(replace(headers, metadata=some)))
    return headers if metadata is headers.metadata else replace(headers, metadata=metadata)


def _fits(headers: Headers) -> bool:
    try:
        fields(headers, "", checks("0" * 32, 0))
    except Refused:
        return False
    return True


def replacing(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields for a file that is there: an update keeps the properties that it does not name, so those that are to go are
    named. When the file was made stays as it is.
    """
    fields = {name: value for name, value in new.items() if name != "createdTime"}
    for kind in ("appProperties", "properties"):
        fields[kind] = dict.fromkeys(old.get(kind) or {}) | new[kind]
    return fields


def headers(resource: Mapping[str, Any]) -> tuple[Headers, int | None]:
    """What `fields` stored, and the CRC32C of the bytes where it is proven. A file of other origin has a type and its properties.

    A file that is not what was sent does not say where it is from: so nobody takes it for the object, and it is written again.
    """
    own, theirs = dict(resource.get("appProperties") or {}), dict(resource.get("properties") or {})
    _unpack(own, theirs)
    metadata = {key: value for key, value in theirs.items() if key not in _OURS}
    if description := resource.get("description"):
        metadata.setdefault(DESCRIPTION, description)
    sound = MD5 in own and own[MD5] == resource.get("md5Checksum")
    if sound or MD5 not in own:
        metadata |= {key: value for key, value in own.items() if key in _PROVENANCE}
    kind: str | None = own.get(_CONTENT_TYPE)
    if kind is None or media_type(kind) != resource.get("mimeType"):
        kind = resource.get("mimeType")
    known = {field: own[key] for field, key in _HEADERS.items() if key in own}
    crc32c = own.get(CRC32C, "")
    proven = int(crc32c, 16) if sound and re.fullmatch(r"[0-9a-f]{8}", crc32c) else None
    return Headers(kind, **known, metadata=MappingProxyType(metadata)), proven


def checks(md5: str, crc32c: int) -> dict[str, str]:
    return {MD5: md5, CRC32C: f"{crc32c:08x}"}


def without_provenance(headers: Headers) -> Headers:
    """For bytes that have not been proven yet: nobody may take the file for the object before they are."""
    kept = {key: value for key, value in headers.metadata.items() if key not in _PROVENANCE}
    return replace(headers, metadata=MappingProxyType(kept))


def media_type(content_type: str | None) -> str:
    """The type that Drive is told: without parameters, and never one of Google's own, which would make Drive convert the bytes
    or make a folder of them.
    """
    bare = (content_type or "").partition(";")[0].strip().lower()
    return bare if _TYPE.fullmatch(bare) and not bare.startswith(_NATIVE) else UNKNOWN_TYPE


def dates(headers: Headers) -> dict[str, str]:
    """When the file was modified and created, where the source tells. Nothing to say leaves it to Drive."""
    time = of_file(headers.metadata)
    modified = None if time is None else _EPOCH + timedelta(microseconds=time // 1000)
    created = _birth(headers) or modified
    times = {"modifiedTime": modified, "createdTime": created}
    return {name: _rfc3339(time) for name, time in times.items() if time is not None}


def _birth(headers: Headers) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(headers.metadata[_BTIME]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _packed(own: Mapping[str, str], theirs: Mapping[str, str], name: str) -> tuple[dict[str, str], dict[str, str]]:
    """(appProperties, properties): plain what fits, the rest in a bundle; everything but our own in the bundle if need be."""
    plain_own, rest_own = _fitting(own)
    plain, rest = _fitting({key: value for key, value in theirs.items() if not key.startswith(PREFIX)})
    rest |= {key: value for key, value in theirs.items() if key.startswith(PREFIX)}  # a name like ours that is not ours
    for kept, bundled in ((plain, rest), ({}, theirs)):
        pieces = _bundle(rest_own, bundled)
        room = MOST - len(plain_own)
        if room >= 0 and len(pieces) <= room + MOST - len(kept):
            numbered = [(f"{_MORE}{number:02}", piece) for number, piece in enumerate(pieces)]
            return plain_own | dict(numbered[:room]), kept | dict(numbered[room:])
    size = sum(len(key.encode()) + len(value.encode()) for key, value in theirs.items())
    raise Refused(
        f"cannot write {name!r}: its {len(theirs)} metadata entries of {size} bytes do not fit into the {2 * MOST} properties "
        f"of {LARGEST} bytes that Drive has: shorten them at the source"
    )


def _fitting(entries: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What can be a property as it is, and what cannot. An empty value might be taken for none."""
    plain = {key: value for key, value in entries.items() if key and value and len(key.encode()) + len(value.encode()) <= LARGEST}
    plain = dict(list(plain.items())[:MOST])
    return plain, {key: value for key, value in entries.items() if key not in plain}


def _bundle(own: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    if not own and not theirs:
        return []
    text = json.dumps([dict(own), dict(theirs)], separators=(",", ":"), ensure_ascii=False).encode()
    packed = base64.b64encode(zlib.compress(text, 9)).decode()
    step = LARGEST - len(_MORE) - 2
    return [packed[start : start + step] for start in range(0, len(packed), step)]


def _unpack(own: dict[str, str], theirs: dict[str, str]) -> None:
    """Put the bundle's entries where they belong, in place. One that is damaged is left as the properties that it is made of."""
    pieces = {key: value for key, value in [*own.items(), *theirs.items()] if key.startswith(_MORE)}
    try:
        packed = base64.b64decode("".join(pieces[key] for key in sorted(pieces)), validate=True)
        unpacker = zlib.decompressobj()
        bundle = json.loads(unpacker.decompress(packed, _LARGEST_BUNDLE)) if packed else ({}, {})
        more_own, more_theirs = ({str(key): str(value) for key, value in more.items()} for more in bundle)
    except (binascii.Error, zlib.error, ValueError, TypeError, AttributeError):
        return
    for entries, more in ((own, more_own), (theirs, more_theirs)):
        for key in pieces:
            entries.pop(key, None)
        entries.update(more)
