"""Bytes from a reader to a writer: pinned to one version, hashed on the way past, never more in memory than the budget allows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from common.checksums import crc32c, join
from common.errors import ObjectError, SourceChanged
from common.steps import Step
from common.storage.base import Body
from common.telemetry import get_logger
from worker.verify import with_provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import Headers, Span, StoredObject
    from common.steps import OnStep
    from common.storage.base import PartReceipt, Precondition, Reader, Upload, Writer
    from common.task import Task
    from worker.budget import Budget
    from worker.plan import Plan

log = get_logger(__name__)

PARALLEL_PARTS = 4
"""Parts of one object under way at once where the destination takes them in any order; more would starve the other objects."""
READ_AHEAD = 2
"""Parts under way at once where they must be written in sequence: one is written while the next is read."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What the destination says it holds, and the CRC32C of the bytes that were sent to it."""

    written: StoredObject
    crc32c: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Moves the objects of one route. Used by many coroutines at once."""

    reader: Reader
    writer: Writer
    budget: Budget
    on_step: OnStep

    async def move(self, task: Task, plan: Plan, precondition: Precondition) -> Moved:
        """Move the task's version as planned. Raises ObjectError; then the destination is as it was, or holds the object
        whole.
        """
        if plan.part_bytes is None:
            return await self._whole(task, plan, precondition)
        return await _Parts(self, task, plan).move(precondition)

    async def _whole(self, task: Task, plan: Plan, precondition: Precondition) -> Moved:
        async with self.budget.hold(plan.most_held):
            content = await self.reader.read(task.key, None, task.version)
            self.on_step(Step.SOURCE_READ)
            data = content.data
            if len(data) != task.size:
                raise SourceChanged(f"{task.key!r} was listed with {task.size} bytes and has {len(data)}")
            checksum = crc32c(data)
            body = Body(data, checksum, with_provenance(content.object.headers, task))
            written = await self.writer.put(task.key, body, precondition)
            self.on_step(Step.WRITTEN)
            return Moved(written, checksum)


class _Parts:
    """One object moved in parts."""

    def __init__(self, transfer: Transfer, task: Task, plan: Plan) -> None:
        self._task = task
        self._spans: Sequence[Span] = tuple(plan.spans())
        self._reader = transfer.reader
        self._writer = transfer.writer
        self._budget = transfer.budget
        self._on_step = transfer.on_step
        self._receipts: list[PartReceipt] = []
        self._held_to_the_end = 0

    async def move(self, precondition: Precondition) -> Moved:
        headers = await self._headers()
        upload = await self._writer.begin(self._task.key, self._task.size, with_provenance(headers, self._task), precondition)
        self._on_step(Step.UPLOAD_BEGUN)
        try:
            await self._move_parts(upload)
            checksum = self._whole_checksum()
            written = await upload.complete(self._receipts, checksum)
        except BaseException:
            # Also when we are cancelled: an upload that nobody will finish is billed until somebody finds it.
            await asyncio.shield(self._give_up(upload))
            raise
        finally:
            self._budget.give(self._held_to_the_end)
        self._on_step(Step.WRITTEN)
        return Moved(written, checksum)

    async def _headers(self) -> Headers:
        found = await self._reader.stat(self._task.key)
        if found is None or found.version.token != self._task.version.token or found.size != self._task.size:
            raise SourceChanged(f"{self._task.key!r} is no longer the version that was listed")
        return found.headers

    async def _move_parts(self, upload: Upload) -> None:
        parallel = self._writer.limits.parallel_parts
        window = asyncio.Semaphore(PARALLEL_PARTS if parallel else READ_AHEAD)
        before: asyncio.Task[None] | None = None
        failure: ObjectError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for number, span in enumerate(self._spans):
                    await window.acquire()
                    await self._budget.take(len(span))
                    part = group.create_task(self._move_part(upload, number, span, None if parallel else before))
                    # A callback, not a `finally` in the part: a task that is cancelled before its first step never gets there.
                    part.add_done_callback(partial(self._done, number, span, window))
                    before = part
        except* ObjectError as errors:
            failure = _first(errors)
        if failure is not None:
            raise failure

    async def _move_part(self, upload: Upload, number: int, span: Span, before: asyncio.Task[None] | None) -> None:
        """Read, hash and write one part; in sequence behind `before`. Its bytes are paid for already."""
        content = await self._reader.read(self._task.key, span, self._task.version)
        if content.object.size != self._task.size:
            raise SourceChanged(f"{self._task.key!r} was listed with {self._task.size} bytes, has {content.object.size}")
        self._on_step(Step.SOURCE_READ)
        if before is not None:
            await before
        self._receipts.append(await upload.part(number, span.start, content.data, crc32c(content.data)))
        self._on_step(Step.PART_WRITTEN)

    def _done(self, number: int, span: Span, window: asyncio.Semaphore, _: asyncio.Task[None]) -> None:
        """A part is over, one way or the other. The last one's bytes stay paid for: a writer may keep them until `complete`."""
        window.release()
        if number == len(self._spans) - 1:
            self._held_to_the_end = len(span)
        else:
            self._budget.give(len(span))

    def _whole_checksum(self) -> int:
        whole = 0
        for receipt in sorted(self._receipts, key=lambda receipt: receipt.number):
            whole = join(whole, receipt.crc32c, receipt.size)
        return whole

    async def _give_up(self, upload: Upload) -> None:
        try:
            await upload.abort()
        except ObjectError as error:
            log.warning("could not abort an upload", action="abort_failed", key=self._task.key, error=str(error))


def _first(errors: BaseExceptionGroup[ObjectError]) -> ObjectError:
    """Of the parts that failed, the one that failed first; the others were cancelled or fell with it."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
