"""How objects and buckets look in JSON, and which of their fields a client may write.

https://cloud.google.com/storage/docs/json_api/v1/objects#resource
"""

from __future__ import annotations

import base64
import urllib.parse
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tests.fakes.gcs.errors import invalid

if TYPE_CHECKING:
    from tests.fakes.gcs.store import Blob, Bucket

_TEXT = ("contentType", "cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "storageClass", "customTime")
_FLAGS = ("eventBasedHold", "temporaryHold")


def writable(body: dict[str, Any]) -> dict[str, Any]:
    """The part of a request's object resource that the service stores. Null means: not set."""
    fields: dict[str, Any] = {}
    for name in _TEXT:
        value = body.get(name)
        if value is not None:
            if not isinstance(value, str):
                raise invalid(f"Invalid value for {name}: {value!r}")
            fields[name] = value
    fields |= {name: body[name] for name in _FLAGS if isinstance(body.get(name), bool)}
    metadata = body.get("metadata")
    if metadata is not None:
        fields["metadata"] = _metadata(metadata)
    return fields


def merged(old: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A patch: what is named is replaced, null removes, user metadata is merged key by key."""
    fields = {name: value for name, value in old.items() if change.get(name, value) is not None}
    metadata = change.get("metadata")
    fields |= writable({name: value for name, value in change.items() if name != "metadata"})
    if isinstance(metadata, dict):
        kept = dict(old.get("metadata", {})) | metadata
        fields["metadata"] = _metadata({key: value for key, value in kept.items() if value is not None})
    elif metadata is not None:
        raise invalid("Invalid value for metadata: an object was expected.")
    _check_custom_time(old, fields)
    return {name: value for name, value in fields.items() if value != {}}


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise invalid("Invalid value for metadata: an object whose values are strings was expected.")
    size = sum(len(key.encode()) + len(text.encode()) for key, text in value.items())
    if size > 8192:
        raise invalid(f"Custom metadata is too large: {size} bytes, at most 8192.")
    return value


def _check_custom_time(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Set once, customTime may only move forward: https://cloud.google.com/storage/docs/metadata#custom-time"""
    before, after = old.get("customTime"), new.get("customTime")
    if before is not None and (after is None or _moment(after) < _moment(before)):
        raise invalid("Custom time cannot be removed or set to an earlier time.")


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"Invalid value for customTime: {text!r}") from None


def blob_resource(blob: Blob, base: str) -> dict[str, Any]:
    place = f"{blob.bucket}/o/{urllib.parse.quote(blob.name, safe='')}"
    created = timestamp(blob.created)
    resource: dict[str, Any] = {
        "kind": "storage#object",
        "id": f"{blob.bucket}/{blob.name}/{blob.generation}",
        "selfLink": f"{base}/storage/v1/b/{place}",
        "mediaLink": f"{base}/download/storage/v1/b/{place}?generation={blob.generation}&alt=media",
        "name": blob.name,
        "bucket": blob.bucket,
        "generation": str(blob.generation),
        "metageneration": str(blob.metageneration),
        "storageClass": "STANDARD",
        "size": str(len(blob.data)),
        "crc32c": blob.crc32c,
        "etag": etag(blob.generation, blob.metageneration),
        "timeCreated": created,
        "updated": timestamp(blob.updated),
        "timeStorageClassUpdated": created,
        "timeFinalized": created,
        **blob.fields,
    }
    if blob.md5 is not None:
        resource["md5Hash"] = blob.md5
    if blob.components is not None:
        resource["componentCount"] = blob.components
    return resource


def bucket_resource(bucket: Bucket, base: str) -> dict[str, Any]:
    created = timestamp(bucket.created)
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "selfLink": f"{base}/storage/v1/b/{bucket.name}",
        "name": bucket.name,
        "projectNumber": "0",
        "generation": str(int(bucket.created * 1_000_000)),
        "metageneration": "1",
        "location": "US",
        "locationType": "multi-region",
        "storageClass": "STANDARD",
        "etag": "CAE=",
        "timeCreated": created,
        "updated": created,
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "inherited"},
    }


@lru_cache(maxsize=1024)
def timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def etag(generation: int, metageneration: int) -> str:
    """The real one is a small protobuf of both numbers; nobody may mistake it for a content hash."""
    return base64.b64encode(b"\x08" + _varint(generation) + b"\x10" + _varint(metageneration)).decode()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
