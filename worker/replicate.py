"""One delivery from its arrival to its end: claim, plan, transfer, verify, settle, acknowledge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.errors import (
    BrigadeError,
    DestinationConflict,
    Malformed,
    NotKnownYet,
    ObjectError,
    PreconditionFailed,
    SourceChanged,
    SourceMissing,
    Unavailable,
    UploadLost,
)
from common.objects import Version
from common.state.cache import Outcome
from common.state.records import kept_mark
from common.steps import Step
from common.storage.base import Absent, Matches
from common.task import decode, encode
from common.telemetry import get_logger
from worker import verify
from worker.carry import LENIENT
from worker.deaths import SUSPECT, TURN_SECONDS, Suspects
from worker.look import Look
from worker.plan import Plan, plan
from worker.transfer import Moved, Transfer
from worker.twins import common_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from common.objects import StoredObject
    from common.queues.base import Delivery, Queue
    from common.state.claims import Claimed
    from common.state.records import Receipt, Record
    from common.state.uploads import Uploads
    from common.steps import OnStep
    from common.storage.base import Precondition, Reader, Writer
    from common.task import Task
    from worker.budget import Budget
    from worker.carry import Rules
    from worker.claim import Claims
    from worker.failure import Failures
    from worker.settle import Settler

log = get_logger(__name__)

LOOKS = 3
"""How often a write is tried anew because the destination was not as the last look showed it."""
SMALL_BYTES = 1024 * 1024
"""Up to this size an unknown object is written without a look first: reading it in vain costs less than a look at each of
millions."""


ROUNDS = 5
"""How often an object that changes before it has been moved is gone after, before it is left to the next sweep."""
ROUND_SECONDS = 1.0
"""How long the third round waits after the second; each later one waits twice as long. The second follows at once."""


class _Superseded(Exception):  # noqa: N818 - not an error: the way out of `_move` when there is nothing left to move
    """The task's version is gone from the source; `successor` is the version to move instead, if there is one."""

    def __init__(self, successor: StoredObject | None) -> None:
        super().__init__()
        self.successor = successor


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a route's objects come from, where they go, and what goes along with their bytes."""

    reader: Reader
    writer: Writer
    rules: Rules = LENIENT


@dataclass(frozen=True, slots=True)
class _Brought:
    """What became of an object: a receipt for what is at the destination, `moved` there by us or not; None where what is there is
    another object that stays. `overwritten`: we have written over what was not ours.
    """

    receipt: Receipt | None
    moved: Moved | None = None
    overwritten: bool = False


class _Source:
    """The task's version at its source, asked for when somebody wants to know."""

    def __init__(self, reader: Reader, task: Task) -> None:
        self._reader = reader
        self._task = task
        self._found: StoredObject | None = None

    async def ask(self) -> StoredObject:
        """Raises _Superseded unless the source holds the task's version now."""
        found = await self._reader.stat(self._task.key)
        if found is None or found.version.token != self._task.version.token:
            raise _Superseded(found)
        self._found = found
        return found

    async def known(self) -> StoredObject:
        """The answer of before, if there is one."""
        return self._found or await self.ask()


class _Habit:
    """What a route's destination has been like lately. Where unknown objects turn out to be there already, as after the loss
    of the cache, looking first is cheaper; where looks find nothing for a while, it is not.
    """

    def __init__(self) -> None:
        self._looks_left = 0

    @property
    def look_first(self) -> bool:
        return self._looks_left > 0

    def saw(self, *, there: bool) -> None:
        self._looks_left = 1000 if there else max(0, self._looks_left - 1)


