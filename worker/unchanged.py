"""A version that may have the bytes of the one that was copied before, because its token says no more than that something about
it has changed: a file's change time, which a link, a new owner or mode move as an edit does.

Such a version is read and held against the receipt of the copy (size, CRC32C, and that the destination still is what the receipt
names), so that a `chmod` over a tree costs readings of it, and no byte is written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.checksums import crc32c as checksum
from common.errors import SourceChanged, SourceMissing
from common.objects import Span
from common.storage.base import MIB
from worker.lanes import Lane

if TYPE_CHECKING:
    from common.objects import StoredObject
    from common.state.records import Receipt
    from common.storage.base import Reader, Writer
    from common.task import Task
    from worker.budget import Budget

PIECE = 4 * MIB
"""Bytes that are read at once."""


async def still_there(
    task: Task, consumed: Receipt | None, reader: Reader, writer: Writer, budget: Budget
) -> StoredObject | None:
    """The destination's object, if it is the copy that the receipt names and the task's version has its bytes; None where that is
    not so, nothing speaks for it, or the source changes meanwhile. Raises what `stat` raises, and what `read` raises for other
    reasons.
    """
    if consumed is None or consumed.crc32c is None or consumed.size != task.size:
        return None
    if not reader.limits.may_be_same(consumed.etag, task.version.token):
        return None
    found = await writer.stat(task.key)
    if found is None or found.size != task.size or found.crc32c not in (None, consumed.crc32c):
        return None
    seen, noted = found.version.token, consumed.destination_version
    if seen != noted and not writer.limits.may_be_same(seen, noted):
        return None
    try:
        return found if await _crc32c(task, reader, budget) == consumed.crc32c else None
    except (SourceChanged, SourceMissing):
        return None  # whoever moves the object meets the same, and asks what there is instead


async def _crc32c(task: Task, reader: Reader, budget: Budget) -> int:
    whole = 0
    for start in range(0, task.size, PIECE):
        span = Span(start, min(start + PIECE, task.size))
        async with budget.hold(Lane.SMALL, len(span)):
            content = await reader.read(task.key, span, task.version)
            whole = checksum(content.data, whole)
    return whole
