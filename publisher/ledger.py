"""The one who writes a job's checkpoint: pages that the queue has confirmed, in the order in which they were sent.

A write holds all pages in front that are confirmed. So there is one write at a time, as the script behind it wants it, and while
it is under way the next one collects.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cancelling import cancel
from common.state.jobs import JobLost
from common.steps import OnStep, Step, ignore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from common.state.flight import Entries
    from publisher.position import Gap, Position

    Write = Callable[[Entries, Position, int | None, int, Counter[str]], Awaitable[None]]
    """What was published, the position, the number that follows those of the tasks, how many were proven, and how many left
    out, by reason."""

AT_ONCE = 1000
"""Objects recorded by one write, so that others wait a few milliseconds for Redis and no longer; a page may hold more."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A page on its way: `confirmation` ends when the queue has confirmed all of it. It covers `done` of the listing, and
    holds so many that are `proven` and `left_out`, by reason, beside its `entries`.
    """

    confirmation: asyncio.Task[None] | None
    entries: Entries
    proven: int
    left_out: Counter[str]
    done: Gap
    numbers: int | None = None
    """That of the task behind it, if anything of it was reserved."""

    @property
    def confirmed(self) -> bool:
        """Or will never be."""
        return self.confirmation is None or self.confirmation.done()

    @property
    def failed(self) -> bool:
        return (
            self.confirmation is not None
            and self.confirmation.done()
            and (self.confirmation.cancelled() or self.confirmation.exception() is not None)
        )


class Ledger:
    """Used by one coroutine. What it raises is what a write or a confirmation has raised, or JobLost (no longer `held`): then
    nothing more is written. Leave it through `close`.
    """

    def __init__(self, position: Position, write: Write, *, held: Callable[[], bool], on_step: OnStep = ignore) -> None:
        self._position = position
        self._write = write
        self._held = held
        self._on_step = on_step
        self._pages: deque[Sent] = deque()
        self._due = asyncio.Event()
        self._moved = asyncio.Event()
        self._writing = asyncio.create_task(self._run())

    def enter(self, page: Sent) -> None:
        """To be recorded when it is confirmed, and those before it are recorded."""
        self._pages.append(page)
        if page.confirmation is not None:
            page.confirmation.add_done_callback(lambda _: self._due.set())
        self._due.set()

    async def room(self, most: int) -> None:
        """Return when fewer than `most` pages are not recorded."""
        await self._until(lambda: len(self._pages) < most)

    async def close(self) -> None:
        """Stop; what is not recorded will not be. May be called twice."""
        confirmations = [page.confirmation for page in self._pages if page.confirmation is not None]
        self._pages.clear()
        await cancel(self._writing, *confirmations)

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self._writing.done():
                self._writing.result()
            self._moved.clear()
            await self._moved.wait()

    async def _run(self) -> None:
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                while self._pages and self._pages[0].confirmed:
                    await self._write_what_is_due()
                    self._moved.set()
        finally:
            self._moved.set()  # whoever waits learns why

    async def _write_what_is_due(self) -> None:
        pages = self._confirmed()
        position, left_out = self._position, Counter[str]()
        for page in pages:
            if page.confirmation is not None:
                page.confirmation.result()
                self._on_step(Step.BATCH_QUEUED)
            position = position.beyond(page.done)
            left_out.update(page.left_out)
        if not self._held():
            raise JobLost
        entries = [entry for page in pages for entry in page.entries]
        numbers = next((page.numbers for page in reversed(pages) if page.numbers is not None), None)
        await self._write(entries, position, numbers, sum(page.proven for page in pages), left_out)
        self._position = position
        for _ in pages:
            self._pages.popleft()
            self._on_step(Step.BATCH_RECORDED)

    def _confirmed(self) -> list[Sent]:
        """The pages in front that are confirmed, as many as fit one write."""
        taken: list[Sent] = []
        size = 0
        for page in self._pages:
            size += len(page.entries)
            if not page.confirmed or (taken and (size > AT_ONCE or page.failed)):
                break
            taken.append(page)
        return taken
