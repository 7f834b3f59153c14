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

Several pages are sent at once, at most PAGES_UNDER_WAY; they are recorded in the order of their numbers (publisher.ledger), each
when its tasks are confirmed.

Memory of one scan: PAGES_UNDER_WAY pages, those that are compared ahead (publisher.jobs) and those that are listed ahead
(publisher.scan). A page that has come takes some 700 bytes for each object, and one of which everything is published three KiB
(the object, its record, its message, with keys of 100 bytes): some 30 MiB in all, whatever the source holds.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.state.cache import Settled, Settlement
from common.steps import OnStep, ignore
from common.task import Form
from publisher.ledger import Ledger, Sent
from publisher.position import Position, unaccounted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.config import Route
    from common.objects import StoredObject
    from common.state.cache import Cache
    from common.state.jobs import Checkpoint, Job
    from publisher.outlet import Outlet
    from publisher.position import Gap

PAGES_UNDER_WAY = 4
RETIRED_AT_ONCE = 1000


class Publication:
    """Publishes the pages of one scan. One coroutine calls it; leave it through `give_up`, after `finish` or instead of it.

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
        numbers = job.checkpoint.published
        position = Position(Position.of(job.checkpoint).gaps, numbers)
        self._ledger = Ledger(position, numbers, self._record, held=held, on_step=on_step)
        self._numbers = numbers

    async def page(self, publish: Sequence[StoredObject], *, listed: int, done: Gap) -> None:
        """Publish these objects of a page of `listed`, which covers `done` of the listing. Returns while it is on its way."""
        await self._ledger.room(PAGES_UNDER_WAY)
        confirmation = None
        if publish:
            first = await self._ledger.reserve(len(publish))
            self._numbers = first + len(publish)
            form = Form(self._route.name, self._job, datetime.fromtimestamp(self._clock(), UTC))
            confirmation = asyncio.create_task(self._send(form.filled(publish, first, self._route.destination.url)))
        entries = [(item.key, item.version.token) for item in publish]
        self._ledger.enter(Sent(confirmation, entries, listed, done, self._numbers))

    async def finish(self) -> None:
        """Return when every page is confirmed and recorded."""
        await self._ledger.room(1)

    async def give_up(self) -> None:
        """Stop sending. What is not recorded is scanned again by whoever resumes the job. Nothing to do after `finish`."""
        await self._ledger.close()

    async def _send(self, messages: Sequence[bytes]) -> None:
        for start in range(0, len(messages), self._batch):
            await self._outlet.send(messages[start : start + self._batch])

    async def _record(self, entries: Sequence[tuple[str, str]], checkpoint: Checkpoint, listed: int) -> None:
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
