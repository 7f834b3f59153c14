"""Jobs: what a route has to do, from a scan to the last object of it, with its checkpoint and counters.

    scanning ──scanned──> moving ──nothing in flight──> done, done_with_failures
       │  ^                 │
       │  └──scanned again──┘
       └──fail──> failed (ends with its last object in flight)

A route has one open job at most. Whoever wants a scan while objects of it are in flight scans again within it, so that an object
counts once, however often it is listed. At every moment

    listed = moved + proven + in_flight + failed + left_out

which the scripts check (scripts/_balance.lua); a difference is in `unbalanced`. A job is kept for 7 days after its end; one that
does not end, because messages were lost, for 31 days after its last sign of life, and the next one then has what is in flight.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast

from common.state.agreements import parking
from common.state.keys import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from common.state.store import Store
    from common.storage.shared import Parking

JobKind = Literal["sweep", "demand", "sync", "redrive"]
State = Literal["scanning", "moving", "done", "done_with_failures", "failed"]

ENDED: frozenset[State] = frozenset({"done", "done_with_failures", "failed"})


class JobLost(Exception):  # noqa: N818 - named after the situation, as the errors of the project are
    """The job is not the open one of its route any more, or somebody holds it in a later term: nothing was counted."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a scan has come: a place in the listing, in the publisher's own words (publisher.position; None: at its beginning),
    and the number of the next task.
    """

    after: str | None = None
    published: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Times are whole unix seconds. Counters are objects, each in one of its versions; `bytes` were copied for those moved."""

    id: str
    route: str
    kind: str
    state: State
    checkpoint: Checkpoint
    started: int
    scanned: int | None = None
    finished: int | None = None
    message: str | None = None
    """Why the scan could not go on."""
    parked: Parking | None = None
    """What the route waits for, as long as it does and the job has not ended."""
    scans: int = 1
    """How often the source was scanned, the scan under way included."""
    listed: int = 0
    moved: int = 0
    proven: int = 0
    """At the destination already: a receipt or a look says so."""
    in_flight: int = 0
    """About to be moved, or moved and not yet recorded."""
    missing: int = 0
    """Of those in flight: listed, and not found at the source by a worker. The next full scan decides."""
    failed: int = 0
    left_out: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """By reason."""
    bytes: int = 0
    metadata_lost: int = 0
    """Of those moved: objects that arrived without all that they have beside their bytes."""
    unverified: int = 0
    """Of those moved: objects of which one end states no checksum."""
    overwritten: int = 0
    """Of those moved: objects that were written over something that was not ours."""
    unbalanced: int = 0
    """What `listed` is more than the sum of the others; 0 unless there is a fault of ours."""
    distrusted: int = 0
    """Objects with a receipt that the destination's listing did not bear out: they were looked at again, or copied."""
    extra: int | None = None
    """Objects at the destination that the source does not list; no part of the sum. None: not both were listed to the end."""
    unlisted: str | None = None
    """Why the destination could not be listed to the end: from there on receipts were taken at their word."""
    sweeps: int = 1
    """For how many jobs this one stands, of which none found anything to do, and `since` when."""
    since: int | None = None

    @property
    def published(self) -> int:
        """Tasks that were made for it."""
        return self.checkpoint.published


_OLDER = {"moved": ("consumed",), "proven": ("already", "unchanged")}
"""Counters of format 1, by what they are now (formats.py)."""


