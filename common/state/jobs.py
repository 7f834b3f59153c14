"""Jobs: one run over a route each, with its checkpoint and counters.

    scanning ──scanned──> moving ──the last task settled──> done
        │                   (done at once where nothing is outstanding)
        └──fail──> failed

A job counts its tasks by how they ended, each once however often it was delivered: a bitmap remembers which numbers have been
counted (`Cache.settle`). A job is kept for 7 days after its end; one that does not end, because messages were lost, for 31 days
after its last sign of life.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from common.state.agreements import parking
from common.state.keys import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from common.state.store import Store
    from common.storage.shared import Parking

JobKind = Literal["sweep", "demand", "sync"]
State = Literal["scanning", "moving", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a scan has come: a place in the listing, in the publisher's own words (publisher.position; None: at its beginning),
    and the number of the next task.
    """

    after: str | None = None
    published: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Times are whole unix seconds. The counters after `unchanged` are tasks by how they ended; `bytes` were copied for them."""

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
    listed: int = 0
    unchanged: int = 0
    consumed: int = 0
    already: int = 0
    superseded: int = 0
    failed: int = 0
    bytes: int = 0
    metadata_lost: int = 0
    """Of those consumed: objects that arrived without all that they have beside their bytes."""

    @property
    def published(self) -> int:
        return self.checkpoint.published

    @property
    def outstanding(self) -> int:
        """Tasks that have not ended yet."""
        return max(0, self.published - self.consumed - self.already - self.superseded - self.failed)


_NUMBERS = ("listed", "unchanged", "consumed", "already", "superseded", "failed", "bytes", "metadata_lost")


class Jobs:
    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._keys = store.keys

    async def open(self, route: str, kind: JobKind, now: float) -> Job:
        """A new job, scanning. Its id begins with the route, so that the id is enough to find it."""
        moment = datetime.fromtimestamp(now, UTC)
        job = f"{route}-{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        prefix = self._keys.job(route, "")
        keys = [self._keys.job(route, job), self._keys.jobs(route), self._keys.scanning(route)]
        opening = self._store.call("job_open", keys, [job, route, kind, int(now), prefix])
        await self._store.send([("SADD", self._keys.routes(), route), opening])
        return Job(id=job, route=route, kind=kind, state="scanning", checkpoint=Checkpoint(), started=int(now))

    async def resumable(self, route: str) -> Job | None:
        """The oldest job of the route whose scan has not ended, with its checkpoint."""
        flat = await self._store.run("job_resumable", [self._keys.scanning(route)], [self._keys.job(route, "")])
        return _job(dict(zip(flat[::2], flat[1::2], strict=True)))

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

    async def scanned(self, job_id: str) -> Job | None:
        """The scan has ended: no more tasks will come. None if the job is gone."""
        await self._store.run("job_scanned", self._scan_keys(job_id), [job_id, int(self._clock())])
        return await self.get(job_id)

    async def fail(self, job_id: str, message: str) -> None:
        """The scan cannot go on. What was published stays so and is moved."""
        await self._store.run("job_fail", self._scan_keys(job_id), [job_id, int(self._clock()), message])

    async def _read(self, job_ids: Sequence[str]) -> list[Job | None]:
        names = [name for job in job_ids for name in (self._key(job), self._keys.parked(_route(job)))]
        replies = await self._send([("HGETALL", name) for name in names])
        return [self._waiting(_job(job), parking(route)) for job, route in zip(replies[::2], replies[1::2], strict=True)]

    def _waiting(self, job: Job | None, parked: Parking | None) -> Job | None:
        if job is None or parked is None or job.finished is not None or parked.until <= self._clock():
            return job
        return replace(job, parked=parked)

    async def _send(self, commands: Sequence[Sequence[str | int]]) -> list[Any]:
        return await self._store.send(commands) if commands else []

    def _key(self, job_id: str) -> str:
        return self._keys.job(_route(job_id), job_id)

    def _scan_keys(self, job_id: str) -> list[str]:
        key = self._key(job_id)
        return [key, f"{key}:settled", self._keys.scanning(_route(job_id))]


def _route(job_id: str) -> str:
    """The id is the route's name, the time and a random part. Text that is no id of ours names a job that does not exist."""
    return job_id.rsplit("-", 2)[0]


def _job(stored: Mapping[bytes, bytes]) -> Job | None:
    values = {name.decode(): value for name, value in stored.items()}
    if not values:
        return None

    def text(name: str) -> str:
        return values.get(name, b"").decode("utf-8", "replace")

    def moment(name: str) -> int | None:
        return int(values[name]) if name in values else None

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
        **{name: int(values.get(name, 0)) for name in _NUMBERS},
    )
