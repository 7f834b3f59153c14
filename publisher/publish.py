"""From objects to tasks on the queue: reserve, send, and record once the queue has confirmed.

In this order for each page:

1. *reserve*: what the page holds and what is not proven is in flight, each object once (common.state.flight). What was consumed
   meanwhile, by a task that was sent before, is left away.
2. *send* the tasks and wait for the queue's confirmation;
3. *record*, in one step, the objects as published, what else the page holds as counted, and the place behind it.

After a crash in between, the page is listed again; it may well hold other things than the first time, because the workers have
not slept. What is in flight already counts no second time, nor does what has been settled since.

Several pages are sent at once, at most PAGES_UNDER_WAY; they are recorded in the order in which they were reserved
(publisher.ledger), each when its tasks are confirmed. A task has a number in its job, for readers of the message: nothing is
counted by it.

Memory of one scan: PAGES_UNDER_WAY pages, those that are compared ahead (publisher.jobs) and those that are listed ahead
(publisher.scan). A page that has come takes some 700 bytes for each object, and one of which everything is published three KiB
(the object, its record, its message, with keys of 100 bytes): some 30 MiB in all, whatever the source holds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.state.jobs import JobLost
from common.steps import OnStep, Step, ignore
from common.task import Form
from publisher.ledger import Ledger, Sent
from publisher.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from common.config import Route
    from common.objects import StoredObject
    from common.state.flight import Entries, Flight, Scan
    from common.state.jobs import Job
    from publisher.outlet import Outlet
    from publisher.position import Gap

PAGES_UNDER_WAY = 4


@dataclass(frozen=True, slots=True)
class Judged:
    """A page that was compared: what is to be published, what is in flight or still awaited though it is consumed, how many are
    proven, and how many are left out, by reason. `entries` are those of `publish`; `there` are the keys of those of which the
    destination lists something that no receipt speaks of.
    """

    publish: Sequence[StoredObject]
    entries: Entries
    done: Gap
    in_flight: Entries = ()
    awaited: Entries = ()
    proven: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    there: Collection[str] = ()


class Publication:
    """Publishes the pages of one scan. One coroutine calls it; leave it through `give_up`, after `finish` or instead of it.

    Every method but `give_up` may raise JobLost (the job is no longer `held`) and SettingsError (the queue is not set up).
    """

    def __init__(
        self,
        route: Route,
        scan: Scan,
        job: Job,
        *,
        flight: Flight,
        outlet: Outlet,
        batch: int,
        lost_before: Callable[[], float],
        not_failed: bool = False,
        clock: Callable[[], float],
        held: Callable[[], bool],
        on_step: OnStep = ignore,
    ) -> None:
        """`job` is the one that is scanned, as it was held. A task made before `lost_before` counts as lost; with
        `not_failed` what failed in the version that is listed is not published again.
        """
        self._route = route
        self._scan = scan
        self._flight = flight
        self._outlet = outlet
        self._batch = batch
        self._lost_before = lost_before
        self._not_failed = not_failed
        self._clock = clock
        self._held = held
        self._on_step = on_step
        self._ledger = Ledger(Position.of(job.checkpoint), self._record, held=held, on_step=on_step)

    async def page(self, page: Judged) -> None:
        """Publish what is to be published of a page. Returns while it is on its way."""
        await self._ledger.room(PAGES_UNDER_WAY)
        entries, confirmation, numbers = page.entries, None, None
        if entries or page.in_flight or page.awaited:
            if not self._held():
                raise JobLost
            reserved = await self._flight.reserve(
                self._scan,
                entries,
                in_flight=page.in_flight,
                awaited=page.awaited,
                lost_before=self._lost_before(),
                not_failed=self._not_failed,
            )
            self._on_step(Step.PAGE_RESERVED)
            publish, entries = page.publish, page.entries
            if reserved.left:
                left = set(reserved.left)
                publish = [item for place, item in enumerate(publish) if place not in left]
                entries = [entry for place, entry in enumerate(entries) if place not in left]
            numbers = reserved.first + len(publish)
            if publish:
                confirmation = self._sending(publish, reserved.first, page.there)
        self._ledger.enter(Sent(confirmation, entries, page.proven, page.left_out, page.done, numbers))

    async def finish(self) -> None:
        """Return when every page is confirmed and recorded."""
        await self._ledger.room(1)

    async def give_up(self) -> None:
        """Stop sending. What is not recorded is scanned again by whoever resumes the job. Nothing to do after `finish`."""
        await self._ledger.close()

    def _sending(self, publish: Sequence[StoredObject], first: int, there: Collection[str]) -> asyncio.Task[None]:
        form = Form(self._route.name, self._scan.job, datetime.fromtimestamp(self._clock(), UTC))
        return asyncio.create_task(self._send(form.filled(publish, first, self._route.destination.url, there)))

    async def _send(self, messages: Sequence[bytes]) -> None:
        for start in range(0, len(messages), self._batch):
            await self._outlet.send(messages[start : start + self._batch])

    async def _record(
        self, entries: Entries, position: Position, numbers: int | None, proven: int, left_out: Counter[str]
    ) -> None:
        await self._flight.record(
            self._scan,
            entries,
            int(self._clock()),
            str(position),
            next_number=numbers,
            proven=proven,
            left_out=left_out,
        )
