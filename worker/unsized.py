"""Writes an object that is whole in memory, also where it turns out to be larger than a put may be.

Of most objects the size is known and the plan is made for it. The export of a document has none before it is read
(`common.objects.UNSIZED`): it is read whole, since each export is other bytes, and then written as its size asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.checksums import crc32c
from common.errors import ChecksumMismatch, ObjectError
from common.telemetry import get_logger
from worker.plan import plan

if TYPE_CHECKING:
    from common.objects import StoredObject
    from common.storage.base import Body, Precondition, Writer
    from common.task import Task
    from worker.plan import Plan

log = get_logger(__name__)


async def write(writer: Writer, task: Task, body: Body, precondition: Precondition) -> StoredObject:
    """The object as the destination has it; `task` has the size by now. Raises what `put` raises, and UploadLost."""
    planned = plan(task.key, task.size, writer.limits, writer.limits.largest_put)
    if planned.part_bytes is None:
        written = await writer.put(task.key, body, precondition)
    else:
        written = await _in_parts(writer, task, planned, body, precondition)
    if written.size != task.size:
        raise ChecksumMismatch(f"{task.destination!r} holds {written.size} bytes, {task.size} were sent")
    return written


async def _in_parts(writer: Writer, task: Task, planned: Plan, body: Body, precondition: Precondition) -> StoredObject:
    """One part after the other; not to be gone on with by anybody, because nobody has these bytes again."""
    upload = await writer.begin(task.key, task.size, body.headers, precondition)
    try:
        receipts = []
        for number, span in enumerate(planned.spans()):
            data = body.data[span.start : span.end]
            receipts.append(await upload.part(number, span.start, data, crc32c(data)))
        return await upload.complete(receipts, body.crc32c)
    except ObjectError:
        try:
            await upload.abort()
        except ObjectError as error:
            log.warning("could not abort an upload", action="abort_failed", key=task.key, error=str(error))
        raise
