"""One job, from where its scan stands to the end: scan, diff, publish, page by page.

The work of one job belongs to one process at a time. Before every write the holder asks whether the job is still its own
(`held`), and Redis refuses what comes in a term that is over (common.state.flight); a page that was sent but may no longer
be recorded is scanned again by whoever took over.
"""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING

from common.errors import ObjectError
from common.state.flight import Scan
from common.state.jobs import JobLost
from common.state.records import NOTHING, pack_token
from common.steps import OnStep, Step, ignore
from common.telemetry import get_logger
from publisher.advice import explain
from publisher.ahead import ahead
from publisher.diff import Keeping, diff
from publisher.position import EVERYTHING, Position
from publisher.publish import Judged, Publication
from publisher.refusals import Refusals
from publisher.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.config import PublisherSettings, Route
    from common.state.cache import Cache, Compared, There
    from common.state.flight import Entries, Flight
    from common.state.jobs import Job, Jobs
    from common.state.records import Record
    from common.storage.base import Reader
    from publisher.destination import Destination
    from publisher.increments import Increments
    from publisher.outlet import Outlet
    from publisher.position import Gap
    from publisher.reconcile import Reconciler
    from publisher.scan import ScannedPage

log = get_logger(__name__)

COMPARED_AHEAD = 2
"""Pages that Redis compares while another is published."""


def always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Scanner:
    """Runs jobs; holds nothing of any of them. `clock` is unix time, `owner` names this process; `errors` is the error
    topic, opened when it is needed.
    """

    open_reader: Callable[[Route], Reader]
    cache: Cache
    jobs: Jobs
    flight: Flight
    outlet: Outlet
    errors: Outlet
    settings: PublisherSettings
    owner: str
    clock: Callable[[], float]
    on_step: OnStep = field(default=ignore)
    increments: Increments | None = None
    """None: every scan looks at everything."""
    reconciler: Reconciler | None = None
    """None: receipts are taken at their word."""

    async def run(
        self,
        route: Route,
        job: Job,
        *,
        term: int,
        wanted: Callable[[], bool] = always,
        held: Callable[[], bool] = always,
        again: bool = False,
        only_here: bool = False,
        reconcile: bool | None = None,
    ) -> bool:
        """Scan from the job's checkpoint to the end; True when the end was reached.

        `term` is that of the caller's lead. With `again` the job does not end with this scan, but is to be scanned once
        more, from the beginning. `only_here` says that no task is on the queue or with a worker: what is in flight all the
        same is sent again. `reconcile` says whether the destination is listed, too; None leaves it to the reconciler.

        Looks at `wanted` before each page: when it is no longer, finishes what is under way. When the job is no longer `held`,
        drops it at once. Either way the job can be resumed from its checkpoint.

        Raises the reader's error, saying where and what to check, after everything that was listed before has been published.
        An error that may pass leaves the job to be resumed; any other ends it as failed.
        """
        try:
            job = await self.jobs.hold(job.id, term)
            looks = self.reconciler is not None and await self.reconciler.begins(route, job, asked=reconcile)
            job = await self._placed(route, job, whole=looks)
            run = _Run(self, route, job, term, wanted, held, only_here=only_here, looks=looks)
            return await run.to_the_end(again=again)
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
                await self.jobs.fail(job.id, term, message)
            error.args = (message,)
            raise

    async def _placed(self, route: Route, job: Job, *, whole: bool) -> Job:
        """The job, and where it begins: one of which nothing has been scanned may have to look at the changes only, unless the
        two ends are compared as a `whole`.
        """
        if self.increments is None or job.checkpoint.after is not None:
            return job
        reader = self.open_reader(route)
        try:
            gaps = await self.increments.begin(route, job, reader, whole=whole)
        finally:
            await reader.close()
        return job if gaps == EVERYTHING else replace(job, checkpoint=replace(job.checkpoint, after=str(Position(gaps))))


