"""The whole pipeline in one process: publisher and worker of a sync as they are, around a real Redis, with a display that only
remembers. A process is "killed" by a step that never returns to its caller: nothing of what would follow happens.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from brigade import sync_run
from brigade.embedded import Pair
from brigade.sync_run import Plan
from common.queues.registry import open_errors, open_queue
from common.state.cache import Cache
from common.state.flight import Flight
from common.state.jobs import Jobs
from common.state.store import Store
from worker import runner as worker

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from pathlib import Path

    from common.config import Settings
    from common.state.jobs import Job
    from common.steps import Step

KILLED = 137
"""The exit code of a run whose publisher was killed."""


class KilledError(BaseException):
    """The process ends here."""


@dataclass
class Steps:
    """Kills at random steps while `armed`."""

    dice: random.Random
    armed: bool = False
    rate: float = 0.02
    kills: int = 0

    def __call__(self, _: Step) -> None:
        if self.armed and self.dice.random() < self.rate:
            self.kills += 1
            raise KilledError


@dataclass
class Said:
    """A display that remembers."""

    notes: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    summary_said: dict[str, Any] = field(default_factory=dict)

    def show(self, snapshot: object) -> None:
        """Progress is of no interest here."""

    def note(self, text: str) -> None:
        self.notes.append(text)

    def failure(self, described: dict[str, Any], line: str) -> None:
        del line
        self.failures.append(described)

    def summary(self, described: dict[str, Any], lines: list[str]) -> None:
        del lines
        self.summary_said = described


@dataclass
class Outcome:
    """What a run ended with. `job` is that of the run; None where it was killed before it had one."""

    code: int
    said: Said
    job: Job | None


@dataclass
class Pipeline:
    """One route with a Redis prefix of its own."""

    settings: Settings
    directory: Path
    publisher_steps: Steps
    worker_steps: Steps
    environ: Mapping[str, str] = field(default_factory=dict)

    async def sync(self) -> Outcome:
        """What `brigade sync` does between the start of its Redis and its end."""
        said = Said()
        async with AsyncExitStack() as stack:
            store = await Store.open(self.settings.redis)
            stack.push_async_callback(store.close)
            errors, tasks = await open_errors(self.settings), await open_queue(self.settings)
            stack.push_async_callback(errors.close)
            stack.push_async_callback(tasks.close)
            jobs = Jobs(store)
            await sync_run._try_failed_again(errors, Cache(store), Flight(store), said)
            working = asyncio.create_task(worker.work(self.settings, self.worker_steps))
            running = sync_run._Sync(self.settings, jobs, tasks, said, self._plan())
            running._on_step = self.publisher_steps
            try:
                await running.run()
                code = await sync_run._conclude(running, errors, said, self._plan())
            except KilledError:
                code = KILLED
            finally:
                working.cancel()
                with suppress(asyncio.CancelledError):
                    await working
            return Outcome(code, said, running._job)

    def _plan(self) -> Plan:
        route = self.settings.routes[0]
        return Plan(directory=self.directory, pair=Pair(route.source, route.destination), environ=self.environ)
