"""From objects to tasks on the queue: reserve numbers, send, and record once the queue has confirmed.

Every task has a number in its job, and a number that is settled once counts once; so no two objects may ever share a number,
whatever crashes in between. A page that is scanned again after a crash may well hold other things to publish than the first
time (the workers have not slept), so counting on from the last recorded page would hand the first life's numbers, some of them
already settled, to other objects: the job would be done before its objects are. Therefore, in this order for each page:

1. *reserve*: move the job's `published`, the number of the next task, behind the page's numbers; the place in the listing stays;
2. *send* the tasks and wait for the queue's confirmation;
3. *record*, in one step, the objects as published, the page as counted, its numbers as accounted for, and the place behind it.

A crash leaves `published` ahead of what is accounted for: the numbers in between were reserved and maybe sent, and never
recorded. Whoever resumes the job settles them as superseded (`retire`) and goes on behind them. A task of the first life that
arrives later still moves its object; it only counts no more.

Several pages are sent at once, at most PAGES_UNDER_WAY; they are recorded in the order of the listing, so that the checkpoint
never moves past a page that is not confirmed.

Memory of one scan: (PAGES_UNDER_WAY + 2) pages, the one being diffed and the one prefetched included, of about 3 KiB for each
object (the object, its record, its message, with keys of 100 bytes): some 18 MiB with pages of 1,000, whatever the source holds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.cancelling import cancel
from common.state.cache import Settled, Settlement
from common.steps import OnStep, Step, ignore
from common.task import Task, encode
from publisher.position import Position, unaccounted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.config import Route
    from common.objects import StoredObject
    from common.state.cache import Cache
    from common.state.jobs import Job
    from publisher.outlet import Outlet

PAGES_UNDER_WAY = 4
RETIRED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class _Sent:
    """A page on its way: `confirmation` ends when the queue has confirmed all of it; `behind` is where the scan then stands."""

    confirmation: asyncio.Task[None]
    entries: Sequence[tuple[str, str]]
    listed: int
    behind: Position


class JobLost(Exception):  # noqa: N818 - named after the situation, as the errors of the project are
    """The job is not ours any more: its checkpoint must not be moved by us."""


class Publication:
    """Publishes the pages of one scan. One coroutine calls it; leave it through `finish` or `give_up`.

    Every method but `give_up` may raise JobLost (the job is no longer `held`) and SettingsError (the queue is not set up).
    """

    def __init__(
        self,
        route: Route,
        job: Job,
        *,
        cache: Cache,
        outlet: Outlet,
        batch: int,
        clock: Callable[[], float],
        held: Callable[[], bool],
        on_step: OnStep = ignore,
    ) -> None:
        """The job's unaccounted numbers must have been retired before."""
        self._route = route
        self._job = job.id
        self._cache = cache
        self._outlet = outlet
        self._batch = batch
        self._clock = clock
        self._held = held
        self._on_step = on_step
        self._next = job.checkpoint.published
        self._position = Position(Position.of(job.checkpoint).after, self._next)
        self._pages: deque[_Sent] = deque()

    async def page(self, publish: Sequence[StoredObject], *, listed: int, after: str | None) -> None:
        """Publish these objects of a page of `listed`, behind which the listing goes on at `after` (None: it was the last one).

        Returns once there is room for another page.
        """
        while len(self._pages) >= PAGES_UNDER_WAY or (self._pages and self._pages[0].confirmation.done()):
            await self._record_oldest()
        first = self._next
        if publish:
            await self._reserve(len(publish))
        queued = datetime.fromtimestamp(self._clock(), UTC)
        messages = [self._message(item, first + place, queued) for place, item in enumerate(publish)]
        entries = [(item.key, item.version.token) for item in publish]
        behind = Position(after, self._next, ended=after is None)
        self._pages.append(_Sent(asyncio.create_task(self._send(messages)), entries, listed, behind))

    async def finish(self) -> None:
        """Return when every page is confirmed and recorded."""
        while self._pages:
            await self._record_oldest()

    async def give_up(self) -> None:
        """Stop sending. What is not recorded is scanned again by whoever resumes the job. Nothing to do after `finish`."""
        confirmations = [page.confirmation for page in self._pages]
        self._pages.clear()
        await cancel(*confirmations)

    async def _reserve(self, count: int) -> None:
        self._next += count
        await self._record((), listed=0)

    def _message(self, item: StoredObject, number: int, queued: datetime) -> bytes:
        return encode(
            Task(
                route=self._route.name,
                key=item.key,
                version=item.version,
                size=item.size,
                modified=item.modified,
                destination=self._route.destination.url(item.key),
                job=self._job,
                number=number,
                queued=queued,
            )
        )

    async def _send(self, messages: Sequence[bytes]) -> None:
        for start in range(0, len(messages), self._batch):
            await self._outlet.send(messages[start : start + self._batch])

    async def _record_oldest(self) -> None:
        page = self._pages[0]
        await page.confirmation
        if page.entries:
            self._on_step(Step.BATCH_QUEUED)
        self._position = page.behind
        await self._record(page.entries, listed=page.listed)
        self._pages.popleft()
        self._on_step(Step.BATCH_RECORDED)

    async def _record(self, entries: Sequence[tuple[str, str]], *, listed: int) -> None:
        if not self._held():
            raise JobLost
        checkpoint = self._position.checkpoint(self._next)
        unchanged = listed - len(entries)
        now = int(self._clock())
        await self._cache.record_published(self._route.name, self._job, entries, now, checkpoint, listed, unchanged)


async def retire(cache: Cache, job: Job, *, owner: str) -> int:
    """Settle the numbers that an interrupted scan of this job left unaccounted for; how many they were.

    To be called before a job is resumed, by the only one that scans it. Again: a number that is settled does not count twice.
    """
    lost = list(unaccounted(job.checkpoint))
    for start in range(0, len(lost), RETIRED_AT_ONCE):
        await cache.settle([_superseded(job, number, owner) for number in lost[start : start + RETIRED_AT_ONCE]])
    return len(lost)


def _superseded(job: Job, number: int, owner: str) -> Settlement:
    """No object stands behind it, so it names none."""
    return Settlement(job.route, "", job.id, number, owner, Settled.SUPERSEDED)
