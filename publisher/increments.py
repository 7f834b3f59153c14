"""Whether a scan looks at everything, or at what has changed since the last one.

Only sweeps take the short way, and only where the source can tell (`Limits.tells_changes`): whoever asks for a scan wants to have
everything looked at. And not for ever: a full sweep sees what a feed does not tell, and sends tasks again that were lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from common.state.feeds import Followed
from common.telemetry import get_logger
from publisher.position import EVERYTHING, Gap

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.config import Route
    from common.state.feeds import Feeds
    from common.state.jobs import Job
    from common.storage.base import ChangesReader, Reader

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Increments:
    """`clock` is unix time."""

    feeds: Feeds
    full_sweep_seconds: float
    clock: Callable[[], float]

    async def begin(self, route: Route, job: Job, reader: Reader, *, whole: bool = False) -> tuple[Gap, ...]:
        """The parts of the listing that this job, of which nothing has been scanned yet, is to scan: everything where it is to be
        compared as a `whole`.

        The moment is marked before anything is listed: what changes meanwhile is seen by the next sweep, too.
        """
        if not reader.limits.tells_changes:
            return EVERYTHING
        mark = await cast("ChangesReader", reader).mark()
        if mark is None:
            return EVERYTHING
        source, now = _source(route), int(self.clock())
        known = await self.feeds.find(route.name)
        followed = Followed(source, mark, now)
        gaps = EVERYTHING
        if not whole and known is not None and self._short(job, known, source, now):
            followed, gaps = Followed(source, mark, known.full), (Gap(known.mark),)
        await self.feeds.begun(route.name, job.id, followed)
        log.info(
            "looking at everything" if gaps is EVERYTHING else "looking at what has changed",
            action="scan_full" if gaps is EVERYTHING else "scan_changes",
            route=route.name,
            job=job.id,
        )
        return gaps

    async def ended(self, route: Route, job: Job) -> None:
        """Everything that the job was to scan has been recorded."""
        await self.feeds.ended(route.name, job.id)

    async def is_full(self, route: Route, job: Job) -> bool:
        """Whether the scan of this job, which has come to its end, was to look at everything."""
        return await self.feeds.is_full(route.name, job.id)

    def _short(self, job: Job, known: Followed, source: str, now: int) -> bool:
        return job.kind == "sweep" and known.source == source and 0 <= now - known.full < self.full_sweep_seconds


def _source(route: Route) -> str:
    """A mark is of one source as it was looked at: another folder, or other documents in it, begin anew."""
    return f"{route.source} {route.source_options.model_dump_json(exclude_defaults=True)}"
