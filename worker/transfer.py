"""Bytes from a reader to a writer: pinned to one version, hashed on the way past, never more in memory than the budget allows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from common.checksums import crc32c, crc64nvme
from common.errors import ChecksumMismatch, DestinationConflict, ObjectError, SourceChanged, UploadLost
from common.objects import UNSIZED, Headers
from common.state.uploads import Saved
from common.steps import Step
from common.storage.base import Absent, Body, Matches
from common.telemetry import get_logger
from worker.carry import LENIENT
from worker.lanes import Lane
from worker.unchanged import still_there
from worker.unsized import write
from worker.verify import unproven
from worker.whole import Whole, mismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import Span, StoredObject
    from common.state.records import Receipt
    from common.state.uploads import Uploads
    from common.steps import OnStep
    from common.storage.base import PartReceipt, Precondition, Reader, Upload, Writer
    from common.task import Task
    from worker.budget import Budget
    from worker.carry import Lost, Rules
    from worker.plan import Plan
    from worker.verify import End

log = get_logger(__name__)

PARALLEL_PARTS = 4
"""Parts of one object under way at once where the destination takes them in any order; more would starve the other objects."""
_NOT_RESUMED = (UploadLost, ChecksumMismatch, DestinationConflict)
"""What the same upload would only meet again. After a 409 S3 wants a new one
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html)."""
READ_AHEAD = 2
"""Parts under way at once where they must be written in sequence: one is written while the next is read."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What the destination says it holds, and the CRC32C of the bytes that were sent to it."""

    written: StoredObject
    crc32c: int
    lost: tuple[Lost, ...] = ()
    """What the source has beside the bytes, and the destination has not."""
    unproven: tuple[End, ...] = ()
    """The ends that state no checksum of all bytes, so that what came or what is there could not be compared."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Moves the objects of one route. Used by many coroutines at once."""

    reader: Reader
    writer: Writer
    uploads: Uploads
    budget: Budget
    on_step: OnStep
    rules: Rules = LENIENT

    async def move(self, task: Task, plan: Plan, precondition: Precondition) -> Moved:
        """Move the task's version as planned. Raises ObjectError; then the destination is as it was, or holds the object
        whole.
        """
        if plan.part_bytes is None:
            return await self._whole(task, plan, precondition)
        return await _Parts(self, task, plan, precondition, await self.at_source(task)).move()

    async def still_there(self, task: Task, consumed: Receipt | None) -> StoredObject | None:
        """The destination's object, where the version has the bytes of the copy that the receipt names (`worker.unchanged`)."""
        return await still_there(task, consumed, self.reader, self.writer, self.budget)

    async def discard(self, task: Task) -> None:
        """Free what an earlier attempt left at the service, when nobody will go on with it: unfinished uploads are billed."""
        saved = await self.uploads.find(task.route, task.key)
        if saved is not None:
            upload = await self.writer.begin(task.key, saved.size, Headers(), Absent(), saved.token)
            await _abort(upload, task)
            await self.uploads.forget(task.route, task.key)

    async def at_source(self, task: Task) -> StoredObject:
        """The task's version, which the key holds at this moment. Raises SourceChanged when it does not."""
        found = await self.reader.stat(task.key)
        if found is None or found.version.token != task.version.token or found.size != task.size:
            raise SourceChanged(f"{task.key!r} is no longer the version that was listed")
        return found

    async def _whole(self, task: Task, plan: Plan, precondition: Precondition) -> Moved:
        most_held = 2 * self.reader.limits.largest_unsized if plan.size == UNSIZED else plan.most_held
        async with self.budget.hold(Lane.SMALL, most_held):
            content = await self.reader.read(task.key, None, task.version)
            self.on_step(Step.SOURCE_READ)
            data = content.data
            listed, unsized = task, task.size == UNSIZED
            if unsized:
                task = replace(task, size=len(data))
            elif len(data) != task.size:
                raise SourceChanged(f"{task.key!r} was listed with {task.size} bytes and has {len(data)}")
            checksum = crc32c(data) if content.object.crc32c is None else content.object.crc32c
            carried = self.rules.carry(content.object, task, self.writer.limits)
            if isinstance(precondition, Matches) and not self.reader.limits.reads_by_key:
                await self.at_source(listed)
            body = Body(data, checksum, carried.headers)
            if unsized:
                written = await write(self.writer, task, body, precondition)
            else:
                written = await self.writer.put(task.key, body, precondition)
            self.on_step(Step.WRITTEN)
            return Moved(written, checksum, carried.lost, unproven(self.reader, content.object, self.writer, written))


