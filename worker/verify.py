"""Proof: an object counts as consumed when the destination's own word about it agrees with what left the source (and that with
what the source keeps of it: `worker.whole`, and the readers).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from common.errors import ChecksumMismatch
from common.objects import UNSIZED, Headers
from common.state.records import Receipt
from common.storage.names import SOURCE_MODIFIED, SOURCE_SIZE, SOURCE_VERSION

if TYPE_CHECKING:
    from common.objects import StoredObject
    from common.task import Task


def with_provenance(headers: Headers, task: Task) -> Headers:
    """The headers of the source, and which version of it the destination object will be made from. Of an object that is a copy of
    ours already the time of its source is handed on.
    """
    metadata = dict(headers.metadata)
    metadata[SOURCE_VERSION] = task.version.token
    metadata[SOURCE_SIZE] = str(task.size)
    moment = _told(metadata.pop(SOURCE_MODIFIED, None)) or task.modified
    if moment is not None:
        metadata[SOURCE_MODIFIED] = moment.isoformat()
    return Headers(
        headers.content_type,
        headers.cache_control,
        headers.content_disposition,
        headers.content_encoding,
        headers.content_language,
        MappingProxyType(metadata),
    )


def _told(modified: str | None) -> datetime | None:
    """When the first of several copies was made from its source; None if that is no copy, or says nothing that is a time."""
    if modified is None:
        return None
    with suppress(ValueError):
        moment = datetime.fromisoformat(modified)
        return moment if moment.tzinfo is not None else None
    return None


def is_made_from(found: StoredObject, task: Task) -> bool:
    """Whether the destination's metadata says that this object is the task's version, whole."""
    metadata = found.headers.metadata
    return (
        metadata.get(SOURCE_VERSION) == task.version.token
        and metadata.get(SOURCE_SIZE) == str(found.size)
        and task.size in (found.size, UNSIZED)
    )


def receipt(task: Task, written: StoredObject, crc32c: int | None, *, at: int, worker: str) -> Receipt:
    """The receipt for an object that the destination describes as `written`. `crc32c` is of the bytes that passed through us;
    None when none did, because the object was there already.

    Raises ChecksumMismatch when size or checksum do not agree.
    """
    if task.size not in (written.size, UNSIZED) or (crc32c is not None and written.crc32c not in (None, crc32c)):
        raise ChecksumMismatch(
            f"{task.destination!r} holds {written.size} bytes with CRC32C {written.crc32c}, "
            f"{task.size} bytes with {crc32c} were sent"
        )
    return Receipt(
        etag=task.version.token,
        size=written.size,
        crc32c=written.crc32c if crc32c is None else crc32c,
        destination_version=written.version.token,
        at=at,
        worker=worker,
    )
