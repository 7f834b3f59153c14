"""The one who writes a job's checkpoint: numbers that are reserved, and pages that are confirmed, in the order of their numbers.

A write holds everything that is due: the numbers that the next pages wait for, and all pages in front that the queue has
confirmed. So there is one write at a time, as the script behind it wants it, and while it is under way the next one
collects.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cancelling import cancel
from common.steps import OnStep, Step, ignore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from common.state.jobs import Checkpoint
    from publisher.position import Gap, Position

    Entries = Sequence[tuple[str, str]]
    Write = Callable[[Entries, Checkpoint, int], Awaitable[None]]
    """(key, etag) of what was published, the checkpoint, and how many objects were listed."""

AT_ONCE = 1000
"""Objects recorded by one write, so that others wait a few milliseconds for Redis and no longer; a page may hold more."""


class JobLost(Exception):  # noqa: N818 - named after the situation, as the errors of the project are
    """The job is not ours any more: its checkpoint must not be moved by us."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A page on its way: `confirmation` ends when the queue has confirmed all of it. It covers `done` of the listing, and its
    tasks have the last numbers below `numbers`.
    """

    confirmation: asyncio.Task[None] | None
    entries: Entries
    listed: int
    done: Gap
    numbers: int

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

    def __init__(
        self, position: Position, numbers: int, write: Write, *, held: Callable[[], bool], on_step: OnStep = ignore
    ) -> None:
        self._position = position
        self._write = write
        self._held = held
        self._on_step = on_step
        self._wanted = self._reserved = numbers
        self._pages: deque[Sent] = deque()
        self._due = asyncio.Event()
        self._moved = asyncio.Event()
        self._writing = asyncio.create_task(self._run())

    async def reserve(self, count: int) -> int:
        """The first of so many numbers, once the job knows that they are taken."""
        first = self._wanted
        self._wanted += count
        self._due.set()
        await self._until(lambda: self._reserved >= first + count)
        return first

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
                while self._reserved < self._wanted or (self._pages and self._pages[0].confirmed):
                    await self._write_what_is_due()
                    self._moved.set()
        finally:
            self._moved.set()  # whoever waits learns why

    async def _write_what_is_due(self) -> None:
        pages = self._confirmed()
        position, wanted = self._position, self._wanted
        for page in pages:
            if page.confirmation is not None:
                page.confirmation.result()
                self._on_step(Step.BATCH_QUEUED)
            position = position.beyond(page.done, page.numbers)
        if not self._held():
            raise JobLost
        entries = [entry for page in pages for entry in page.entries]
        await self._write(entries, position.checkpoint(wanted), sum(page.listed for page in pages))
        self._position, self._reserved = position, wanted
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
