"""One job, from where its scan stands to the end: scan, diff, publish, page by page.

The work of one job belongs to one process at a time. Before every write that moves the checkpoint the holder asks whether the
job is still its own (`held`); a page that was sent but may no longer be recorded is scanned again by whoever took over.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from common.errors import ObjectError
from common.steps import OnStep, Step, ignore
from common.telemetry import get_logger
from publisher.advice import explain
from publisher.ahead import ahead
from publisher.diff import Difference, diff
from publisher.ledger import JobLost
from publisher.position import EVERYTHING, Position
from publisher.publish import Publication, retire
from publisher.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.config import PublisherSettings, Route
    from common.state.cache import Cache
    from common.state.jobs import Job, Jobs
    from common.storage.base import Reader
    from publisher.increments import Increments
    from publisher.outlet import Outlet
    from publisher.position import Gap
    from publisher.scan import ScannedPage

log = get_logger(__name__)

COMPARED_AHEAD = 2
"""Pages that Redis compares while another is published."""


def always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Scanner:
    """Runs jobs; holds nothing of any of them. `clock` is unix time, `owner` names this process."""

    open_reader: Callable[[Route], Reader]
    cache: Cache
    jobs: Jobs
    outlet: Outlet
    settings: PublisherSettings
    owner: str
    clock: Callable[[], float]
    on_step: OnStep = field(default=ignore)
    increments: Increments | None = None
    """None: every scan looks at everything."""

    async def run(
        self,
        route: Route,
        job: Job,
        *,
        wanted: Callable[[], bool] = always,
        held: Callable[[], bool] = always,
    ) -> bool:
        """Scan from the job's checkpoint to the end; True when the end was reached.

        Looks at `wanted` before each page: when it is no longer, finishes what is under way. When the job is no longer `held`,
        drops it at once. Either way the job can be resumed from its checkpoint.

        Raises the reader's error, saying where and what to check, after everything that was listed before has been published.
        An error that may pass leaves the job to be resumed; any other ends it as failed.
        """
        try:
            job = await self._placed(route, job)
            return await _Run(self, route, job, wanted, held).to_the_end()
        except JobLost:
            log.warning("another publisher has taken this scan over", action="scan_lost", route=route.name, job=job.id)
            return False
        except ObjectError as error:
            message = explain(route, error)
            fields = {"route": route.name, "job": job.id, "category": error.category.value, "error": message}
            if error.retryable:
                log.warning("scan interrupted; it will be resumed", action="scan_interrupted", **fields)
            else:
                log.error("scan failed", action="scan_failed", **fields)  # noqa: TRY400 - expected: the text says it all
                await self.jobs.fail(job.id, message)
            error.args = (message,)
            raise

    async def _placed(self, route: Route, job: Job) -> Job:
        """The job, and where it begins: one of which nothing has been scanned may have to look at the changes only."""
        if self.increments is None or job.checkpoint.after is not None:
            return job
        reader = self.open_reader(route)
        try:
            gaps = await self.increments.begin(route, job, reader)
        finally:
            await reader.close()
        return job if gaps == EVERYTHING else replace(job, checkpoint=Position(gaps).checkpoint(job.published))


class _Run:
    """One run over one job. Counts what it meets; a resumed job has met more before."""

    def __init__(self, scanner: Scanner, route: Route, job: Job, wanted: Callable[[], bool], held: Callable[[], bool]) -> None:
        self._scanner = scanner
        self._route = route
        self._job = job
        self._wanted = wanted
        self._publication = Publication(
            route,
            job,
            cache=scanner.cache,
            outlet=scanner.outlet,
            batch=scanner.settings.batch,
            clock=scanner.clock,
            held=held,
            on_step=scanner.on_step,
        )
        self._listed = self._published = self._in_flight = self._markers = 0

    async def to_the_end(self) -> bool:
        try:
            return await self._to_the_end()
        finally:
            await self._publication.give_up()

    async def _to_the_end(self) -> bool:
        retired = await retire(self._scanner.cache, self._job, owner=self._scanner.owner)
        position = Position.of(self._job.checkpoint)
        self._log("scan begins", "scan_began", kind=self._job.kind, after=position.after, retired=retired)
        ended = position.ended or await self._over(position.gaps)
        if ended:
            self._scanner.on_step(Step.SCAN_ENDED)
            await self._scanner.jobs.scanned(self._job.id)
            if self._scanner.increments is not None:
                await self._scanner.increments.ended(self._route, self._job)
        self._log(
            "scan ended" if ended else "scan stopped; it goes on from here later",
            "scan_ended" if ended else "scan_stopped",
            listed=self._listed,
            published=self._published,
            in_flight=self._in_flight,
            markers=self._markers,
        )
        return ended

    async def _over(self, gaps: Sequence[Gap]) -> bool:
        reader = self._scanner.open_reader(self._route)
        try:
            return await self._pages(reader, gaps)
        except ObjectError:
            await self._publication.finish()
            raise
        finally:
            await reader.close()

    async def _pages(self, reader: Reader, gaps: Sequence[Gap]) -> bool:
        shards, skip = self._scanner.settings.list_shards, self._route.skip_directory_markers
        async with (
            aclosing(scan(reader, gaps, skip_markers=skip, shards=shards)) as pages,
            aclosing(ahead(pages, self._compared, COMPARED_AHEAD)) as compared,
        ):
            async for page, difference in compared:
                if not self._wanted():
                    await self._publication.finish()
                    return False
                await self._page(page, difference)
        await self._publication.finish()
        return True

    async def _compared(self, page: ScannedPage) -> tuple[ScannedPage, Difference]:
        self._scanner.on_step(Step.PAGE_LISTED)
        known = await self._scanner.cache.compare(self._route.name, page.objects.keys, page.objects.tokens)
        difference = diff(page.objects, known, self._scanner.clock(), self._scanner.settings.republish_after)
        self._scanner.on_step(Step.PAGE_DIFFED)
        return page, difference

    async def _page(self, page: ScannedPage, difference: Difference) -> None:
        if page.nameless:
            log.warning(
                "an object has the name of the location itself and cannot be replicated: make the prefix of the route shorter",
                action="object_nameless",
                route=self._route.name,
                location=str(self._route.source),
            )
        self._listed += page.listed
        self._published += len(difference.publish)
        self._in_flight += difference.in_flight
        self._markers += page.markers
        await self._publication.page(difference.publish, listed=len(page.objects), done=page.done)

    def _log(self, text: str, action: str, **fields: object) -> None:
        log.info(text, action=action, route=self._route.name, job=self._job.id, **fields)