class _Run:
    """One run over one job. Counts what it meets, for the log; the job counts for itself."""

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        scanner: Scanner,
        route: Route,
        job: Job,
        term: int,
        wanted: Callable[[], bool],
        held: Callable[[], bool],
        *,
        only_here: bool,
        looks: bool,
    ) -> None:
        self._scanner = scanner
        self._looks = looks
        self._destination: Destination | None = None
        self._route = route
        self._job = job
        self._scan = Scan(route.name, job.id, term)
        self._wanted = wanted
        self._began = scanner.clock()
        self._republish_after = 0.0 if only_here else scanner.settings.republish_after
        self._publication = Publication(
            route,
            self._scan,
            job,
            flight=scanner.flight,
            outlet=scanner.outlet,
            batch=scanner.settings.batch,
            lost_before=lambda: scanner.clock() - self._republish_after,
            not_failed=only_here,
            clock=scanner.clock,
            held=held,
            on_step=scanner.on_step,
        )
        # What a sweep has found to be kept is looked at again once in a full sweep; whoever asks for a scan asks for looks.
        age = scanner.settings.full_sweep_seconds if job.kind == "sweep" else 0
        self._keeping = Keeping(route.on_conflict, job.started - age)
        self._refusals = Refusals(
            route, self._scan, flight=scanner.flight, errors=scanner.errors, owner=scanner.owner, clock=scanner.clock
        )
        self._met: Counter[str] = Counter()

    async def to_the_end(self, *, again: bool) -> bool:
        try:
            return await self._to_the_end(again=again)
        finally:
            await self._publication.give_up()

    async def _to_the_end(self, *, again: bool) -> bool:
        position = Position.of(self._job.checkpoint)
        self._log("scan begins", "scan_began", kind=self._job.kind, after=position.after, scans=self._job.scans)
        ended = position.ended or await self._over(position.gaps)
        if ended:
            self._scanner.on_step(Step.SCAN_ENDED)
            await self._conclude(again=again)
        self._log(
            "scan ended" if ended else "scan stopped; it goes on from here later",
            "scan_ended" if ended else "scan_stopped",
            **self._met,
        )
        return ended

    async def _conclude(self, *, again: bool) -> None:
        increments = self._scanner.increments
        if increments is None or await increments.is_full(self._route, self._job):
            await self._scanner.flight.decide(self._scan, self._began - self._republish_after)
        if self._destination is not None and self._scanner.reconciler is not None:
            await self._scanner.reconciler.ended(self._route, self._job, self._destination)
        job = await self._scanner.jobs.scanned(self._job, self._scan.term, again=again)
        if increments is not None:
            await increments.ended(self._route, self._job)
        if job is not None and job.unbalanced:
            log.error(
                "the counters of a job do not add up, by a fault of ours: its numbers cannot be trusted, its objects can",
                action="job_unbalanced",
                route=self._route.name,
                job=job.id,
                difference=job.unbalanced,
            )

    async def _over(self, gaps: Sequence[Gap]) -> bool:
        reader = self._scanner.open_reader(self._route)
        if self._looks and self._scanner.reconciler is not None:
            self._destination = self._scanner.reconciler.open(self._route, reader, gaps)
        try:
            return await self._pages(reader, gaps)
        except ObjectError:
            await self._publication.finish()
            raise
        finally:
            await reader.close()
            if self._destination is not None:
                await self._destination.close()

    async def _pages(self, reader: Reader, gaps: Sequence[Gap]) -> bool:
        shards, skip = self._scanner.settings.list_shards, self._route.skip_directory_markers
        # Where the destination is listed as well, a range waits for its part of that, and the others are not to wait with it.
        most = COMPARED_AHEAD if self._destination is None else COMPARED_AHEAD + shards
        async with (
            aclosing(scan(reader, gaps, skip_markers=skip, shards=shards)) as pages,
            aclosing(ahead(pages, self._compared, most)) as compared,
        ):
            async for page, comparison, there in compared:
                if not self._wanted():
                    await self._publication.finish()
                    return False
                await self._page(page, await self._distrusted(page, comparison, there), there)
        await self._publication.finish()
        return True

    async def _compared(self, page: ScannedPage) -> tuple[ScannedPage, Compared, There | None]:
        self._scanner.on_step(Step.PAGE_LISTED)
        there = await self._destination.at(page) if self._destination is not None else None
        compared = await self._scanner.cache.compare(self._route.name, page.objects.keys, page.objects.tokens, there)
        self._scanner.on_step(Step.PAGE_DIFFED)
        return page, compared, there

    async def _distrusted(self, page: ScannedPage, compared: Compared, there: There | None) -> Compared:
        """What the destination does not hold as it was copied is new, from here on, unless it has got another receipt meanwhile.
        So is what was left out for something that is not there any more. A crash after this costs looks.
        """
        if there is None:
            return compared
        left = await self._scanner.cache.distrust(self._route.name, self._job.id, page.objects.keys, compared.doubted)
        new = [(doubt.place, NOTHING) for doubt in compared.doubted if doubt.place not in left]
        self._met.update(distrusted=len(new))
        differ = [(place, _unless_gone(page.objects.keys[place], record, there)) for place, record in compared.differ]
        return compared._replace(differ=sorted([*differ, *new], key=itemgetter(0)), doubted=())

    async def _page(self, page: ScannedPage, compared: Compared, there: There | None) -> None:
        difference = diff(page.objects, compared.differ, self._scanner.clock(), self._republish_after, self._keeping)
        places = difference.publish
        if faults := [*page.faults, *self._refusals.too_long(page.objects, places)]:
            refused = {fault.key for fault in faults}
            places = [place for place in places if page.objects.keys[place] not in refused]
            await self._refusals.report(faults)
        proven = difference.unchanged - len(compared.counted) - len(compared.awaited)
        left_out = Counter(page.left_out)
        if kept := len(set(difference.kept).difference(compared.ended)):
            left_out["kept"] += kept
        self._met.update(left_out, published=len(places), proven=proven, in_flight=len(difference.in_flight))
        await self._publication.page(
            Judged(
                publish=[page.objects[place] for place in places],
                entries=_entries(page, compared, places),
                done=page.done,
                in_flight=_entries(page, compared, difference.in_flight),
                awaited=_entries(page, compared, compared.awaited),
                proven=proven,
                left_out=left_out,
                there=_unspoken(page, compared, there) if places and there is not None else (),
            )
        )

    def _log(self, text: str, action: str, **fields: object) -> None:
        log.info(text, action=action, route=self._route.name, job=self._job.id, **fields)


def _entries(page: ScannedPage, compared: Compared, places: Sequence[int]) -> Entries:
    tokens = page.objects.tokens
    return [(compared.stored[place], compared.digests[place], pack_token(tokens[place])) for place in places]


def _unless_gone(key: str, record: Record, there: There) -> Record:
    """Without that something is kept in the place of the object, where nothing is."""
    kept = record.published is not None and record.published.kept is not None and key not in there.listed
    return record._replace(published=None) if kept else record


def _unspoken(page: ScannedPage, compared: Compared, there: There) -> set[str]:
    """The keys of those that differ, of which the destination lists something that no receipt names."""
    found = set()
    for place, record in compared.differ:
        key = page.objects.keys[place]
        listed = there.listed.get(key)
        if listed is not None and (record.consumed is None or listed[0] != record.consumed.destination_version):
            found.add(key)
    return found