class _Parts:
    """One object moved in parts; begun anew, or gone on with where another worker stopped."""

    def __init__(self, transfer: Transfer, task: Task, plan: Plan, precondition: Precondition, source: StoredObject) -> None:
        if plan.part_bytes is None:
            raise ValueError("the plan has no parts")
        self._transfer = transfer
        self._task = task
        self._part_bytes = plan.part_bytes
        self._precondition = precondition
        self._source = source
        self._spans: Sequence[Span] = tuple(plan.spans())
        self._reader = transfer.reader
        self._writer = transfer.writer
        self._uploads = transfer.uploads
        self._budget = transfer.budget
        self._on_step = transfer.on_step
        self._whole = Whole(source)
        self._receipts: dict[int, PartReceipt] = {}
        self._held_to_the_end = 0
        self._lost: tuple[Lost, ...] = ()

    async def move(self) -> Moved:
        upload = await self._open()
        self._on_step(Step.UPLOAD_BEGUN)
        try:
            await self._move_parts(upload)
            receipts = [self._receipts[number] for number in range(len(self._spans))]
            checksum = self._whole.crc32c(receipts)
            # Hours may have passed: what is no longer the source's version goes over nothing.
            await self._transfer.at_source(self._task)
            written = await upload.complete(receipts, checksum)
        except ObjectError as error:
            if not error.retryable or isinstance(error, _NOT_RESUMED):
                await _abort(upload, self._task)
                await self._uploads.forget(self._task.route, self._task.key)
            raise  # otherwise the next attempt goes on with what has arrived
        finally:
            self._budget.give(Lane.LARGE, self._held_to_the_end)
        self._on_step(Step.WRITTEN)
        await self._uploads.forget(self._task.route, self._task.key)
        return Moved(written, checksum, self._lost, unproven(self._reader, self._source, self._writer, written))

    async def _open(self) -> Upload:
        """The upload that an earlier attempt left, if it can be gone on with; else a new one, noted before its first part."""
        task, precondition = self._task, _described(self._precondition)
        carried = self._transfer.rules.carry(self._source, task, self._writer.limits)
        headers, self._lost = carried.headers, carried.lost
        saved = await self._uploads.find(task.route, task.key)
        if saved is not None and saved.continues(task.version.token, task.size, self._part_bytes, precondition):
            self._receipts = {receipt.number: receipt for receipt in saved.receipts}
            log.info(
                "going on with an upload",
                action="upload_resumed",
                route=task.route,
                key=task.key,
                parts=len(self._receipts),
                of=len(self._spans),
            )
            return await self._writer.begin(task.key, task.size, headers, self._precondition, saved.token)
        if saved is not None:
            await self._transfer.discard(task)
        upload = await self._writer.begin(task.key, task.size, headers, self._precondition)
        begun = Saved(upload.token, task.version.token, task.size, self._part_bytes, precondition)
        await self._uploads.begun(task.route, task.key, begun)
        return upload

    async def _move_parts(self, upload: Upload) -> None:
        parallel = self._writer.limits.parallel_parts
        window = asyncio.Semaphore(PARALLEL_PARTS if parallel else READ_AHEAD)
        before: asyncio.Task[None] | None = None
        failure: ObjectError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for number, span in enumerate(self._spans):
                    arrived = self._receipts.get(number)
                    if arrived is not None and not self._whole.wants(arrived):
                        continue
                    await window.acquire()
                    await self._budget.take(Lane.LARGE, len(span))
                    if arrived is not None:
                        part = group.create_task(self._read_again(arrived, span))
                    else:
                        before = part = group.create_task(self._move_part(upload, number, span, None if parallel else before))
                    # A callback, not a `finally` in the part: a task that is cancelled before its first step never gets there.
                    part.add_done_callback(partial(self._done, number, span, window))
        except* ObjectError as errors:
            failure = _first(errors)
        if failure is not None:
            raise failure

    async def _move_part(self, upload: Upload, number: int, span: Span, before: asyncio.Task[None] | None) -> None:
        """Read, hash and write one part; in sequence behind `before`. Its bytes are paid for already."""
        data = await self._read(span)
        if before is not None:
            await before
        receipt = self._described(await upload.part(number, span.start, data, crc32c(data)), data)
        self._on_step(Step.PART_WRITTEN)
        self._receipts[number] = receipt
        if receipt.stored:
            await self._uploads.arrived(self._task.route, self._task.key, receipt)
        await self._whole.add(number, data)

    async def _read_again(self, arrived: PartReceipt, span: Span) -> None:
        """A part that an earlier attempt has written: its bytes are needed for the checksum of the whole, and are the same."""
        data = await self._read(span)
        if crc32c(data) != arrived.crc32c:
            raise mismatch(
                f"bytes {span.start}-{span.end - 1} of {self._task.key!r} are not those that were read before: one of the two "
                "readings was damaged"
            )
        self._receipts[arrived.number] = self._described(arrived, data)
        await self._whole.add(arrived.number, data)

    async def _read(self, span: Span) -> bytes:
        content = await self._reader.read(self._task.key, span, self._task.version)
        if content.object.size != self._task.size:
            raise SourceChanged(f"{self._task.key!r} was listed with {self._task.size} bytes, has {content.object.size}")
        self._on_step(Step.SOURCE_READ)
        return content.data

    def _described(self, receipt: PartReceipt, data: bytes) -> PartReceipt:
        """With what the whole is to be compared with beside CRC32C."""
        return receipt if self._source.crc64nvme is None else replace(receipt, crc64nvme=crc64nvme(data))

    def _done(self, number: int, span: Span, window: asyncio.Semaphore, _: asyncio.Task[None]) -> None:
        """A part is over, one way or the other. The last one's bytes stay paid for: a writer may keep them until `complete`."""
        window.release()
        if number == len(self._spans) - 1:
            self._held_to_the_end = len(span)
        else:
            self._budget.give(Lane.LARGE, len(span))


def _described(precondition: Precondition) -> str:
    return "absent" if isinstance(precondition, Absent) else precondition.version.token


async def _abort(upload: Upload, task: Task) -> None:
    try:
        await upload.abort()
    except ObjectError as error:
        log.warning("could not abort an upload", action="abort_failed", key=task.key, error=str(error))


def _first(errors: BaseExceptionGroup[ObjectError]) -> ObjectError:
    """Of the parts that failed, the one that failed first; the others were cancelled or fell with it."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