class Jobs:
    """Every call is one round trip or two, and may be repeated."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._keys = store.keys

    async def open(self, route: str, kind: JobKind, now: float) -> Job:
        """The job in which the route is to be scanned: one that is scanning already; or the open one, scanned once more; or
        a new one.

        Its id begins with the route, so that the id is enough to find it.
        """
        opening = self._store.call("job_open", [self._keys.route(route)], [new_id(route, now), route, kind, int(now)])
        _, flat = await self._store.send([("SADD", self._keys.routes(), route), opening])
        return _needed(_job(_fields(flat)))

    async def current(self, route: str) -> Job | None:
        """The open job of the route."""
        return _job(_fields(await self._store.run("job_current", [self._keys.route(route)], [])))

    async def resumable(self, route: str) -> Job | None:
        """The open job of the route, if its scan has not ended, with its checkpoint."""
        job = await self.current(route)
        return job if job is not None and job.state == "scanning" else None

    async def hold(self, job_id: str, term: int) -> Job:
        """To be called by whoever is to scan the job, before anything else: what was begun in an earlier term cannot write
        to it any more. The job as it is now. Raises JobLost.
        """
        job = _job(_fields(await self._run("job_hold", job_id, [job_id, term])))
        if job is None:
            raise JobLost
        return job

    async def get(self, job_id: str) -> Job | None:
        return (await self._read([job_id]))[0]

    async def recent(self, limit: int, route: str | None = None) -> list[Job]:
        """The newest jobs, newest first, of one route or of all."""
        if route is None:
            (names,) = await self._store.send([("SMEMBERS", self._keys.routes())])
            routes = [name.decode() for name in names]
        else:
            routes = [route]
        newest = [("ZREVRANGE", self._keys.jobs(name), 0, limit - 1, "WITHSCORES") for name in routes]
        pairs = [pair for reply in await self._send(newest) for pair in zip(reply[1::2], reply[::2], strict=True)]
        pairs.sort(key=lambda pair: (float(pair[0]), pair[1]), reverse=True)
        return [job for job in await self._read([name.decode() for _, name in pairs[:limit]]) if job]

    async def scanned(self, job: Job, term: int, *, again: bool = False) -> Job | None:
        """The scan of the job, as it was held, has ended: no more objects will come, unless it is to be scanned `again`, from the
        beginning. Raises JobLost.
        """
        args: list[str | int] = [job.id, term, int(self._clock()), job.scans, int(again)]
        if not await self._run("job_scanned", job.id, args):
            raise JobLost
        return await self.get(job.id)

    async def reconciled(self, job_id: str, extra: int | None, unlisted: str | None) -> None:
        """What a comparison with the destination came to; to be told before its scan has ended."""
        key = self._keys.job(_route(job_id), job_id)
        told = {"extra": extra, "unlisted": unlisted}
        gone = [name for name, value in told.items() if value is None]
        commands: list[tuple[str | int, ...]] = [("HSET", key, name, value) for name, value in told.items() if value is not None]
        await self._send([*commands, ("HDEL", key, *gone)] if gone else commands)

    async def fail(self, job_id: str, term: int, message: str) -> None:
        """The scan cannot go on. What was published stays so and is moved."""
        await self._run("job_fail", job_id, [job_id, term, int(self._clock()), message])

    async def _run(self, script: str, job_id: str, args: Sequence[str | int]) -> Any:
        return await self._store.run(script, [self._keys.route(_route(job_id))], args)

    async def _read(self, job_ids: Sequence[str]) -> list[Job | None]:
        commands: list[tuple[str, ...]] = []
        for job in job_ids:
            route = _route(job)
            commands += [("HGETALL", self._keys.job(route, job)), ("HGETALL", self._keys.parked(route))]
            commands.append(("HMGET", self._keys.current(route), "job", "missing"))
        replies = await self._send(commands)
        return [
            self._waiting(_job(stored), parking(parked), current)
            for stored, parked, current in zip(replies[::3], replies[1::3], replies[2::3], strict=True)
        ]

    def _waiting(self, job: Job | None, parked: Parking | None, current: Sequence[bytes | None]) -> Job | None:
        if job is None or job.finished is not None:
            return job
        if current[0] == job.id.encode():
            job = replace(job, missing=int(current[1] or 0))
        return job if parked is None or parked.until <= self._clock() else replace(job, parked=parked)

    async def _send(self, commands: Sequence[Sequence[str | int]]) -> list[Any]:
        return await self._store.send(commands) if commands else []


def new_id(route: str, now: float) -> str:
    """An id for a job that is opened now."""
    return f"{route}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _route(job_id: str) -> str:
    """The id is the route's name, the time and a random part. Text that is no id of ours names a job that does not exist."""
    return job_id.rsplit("-", 2)[0]


def _fields(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _needed(job: Job | None) -> Job:
    if job is None:
        raise AssertionError("job_open answers with a job")
    return job


def _job(stored: Mapping[bytes, bytes]) -> Job | None:
    values = {name.decode(): value for name, value in stored.items()}
    if not values:
        return None

    def text(name: str) -> str:
        return values.get(name, b"").decode("utf-8", "replace")

    def moment(name: str) -> int | None:
        return int(values[name]) if name in values else None

    def number(name: str) -> int:
        return sum(int(values.get(each, 0)) for each in (name, *_OLDER.get(name, ())))

    after = values.get("after", b"")
    return Job(
        id=text("id"),
        route=text("route"),
        kind=text("kind"),
        state=cast("State", text("state")),
        checkpoint=Checkpoint(text_of(after[1:]) if after else None, int(values["published"])),
        started=int(values["started"]),
        scanned=moment("scanned"),
        finished=moment("finished"),
        message=text("message") or None,
        parked=None,
        scans=int(values.get("scans", 1)),
        left_out=MappingProxyType(_left_out(values)),
        sweeps=int(values.get("sweeps", 1)),
        since=moment("since"),
        extra=moment("extra"),
        unlisted=text("unlisted") or None,
        **{name: number(name) for name in _NUMBERS},
    )


_NUMBERS = (
    *("listed", "moved", "proven", "in_flight", "failed", "bytes"),
    *("metadata_lost", "unverified", "overwritten", "unbalanced", "distrusted"),
)


def _left_out(values: Mapping[str, bytes]) -> dict[str, int]:
    """By reason, in the order of the reasons. Format 1 left out what was gone, and called it superseded."""
    found = {name.partition(":")[2]: int(count) for name, count in values.items() if name.startswith("left_out:")}
    if int(values.get("superseded", 0)):
        found["gone"] = found.get("gone", 0) + int(values["superseded"])
    return {reason: found[reason] for reason in sorted(found) if found[reason]}
