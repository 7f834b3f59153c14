"""When each route is scanned: at start, every `sweep_seconds`, and when someone asks; by one publisher of many.

Asking opens a job, and an open job whose scan has not ended is what the leader looks for; so it does not matter which publisher
was asked, or which one had begun. A route is scanned once at a time, up to ROUTES_AT_ONCE of them side by side.

Times are steps of a grid that begins with the process. A sweep that outlasts its interval skips the steps it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.background import Background
from common.cancelling import cancel
from common.errors import BrigadeError, ObjectError
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.config import Route
    from common.state.jobs import Job, JobKind, Jobs
    from common.state.reconciliations import Reconciliations
    from publisher.jobs import Scanner
    from publisher.leadership import Leadership
    from publisher.moved import Moved

log = get_logger(__name__)

ROUTES_AT_ONCE = 4
POLL_SECONDS = 2.0
"""How soon the leader sees a job that another publisher was asked for."""
FINISH_SECONDS = 10.0
"""How long scans may take to finish their pages when the process is to stop."""
GIVE_UP_SECONDS = 2.0
LONGEST_PAUSE = 5.0
"""Before leadership or schedule are begun again after a fault: a third of the time that the lead is held."""


@dataclass(slots=True)
class _Turn:
    """Where one route stands. `due` is on the scheduler's clock; `resting` until then, because the last try got stuck."""

    route: Route
    due: float
    running: asyncio.Task[None] | None = None
    resting: bool = False
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def idle(self) -> bool:
        return self.running is None or self.running.done()


class Scheduler:
    """`run` scans until told to stop; `request` may be called meanwhile, on the same event loop."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        jobs: Jobs,
        scanner: Scanner,
        leadership: Leadership,
        sweep_seconds: float,
        reconciliations: Reconciliations | None = None,
        moved: Moved | None = None,
        poll_seconds: float = POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._scanner = scanner
        self._leadership = leadership
        self._reconciliations = reconciliations
        self._moved = moved
        self._interval = sweep_seconds
        self._poll = poll_seconds
        self._clock = clock
        self._now = now
        self._began = clock()
        self._turns = {route.name: _Turn(route, self._began) for route in routes}
        self._room = asyncio.Semaphore(ROUTES_AT_ONCE)
        self._wake = asyncio.Event()
        self._stopping = False

    async def request(self, routes: Sequence[str], *, reconcile: bool = False) -> list[Job]:
        """One scanning job for each of these routes: the open one, scanned again where it is not under way, or a new one.
        With `reconcile` it lists the destination, too; where a scan is under way, the next one does. Does not wait for the scan.
        """
        jobs = []
        for name in routes:
            turn = self._turns[name]
            if reconcile and self._reconciliations is not None:
                await self._reconciliations.want(name)
            jobs.append(await self._open(turn, "demand"))
            turn.resting = False
        self._wake.set()
        return jobs

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: then no further page is begun, pages under way are finished, and the lead is given up."""
        leading, scanning = Background(), Background()
        leading.keep("leadership", lambda: self._leadership.keep(self._wake.set), longest_pause=LONGEST_PAUSE)
        scanning.keep("schedule", self._loop, longest_pause=LONGEST_PAUSE)
        try:
            await stop.wait()
        finally:
            self._stopping = True
            await scanning.close()
            await self._finish()
            await leading.close()
            with contextlib.suppress(TimeoutError):  # Redis is away: the lock runs out by itself
                async with asyncio.timeout(GIVE_UP_SECONDS):
                    await self._leadership.give_up()

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            if self._leadership.held():
                await self._start_due()
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._poll):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _start_due(self) -> None:
        for turn in self._turns.values():
            if turn.idle and await self._is_wanted(turn):
                self._skip_missed(turn)
                turn.resting = False
                turn.running = asyncio.create_task(self._sweep(turn), name=f"scan {turn.route.name}")

    async def _is_wanted(self, turn: _Turn) -> bool:
        if turn.due <= self._clock():
            return True
        return not turn.resting and await self._jobs.resumable(turn.route.name) is not None

    def _next_step(self) -> float:
        steps = math.floor((self._clock() - self._began) / self._interval) + 1
        return self._began + steps * self._interval

    async def _open(self, turn: _Turn, kind: JobKind) -> Job:
        async with turn.opening:
            return await self._jobs.open(turn.route.name, kind, self._now())

    async def _sweep(self, turn: _Turn) -> None:
        """One scan. Whatever happens to it stays with this route: the others go on."""
        term = self._leadership.term
        try:
            async with self._room:
                if self._leadership.held(term):
                    await self._attempt(turn, term)
        except ObjectError:
            turn.resting = True  # the scanner has said so
        except BrigadeError as error:
            turn.resting = True
            text = "scan stuck; tried again at the next sweep"
            log.error(text, action="scan_stuck", route=turn.route.name, error=str(error))  # noqa: TRY400 - expected
        except Exception:
            turn.resting = True
            log.exception("scan broke; tried again at the next sweep", action="scan_broke", route=turn.route.name)
        finally:
            self._skip_missed(turn)
            self._wake.set()

    async def _attempt(self, turn: _Turn, term: int) -> None:
        if self._moved is not None:
            await self._moved.look(turn.route)
        job = await self._open(turn, "sweep")
        await self._scanner.run(
            turn.route,
            job,
            term=term,
            wanted=lambda: not self._stopping and self._leadership.held(term),
            held=lambda: self._leadership.held(term),
        )

    def _skip_missed(self, turn: _Turn) -> None:
        if turn.due <= self._clock():
            turn.due = self._next_step()

    async def _finish(self) -> None:
        scans = [turn.running for turn in self._turns.values() if turn.running is not None]
        if not scans:
            return
        await asyncio.wait(scans, timeout=FINISH_SECONDS)
        await cancel(*scans)
