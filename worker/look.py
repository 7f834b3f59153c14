"""What the destination holds where an object is to be written, and what follows from it.

Nothing is written over another object of the same source: a destination that takes two keys for one would else end in two
successes and one object. What is proven equal is not written again, whoever wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import DestinationTaken
from common.objects import UNSIZED
from common.storage.base import Absent, Matches
from common.storage.metadata import HEADERS
from common.storage.names import PREFIX
from common.storage.source_time import of_file, since_epoch, without_ours
from worker.provenance import Standing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from common.objects import Headers, StoredObject
    from common.state.records import Record
    from common.storage.base import Precondition, Writer
    from common.task import Task
    from worker.carry import Rules

    AtSource = Callable[[], Awaitable[StoredObject]]
    """The object of the task's version, as the source describes it now. Raises where the source holds another version."""


@dataclass(frozen=True, slots=True)
class Seen:
    """`proven`: the object that holds the task's version already; then nothing is to be written. Else `precondition` is what a
    write has to expect, if there is to be one.
    """

    precondition: Precondition
    proven: StoredObject | None = None
    foreign: bool = False
    """What a write would replace is not ours."""
    kept: bool = False
    """It is not to be replaced: the route says so."""


@dataclass(frozen=True, slots=True)
class Look:
    """Looks at the destination of one route."""

    writer: Writer
    rules: Rules

    async def at(self, task: Task, record: Record, at_source: AtSource) -> Seen:
        """What is there. Raises DestinationTaken where the task must not write, and what `at_source` raises."""
        found = await self.writer.stat(task.key)
        if found is None:
            return Seen(Absent())
        precondition = Matches(found.version)
        standing = self.rules.origin.standing(found, task)
        if standing is Standing.TWIN:
            raise self.taken_by_twin(task)
        if standing is Standing.THIS:
            if await self._is_whole(found, task, at_source):
                return Seen(precondition, found)
            altered = task.there and _differ(await at_source(), found)
            standing = Standing.FOREIGN if altered else Standing.OURS
        if record.consumed is not None and record.consumed.destination_version == found.version.token:
            standing = Standing.OURS
        if may_be_equal(found, task):
            source = await at_source()
            if are_equal(source, found) and (self._bytes_alone(standing) or self._same_beside(source, found, task)):
                return Seen(precondition, found)
        if standing is Standing.OURS:
            return Seen(precondition)
        return Seen(precondition, foreign=True, kept=await self._is_kept(task, found, at_source))

    async def _is_kept(self, task: Task, found: StoredObject, at_source: AtSource) -> bool:
        """Whether an object that is not ours stays. Raises DestinationTaken where that is for people to decide."""
        match self.rules.on_conflict:
            case "keep":
                return True
            case "newer":
                return not _is_newer(await at_source(), found)
            case "fail":
                raise DestinationTaken(
                    f"{task.destination!r} holds an object that is not a copy of ours, nor equal to it, and is not to be written "
                    'over (on_conflict = "fail", --immutable): move it away, or decide for all such objects with on_conflict = '
                    '"overwrite", "newer" or "keep" on the route, or with --update or --ignore-existing'
                )
        return False

    def check_written(self, task: Task, written: StoredObject) -> None:
        """Raises DestinationTaken where what the destination says to have after a write is another object of the source."""
        if self.rules.origin.standing(written, task) is Standing.TWIN:
            raise self.taken_by_twin(task)

    async def _is_whole(self, found: StoredObject, task: Task, at_source: AtSource) -> bool:
        """Whether what says to be the task's version has its bytes. Where wrong bytes may have been stored under its name, what
        the destination states of them has to be what the source states. What somebody has altered there may say so still: nothing
        that both sides state may speak against it.
        """
        if not _stated(found):
            return True
        if self.writer.limits.compares_bytes:
            return not task.there or not _differ(await at_source(), found)
        return are_equal(await at_source(), found)

    @staticmethod
    def taken_by_twin(task: Task) -> DestinationTaken:
        return DestinationTaken(
            f"{task.destination!r} holds the copy of another object of the same source: this destination takes both keys for "
            "one, as some do with a//b and a/b, or with A and a. Rename one of the two at the source; or, if the copy is left "
            "over from an object that is gone, move it away at the destination and redrive"
        )

    def _bytes_alone(self, standing: Standing) -> bool:
        """Of what others have written equal bytes are enough, unless nothing may be lost. Of an older copy of ours they are not:
        the source may have got other headers.
        """
        return standing is Standing.FOREIGN and not self.rules.strict

    def _same_beside(self, source: StoredObject, found: StoredObject, task: Task) -> bool:
        wanted = self.rules.carry(source, task, self.writer.limits).headers
        said = {name for name in HEADERS if getattr(wanted, name) is not None}
        same = all(getattr(wanted, name) == getattr(found.headers, name) for name in said)
        return same and _theirs(wanted) == _theirs(found.headers)


def may_be_equal(found: StoredObject, task: Task) -> bool:
    """Whether it is worth asking the source: the size is the same, and the destination states a checksum."""
    return task.size != UNSIZED and found.size == task.size and bool(_stated(found))


def are_equal(source: StoredObject, found: StoredObject) -> bool:
    """Whether size and every checksum that both sides state agree, and there is one."""
    here, there = _stated(source), _stated(found)
    common = here.keys() & there.keys()
    return source.size == found.size and bool(common) and all(here[kind] == there[kind] for kind in common)


def _differ(source: StoredObject, found: StoredObject) -> bool:
    """Whether there is a checksum that both sides state, and that is another."""
    here, there = _stated(source), _stated(found)
    return any(here[kind] != there[kind] for kind in here.keys() & there.keys())


def _is_newer(source: StoredObject, found: StoredObject) -> bool:
    """Whether the source's was modified later. A time that nobody tells is no reason to write over anything."""
    here, there = _modified(source), _modified(found)
    return here is not None and there is not None and here > there


def _modified(found: StoredObject) -> int | None:
    """That of the file that was uploaded, where somebody has noted it: a bucket itself knows the time of the upload."""
    told = of_file(found.headers.metadata)
    return told if told is not None or found.modified is None else since_epoch(found.modified, found.nanoseconds)


def _stated(found: StoredObject) -> dict[str, str | int]:
    stated = {**found.digests, "crc32c": found.crc32c, "crc64nvme": found.crc64nvme, "md5": found.md5}
    return {kind: value for kind, value in stated.items() if value is not None}


def _theirs(headers: Headers) -> dict[str, str]:
    """Metadata without what we add."""
    return {name: value for name, value in without_ours(headers.metadata).items() if not name.startswith(PREFIX)}
