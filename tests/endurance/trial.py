"""One destination: an object larger than any memory, a worker that dies in the middle of it, another that goes on, and a look.

The first worker ends itself with SIGKILL when half of the parts have been written, before the last of them is noted in Redis and
with others on their way: the worst moment there is. The second finds its task when the lease of the dead has run out.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.line import Line
from tests.endurance import source
from tests.endurance.destinations import DESTINATIONS, NAME
from tests.endurance.remains import await_end

if TYPE_CHECKING:
    from pathlib import Path

    from tests.endurance.destinations import Destination, Traffic
    from tests.endurance.remains import Remains

MIB = 1024 * 1024
PART = 16 * MIB
MOST_MEMORY = 256 * MIB
HEADS = 4096
"""Bytes for each part that are not the object's: heads of requests, what is written to logs and to Redis."""


class TrialFailed(Exception):  # noqa: N818 - named after the situation
    """The object did not get as far as to be judged."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one trial showed. `again`: bytes that the destination received beyond the object's own. `read_back`: bytes that it
    sent, None where nobody counts them. `peaks`: memory of the worker that died, and of the one that went on.
    """

    destination: str
    size: int
    parts: int
    parts_before: int
    streams: int
    again: int
    read_back: int | None
    peaks: tuple[int, int]
    seconds_before: float
    seconds_after: float
    resumed: int
    equal: bool

    def faults(self) -> list[str]:
        """What is not as it was promised; empty for a trial that held."""
        most = self.streams * PART + self.parts * HEADS
        found = []
        if not self.equal:
            found.append("the object differs from its source")
        if self.resumed != 1:
            found.append(f"the upload was gone on with {self.resumed} times")
        if not 0 <= self.again <= most:
            found.append(f"{self.again:,} bytes were sent beyond the object's own; at most {most:,} is right")
        if max(self.peaks) > MOST_MEMORY:
            found.append(f"a worker had {max(self.peaks) / MIB:.0f} MiB in memory, more than {MOST_MEMORY // MIB}")
        return found


def run(name: str, size: int, redis: str, folder: Path, patience: float) -> Outcome:
    """Raises TrialFailed, ServerMissing, ServerFailed."""
    (folder / "from").mkdir()
    (folder / "line").mkdir()
    source.make(folder / "from" / NAME, size)
    line = Line(f"endurance-{name}", redis, folder / "line")
    with DESTINATIONS[name](folder) as destination:
        try:
            return _Trial(name, size, line, destination, patience).run(folder / "from")
        except (TrialFailed, AssertionError, LookupError, OSError, subprocess.TimeoutExpired) as error:
            raise TrialFailed(f"{name}: {error}\n{line.logs()}") from error


class _Trial:
    def __init__(self, name: str, size: int, line: Line, destination: Destination, patience: float) -> None:
        self._name = name
        self._size = size
        self._parts = -(-size // PART)
        self._half = self._parts // 2
        self._line = line
        self._destination = destination
        self._patience = patience

    def run(self, directory: Path) -> Outcome:
        line, there = self._line, self._destination
        line.settings(f"file://{directory}", there.url, {**there.environ, "BRIGADE_PART_BYTES": str(PART)})
        with (line.directory / "brigade.toml").open("a", encoding="utf-8") as config:
            config.write(there.options)
        before = there.traffic() if there.traffic else None
        with line.running("publish"):
            began = time.monotonic()
            first = self._dies()
            died = time.monotonic()
            second = self._goes_on()
            ended = time.monotonic()
        received, sent = self._wire(before, first, second)
        return Outcome(
            destination=self._name,
            size=self._size,
            parts=self._parts,
            parts_before=self._half,
            streams=there.streams,
            again=received - self._size,
            read_back=sent,
            peaks=(first.peak, second.peak),
            seconds_before=died - began,
            seconds_after=ended - died,
            resumed=line.logged("upload_resumed"),
            equal=there.look() == source.checksum(directory / NAME),
        )

    def _dies(self) -> Remains:
        worker = self._line.start("work", BRIGADE_KILL_AT=f"worker.part_written:{self._half}")
        remains = await_end(worker, self._patience)
        if remains.code != -signal.SIGKILL:
            raise TrialFailed(f"the first worker ended with {remains.code}")
        return remains

    def _goes_on(self) -> Remains:
        worker = self._line.start("work")
        try:
            asyncio.run(self._done())
        finally:
            os.kill(worker.pid, signal.SIGTERM)  # not its method, which reaps the dead
            remains = await_end(worker, 60)
        if remains.code:
            raise TrialFailed(f"the second worker ended with {remains.code}")
        return remains

    async def _done(self) -> None:
        give_up = time.monotonic() + self._patience
        while not any(job.state == "done" for job in await self._line.jobs()):
            if time.monotonic() > give_up:
                raise TrialFailed(f"not done after {self._patience:.0f} s")
            await asyncio.sleep(0.2)

    def _wire(self, before: Traffic | None, *workers: Remains) -> tuple[int, int | None]:
        """Bytes (received, sent) by the destination."""
        if self._destination.traffic is None or before is None:
            return sum(worker.written for worker in workers), None
        after = self._destination.traffic()
        return after.received - before.received, after.sent - before.sent