class Replicator:
    """Brings deliveries to their end, many at once. One per process and event loop."""

    def __init__(
        self,
        *,
        name: str,
        ends: Mapping[str, Ends],
        queue: Queue,
        claims: Claims,
        settler: Settler,
        failures: Failures,
        uploads: Uploads,
        budget: Budget,
        part_bytes: int,
        now: Callable[[], float],
        on_step: OnStep,
        deaths: int = 0,
    ) -> None:
        """`deaths`: so many workers may die of one object before it is set aside; 0: any number."""
        self._name = name
        self._ends = ends
        self._queue = queue
        self._claims = claims
        self._settler = settler
        self._failures = failures
        self._transfers = {
            route: Transfer(each.reader, each.writer, uploads, budget, on_step, each.rules) for route, each in ends.items()
        }
        self._part_bytes = part_bytes
        self._now = now
        self._on_step = on_step
        self._suspects = Suspects(deaths)
        self._habits = {route: _Habit() for route in ends}

    async def replicate(self, delivery: Delivery) -> None:
        """Bring one delivery to its end. Raises only when Redis or the queue is away (the delivery then comes back) or when
        cancelled.
        """
        self._on_step(Step.RECEIVED)
        task = None
        try:
            task = decode(delivery.payload)
            ends = self._ends_of(task)
        except Malformed as error:
            await self._failures.reject_unreadable(delivery, error, task)
            return
        if waits := self._too_early(task) or await self._failures.parked_delay(task):
            await delivery.nack(waits)
            return
        try:
            await self._admitted(delivery, task, ends)
        finally:
            await self._failures.over(task)

    async def _admitted(self, delivery: Delivery, task: Task, ends: Ends) -> None:
        claimed = await self._claims.take(task)
        if claimed.outcome is Outcome.BUSY:
            await delivery.nack(self._failures.busy_delay())
            return
        if claimed.outcome is Outcome.ELSEWHERE:
            await self._failures.reject_unreadable(delivery, _other_ends(task), task)
            return
        try:
            if claimed.deaths < SUSPECT:
                await self._alone(delivery, task, ends, claimed)
            else:
                await self._in_turn(delivery, task, ends, claimed)
        except BaseException:
            await self._claims.hand_back(task)  # whoever gets it next must neither wait for us nor take us for dead
            raise
        finally:
            self._claims.forget(task)

    async def _alone(self, delivery: Delivery, task: Task, ends: Ends, claimed: Claimed) -> None:
        """Where the destination refuses no write, those whose keys it may take for one have to come one after the other: whoever
        comes second then sees what the first has written.
        """
        blind = claimed.outcome is Outcome.TAKEN and not ends.writer.limits.preconditions
        name = common_name(task.key) if blind else task.key
        if not await self._claims.take_name(task, name):
            await self._claims.release(task)
            await delivery.nack(self._failures.busy_delay())
            return
        try:
            await self._replicate(delivery, task, ends, claimed)
        finally:
            await self._claims.give_name(task, name)

    def _too_early(self, task: Task) -> float:
        """Seconds until an object is due that changed when it was tried last. No message waits longer than the longest round."""
        early = task.not_before.timestamp() - self._now() if task.not_before else 0.0
        return early if 0 < early <= ROUND_SECONDS * 2**ROUNDS else 0.0

    async def _in_turn(self, delivery: Delivery, task: Task, ends: Ends, claimed: Claimed) -> None:
        async with self._suspects.turn(task, claimed.deaths) as ours:
            if not ours:
                await self._claims.release(task)
                await delivery.nack(TURN_SECONDS)
                return
            await self._claims.begin_alone(task)
            await self._alone(delivery, task, ends, claimed)

    async def _replicate(self, delivery: Delivery, task: Task, ends: Ends, claimed: Claimed) -> None:
        try:
            if claimed.outcome is Outcome.DONE:
                await self._settler.proven(task)
            else:
                self._on_step(Step.CLAIMED)
                self._suspects.judge(task, claimed.deaths)
                await self._carry_out(task, ends, claimed.record)
        except ObjectError as error:
            await self._failures.handle(delivery, task, error)
        except BrigadeError:
            raise
        except Exception as error:
            log.exception("an object could not be moved, by a fault of ours", action="internal_error", key=task.key)
            await self._failures.handle(delivery, task, error)
        else:
            await delivery.ack()
            self._on_step(Step.ACKNOWLEDGED)

    async def _carry_out(self, task: Task, ends: Ends, record: Record) -> None:
        try:
            brought = await self._move(task, ends, record)
        except _Superseded as superseded:
            await self._hand_over(task, ends, _newer(superseded.successor, task, record))
            return
        if brought.receipt is None:
            await self._settler.kept(task, kept_mark(ends.rules.on_conflict, self._now()))
            await self._failures.served(task, source=False, destination=True)
            log.debug("what is there is kept", action="object_kept", route=task.route, key=task.key)
            return
        self._on_step(Step.VERIFIED)
        moved = brought.moved
        await self._settler.arrived(task, brought.receipt, moved, overwritten=brought.overwritten)
        await self._failures.served(task, source=moved is not None, destination=True)
        log.debug(
            "object replicated" if moved else "object was there already",
            action="object_replicated" if moved else "object_present",
            route=task.route,
            key=task.key,
            size=task.size,
        )

    async def _move(self, task: Task, ends: Ends, record: Record) -> _Brought:
        """Bring the version to the destination, or find that it is there, or that what is there stays."""
        same, consumed = await self._transfers[task.route].still_there(task, record.consumed), record.consumed
        if same is not None and consumed is not None:
            return _Brought(verify.receipt(task, same, consumed.crc32c, at=int(self._now()), worker=self._name))
        planned = plan(task.key, task.size, ends.writer.limits, self._part_bytes)
        precondition = self._assumed(task, ends, planned, record)
        look, source = Look(ends.writer, ends.rules), _Source(ends.reader, task)
        foreign = False
        for _ in range(LOOKS):
            if precondition is None:
                seen = await look.at(task, record, source.known)
                self._habits[task.route].saw(there=seen.kept or seen.proven is not None)
                if seen.proven is not None:
                    return _Brought(verify.receipt(task, seen.proven, None, at=int(self._now()), worker=self._name))
                if seen.kept:
                    return _Brought(None)
                precondition, foreign = seen.precondition, seen.foreign
            try:
                moved = await self._transfers[task.route].move(task, planned, precondition)
            except (PreconditionFailed, UploadLost):
                # Someone was there first; perhaps ourselves, and the answer was lost. It may have been a newer version, too:
                # whoever writes over something must know that the source still is what the task says.
                precondition = None
                await source.ask()
            except (SourceChanged, SourceMissing) as error:
                await source.ask()
                raise Unavailable(f"{error}; yet the source says that it is unchanged") from error
            else:
                look.check_written(task, moved.written)
                receipt = verify.receipt(task, moved.written, moved.crc32c, at=int(self._now()), worker=self._name)
                return _Brought(receipt, moved, overwritten=foreign)
        raise DestinationConflict(f"{task.destination!r} changed each of the {LOOKS} times that it was about to be written")

    def _assumed(self, task: Task, ends: Ends, planned: Plan, record: Record) -> Precondition | None:
        """What the destination holds, as far as it can be known without a look; None asks for one."""
        if task.there or not ends.writer.limits.preconditions:
            return None
        if record.consumed is not None:
            return Matches(Version(record.consumed.destination_version))
        small = planned.part_bytes is None and task.size <= SMALL_BYTES
        return Absent() if small and not self._habits[task.route].look_first else None

    async def _hand_over(self, task: Task, ends: Ends, successor: StoredObject | None) -> None:
        """The task is void. What the source holds now is sent as a task of its own, before the old one is forgotten; where it
        holds nothing, that is no proof that it will not: the object was listed. Raises SourceMissing when it was listed once
        more.
        """
        if successor is None:
            await self._transfers[task.route].discard(task)
            await self._miss(task, ends)
        elif task.rounds < ROUNDS:
            await self._queue.send([encode(self._next_round(task, successor))])
            await self._settler.handed_over(task, successor.version)
        else:
            await self._transfers[task.route].discard(task)
            await self._settler.changing(task)
            log.warning(
                "an object keeps changing and is left to the next sweep",
                action="object_changing",
                reason=f"{task.key!r} changed each of the {task.rounds + 1} times that it was to be moved",
                route=task.route,
                key=task.key,
                rounds=task.rounds + 1,
            )
        log.debug(
            "the source changed before the object was moved",
            action="object_superseded",
            route=task.route,
            key=task.key,
            gone=successor is None,
        )

    def _next_round(self, task: Task, successor: StoredObject) -> Task:
        """The successor takes the place of the task: the object is counted once, when its new version has arrived. Rounds grow
        apart, or an object that never rests would be run after for ever.
        """
        waits = ROUND_SECONDS * 2 ** (task.rounds - 1) if task.rounds else 0.0
        return replace(
            task,
            version=successor.version,
            size=successor.size,
            modified=successor.modified,
            rounds=task.rounds + 1,
            not_before=datetime.fromtimestamp(self._now() + waits, UTC) if waits else None,
        )

    async def _miss(self, task: Task, ends: Ends) -> None:
        if not ends.reader.limits.lists_as_it_is:
            await self._settler.gone(task)
        elif not await self._settler.missing(task):
            raise SourceMissing(
                "the source lists it, and when it is read says that it is not there, or shows an older version, in two scans: "
                "check who writes there, and whether the listing is of this bucket; nothing was copied"
            )

    def _ends_of(self, task: Task) -> Ends:
        try:
            return self._ends[task.route]
        except KeyError:
            known = ", ".join(sorted(self._ends))
            raise NotKnownYet(
                f"route {task.route!r} is not in this worker's settings (it has {known}): add it, then redrive",
                subject=f"route {task.route}",
                queued=task.queued.timestamp(),
            ) from None


def _other_ends(task: Task) -> NotKnownYet:
    """Who has the new settings takes it: our writer would bring the object to a place where it does not belong any more."""
    return NotKnownYet(
        f"route {task.route!r} leads somewhere else by the publisher's settings than by this worker's: give both the same, then "
        "redrive",
        subject=f"ends of route {task.route}",
        queued=task.queued.timestamp(),
    )


def _newer(successor: StoredObject | None, task: Task, record: Record) -> StoredObject | None:
    """What the source shows instead of the task's version, unless it is older than what was listed: the version that was copied
    before, or one that was modified earlier. Then a replica or a cache answered, and nothing says that the listed version is
    gone. If the source really went back, the next scan lists it so.
    """
    if successor is None or (record.consumed is not None and record.consumed.etag == successor.version.token):
        return None
    # A HEAD tells whole seconds, some listings more.
    if successor.modified is not None and task.modified is not None and successor.modified < task.modified.replace(microsecond=0):
        return None
    return successor
