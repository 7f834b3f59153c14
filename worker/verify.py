"""Proof: an object counts as consumed when the destination's own word about it agrees with what left the source (and that with
what the source keeps of it: `worker.whole`, and the readers).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from common.errors import ChecksumMismatch
from common.objects import UNSIZED
from common.state.records import Receipt
from common.storage import proof

if TYPE_CHECKING:
    from common.objects import StoredObject
    from common.storage.base import Reader, Writer
    from common.task import Task


class End(StrEnum):
    """Of a route."""

    SOURCE = "source"
    DESTINATION = "destination"


def unproven(reader: Reader, source: StoredObject, writer: Writer, written: StoredObject) -> tuple[End, ...]:
    """The ends that state nothing which could be compared with the bytes that passed. What does not leave this machine needs no
    word of anybody.
    """
    ends = []
    if not (reader.limits.on_this_machine or proof.is_stated(source)):
        ends.append(End.SOURCE)
    if not (writer.limits.on_this_machine or written.crc32c is not None):
        ends.append(End.DESTINATION)
    return tuple(ends)


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
