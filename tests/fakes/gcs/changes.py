"""Changes to what is already there: patch, update, delete, compose, rewrite, copy and move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.gcs import names
from tests.fakes.gcs.errors import GcsError, invalid, precondition_failed
from tests.fakes.gcs.preconditions import Preconditions, number
from tests.fakes.gcs.resources import merged, writable
from tests.fakes.gcs.store import Content, Hashes

if TYPE_CHECKING:
    from tests.fakes.gcs.call import Call
    from tests.fakes.gcs.store import Blob, Store

_MOST_SOURCES = 32


async def patch(store: Store, call: Call) -> Blob:
    change = await call.json()
    blob = _found(store, call)
    store.touch(blob, merged(blob.fields, change))
    return blob


async def update(store: Store, call: Call) -> Blob:
    """PUT: what the body does not name is gone."""
    body = await call.json()
    blob = _found(store, call)
    store.touch(blob, writable(body))
    return blob


def delete(store: Store, call: Call) -> None:
    store.delete(_found(store, call))


async def compose(store: Store, call: Call) -> Blob:
    """Up to 32 objects, one behind the other. A composite has no md5: https://cloud.google.com/storage/docs/composite-objects"""
    body = await call.json()
    listed = body.get("sourceObjects") or []
    if not 1 <= len(listed) <= _MOST_SOURCES:
        raise invalid(f"The number of source components provided ({len(listed)}) must be from 1 to {_MOST_SOURCES}.")
    sources = [_source(store, call.bucket, item) for item in listed]
    hashes = Hashes.start(md5=False)
    data = b"".join(source.data for source in sources)
    hashes.add(data)
    fields = writable(body.get("destination") or {})
    components = sum(source.components or 1 for source in sources)
    content = Content(data, hashes.crc32c, hashes.md5, fields, components)
    return store.put(call.bucket, names.check_object(call.key), content, Preconditions.of(call.query))


async def copy(store: Store, call: Call) -> Blob:
    """A whole object in one step; the metadata goes along unless the body names its own."""
    body = await call.json()
    source = store.get(*call.source, number(call.query, "sourceGeneration"))
    Preconditions.of(call.query, "ifSource").check_write(source)
    fields = writable(body) or dict(source.fields)
    content = Content(source.data, source.crc32c, source.md5, fields, source.components)
    return store.put(call.bucket, names.check_object(call.key), content, Preconditions.of(call.query))


def move(store: Store, call: Call) -> Blob:
    """Another name for the same bytes and metadata, all or nothing: https://cloud.google.com/storage/docs/json_api/v1/objects/move"""
    source = store.get(*call.source)
    Preconditions.of(call.query, "ifSource").check_write(source)
    if call.source == (call.bucket, call.key):
        raise invalid("The source and the destination of a move are the same object.")
    content = Content(source.data, source.crc32c, source.md5, dict(source.fields), source.components)
    moved = store.put(call.bucket, names.check_object(call.key), content, Preconditions.of(call.query))
    store.forget(source)
    return moved


def rewritten(blob: Blob, resource: dict[str, Any]) -> dict[str, Any]:
    size = str(len(blob.data))
    return {
        "kind": "storage#rewriteResponse",
        "totalBytesRewritten": size,
        "objectSize": size,
        "done": True,
        "resource": resource,
    }


def _found(store: Store, call: Call) -> Blob:
    blob = store.get(call.bucket, call.key or "", number(call.query, "generation"))
    Preconditions.of(call.query).check_write(blob)
    return blob


def _source(store: Store, bucket: str, item: dict[str, Any]) -> Blob:
    try:
        generation = int(item["generation"]) if item.get("generation") is not None else None
        wanted = (item.get("objectPreconditions") or {}).get("ifGenerationMatch")
        blob = store.get(bucket, str(item["name"]), generation)
    except (KeyError, TypeError, ValueError):
        raise GcsError(400, "required", "Each source object needs a name.") from None
    if wanted is not None and int(wanted) != blob.generation:
        raise precondition_failed()
    return blob
