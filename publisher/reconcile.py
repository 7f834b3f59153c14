"""Whether a scan lists the destination, too, and what comes of it.

A sweep does once in `every` seconds, whoever asks for it gets it with the next scan that begins, and a scan that is resumed goes
on as it began. One that could not list the destination does not count: the next scan tries again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.telemetry import get_logger
from publisher.advice import explain
from publisher.destination import Destination

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.config import Route
    from common.state.jobs import Job, Jobs
    from common.state.reconciliations import Reconciliations
    from common.storage.base import Reader
    from publisher.position import Gap

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciler:
    """`open_reader` gives a reader of the destination. `every` is in seconds (0: only when asked), `clock` unix time."""

    open_reader: Callable[[Route], Reader]
    notes: Reconciliations
    jobs: Jobs
    every: float
    clock: Callable[[], float]

    async def begins(self, route: Route, job: Job, *, asked: bool | None) -> bool:
        """Whether this scan is to list the destination; `asked` decides where it is not None."""
        if asked is not None:
            return asked
        if job.checkpoint.after is not None:
            return await self.notes.under_way(route.name, _scan(job))
        now = self.clock()
        if not await self.notes.due(route.name, now, self.every):
            return False
        await self.notes.begun(route.name, _scan(job), now)
        return True

    def open(self, route: Route, source: Reader, gaps: Sequence[Gap]) -> Destination:
        return Destination(self.open_reader(route), source, gaps, self.clock)

    async def ended(self, route: Route, job: Job, destination: Destination) -> None:
        """All pages of the scan have been recorded, and the job is still open."""
        error = destination.failed
        why = None if error is None else explain(route, error, at_destination=True)
        await self.jobs.reconciled(job.id, destination.extra, why)
        if why is None:
            await self.notes.ended(route.name, _scan(job))
        elif job.kind != "sync":  # whoever runs that is told by the job
            log.error(
                "the destination could not be listed: what was copied before is not known to be there still",
                action="reconciliation_failed",
                route=route.name,
                job=job.id,
                error=why,
            )


def _scan(job: Job) -> str:
    return f"{job.id} {job.scans}"
