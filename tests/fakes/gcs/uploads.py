"""Uploads in one request: media and multipart, and what every way of uploading shares.

https://cloud.google.com/storage/docs/json_api/v1/objects/insert
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from tests.fakes.gcs import names
from tests.fakes.gcs.errors import GcsError, invalid
from tests.fakes.gcs.preconditions import Preconditions
from tests.fakes.gcs.resources import writable
from tests.fakes.gcs.store import Content, Hashes
from tests.fakes.google.json_body import json_object

if TYPE_CHECKING:
    from tests.fakes.gcs.call import Call
    from tests.fakes.gcs.store import Blob, Store

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)


async def insert_media(store: Store, call: Call, *, md5: bool) -> Blob:
    data = await call.request.body.read()
    body: dict[str, Any] = {"contentType": call.request.headers.get("content-type")}
    return store_whole(store, call, body, data, md5=md5)


async def insert_multipart(store: Store, call: Call, *, md5: bool) -> Blob:
    content_type = call.request.headers.get("content-type", "")
    boundary = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/") or boundary is None:
        raise GcsError(400, "badContent", "Media type is not multipart, or has no boundary.")
    raw = await call.request.body.read()
    (_, metadata), (data_type, data) = _parts(raw, (boundary[1] or boundary[2]).encode())
    body = json_object(metadata, GcsError)
    body.setdefault("contentType", data_type)
    return store_whole(store, call, body, data, md5=md5)


def store_whole(store: Store, call: Call, body: dict[str, Any], data: bytes, *, md5: bool) -> Blob:
    name = object_name(call, body)
    fields = object_fields(call, body)
    declared = declared_hashes(body, call)
    hashes = Hashes.start(md5=md5 or bool(declared["md5"]))
    hashes.add(data)
    check_hashes(hashes, declared)
    content = Content(data, hashes.crc32c, hashes.md5, fields)
    return store.put(call.bucket, name, content, Preconditions.of(call.query))


def object_name(call: Call, body: dict[str, Any]) -> str:
    """The name stands in the query or in the metadata; when in both, they must agree."""
    in_query, in_body = call.query.get("name"), body.get("name")
    if in_query is not None and in_body is not None and in_query != in_body:
        text = f"Value '{in_body}' in content does not agree with value '{in_query}'."
        raise GcsError(400, "invalidParameter", text)
    return names.check_object(in_query if in_body is None else in_body)


def object_fields(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    fields = writable(body)
    if call.query.get("contentEncoding"):
        fields["contentEncoding"] = call.query["contentEncoding"]
    return fields


def declared_hashes(body: dict[str, Any], call: Call) -> dict[str, list[str]]:
    """What the client says the checksums are: in the metadata, and in X-Goog-Hash (`crc32c=...,md5=...`)."""
    declared: dict[str, list[str]] = {"crc32c": [], "md5": []}
    for kind, field in (("crc32c", "crc32c"), ("md5", "md5Hash")):
        if body.get(field):
            declared[kind].append(str(body[field]))
    for item in call.request.headers.get("x-goog-hash", "").split(","):
        kind, _, value = item.strip().partition("=")
        if kind in declared and value:
            declared[kind].append(value)
    return declared


def check_hashes(hashes: Hashes, declared: dict[str, list[str]]) -> None:
    """Every wrong checksum is named in the answer, as the service does."""
    wrong = [
        f'Provided CRC32C "{given}" doesn\'t match calculated CRC32C "{hashes.crc32c}".'
        for given in declared["crc32c"]
        if _decoded(given, 4) != _decoded(hashes.crc32c, 4)
    ]
    wrong += [
        f'Provided MD5 hash "{given}" doesn\'t match calculated MD5 hash "{hashes.md5}".'
        for given in declared["md5"]
        if hashes.md5 is not None and _decoded(given, 16) != _decoded(hashes.md5, 16)
    ]
    if wrong:
        raise invalid(*wrong)


def _decoded(text: str, size: int) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != size:
        raise invalid(f'Invalid checksum "{text}": base64 of {size} bytes was expected.')
    return raw


def _parts(raw: bytes, boundary: bytes) -> list[tuple[str | None, bytes]]:
    """The two parts as (content type, bytes). The first delimiter in the data ends it, as it does in the service."""
    delimiter = b"\r\n--" + boundary
    at = 0 if raw.startswith(delimiter[2:]) else raw.find(delimiter) + 2
    found: list[tuple[str | None, bytes]] = []
    start = at + len(delimiter) - 2
    while at != 1 and raw[start : start + 2] != b"--":
        body = raw.find(b"\r\n\r\n", start)
        end = raw.find(delimiter, max(start, body + 4))
        if body < 0 or end < 0:
            raise _malformed()
        found.append((_part_type(raw[start:body]), raw[body + 4 : end]))
        start = end + len(delimiter)
    if len(found) != 2:
        raise _malformed()
    return found


def _part_type(head: bytes) -> str | None:
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            return value.strip()
    return None


def _malformed() -> GcsError:
    return GcsError(400, "badContent", "Malformed multipart body.")
