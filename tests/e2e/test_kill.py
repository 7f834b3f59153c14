"""kill -9 at every named step of publisher and worker: afterwards exactly the right objects, no task lost, error topic empty.

All lines run at the same time, each with names of its own on shared servers: most of a line's time is waiting for the leases
of the dead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from common.steps import Step
from tests.conftest import make_gcs_bucket
from tests.e2e.line import Line, gcs_objects, gcs_put, gcs_writes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
SMALL = 30
PATIENCE = 100.0
"""Seconds for one line; a dead publisher's leadership alone takes half a minute to run out."""

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.timeout(300)]


class Death:
    """One line in which one process is killed at one step, and another takes over."""

    def __init__(self, step: Step, line: Line, gcs: str) -> None:
        self.step = step
        self.line = line
        self.gcs = gcs
        self.source = make_gcs_bucket(gcs, f"{line.name}-source")
        self.destination = make_gcs_bucket(gcs, f"{line.name}-destination")
        self.exit_code = 0
        self.left = (-1, -1)

    def run(self) -> None:
        for number in range(SMALL):
            gcs_put(self.gcs, self.source, f"in/small {number}+%/ü", os.urandom(4096 + number))
        gcs_put(self.gcs, self.source, "in/empty", b"")
        gcs_put(self.gcs, self.source, "in/large", os.urandom(10 * MIB + 5))
        places = f"gs://{self.source}/in", f"gs://{self.destination}/out"
        self.line.settings(*places, {"STORAGE_EMULATOR_HOST": self.gcs, "BRIGADE_PART_BYTES": str(4 * MIB)})
        house = self.step.split(".")[0]
        doomed, other = ("publish", "work") if house == "publisher" else ("work", "publish")
        with self.line.running(other):
            killed = self.line.start(doomed, BRIGADE_KILL_AT=self.step)
            try:
                self.exit_code = killed.wait(PATIENCE)
            finally:
                killed.kill()
            with self.line.running(doomed):
                asyncio.run(self._wait())

    async def _wait(self) -> None:
        """Until a job has ended and the queue is empty."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            self.left = await self.line.left()
            if self.left[0] == 0 and any(job.state == "done" for job in await self.line.jobs()):
                return
            await asyncio.sleep(0.5)
        raise AssertionError(f"{self.step}: after {PATIENCE} s {self.left[0]} messages are left\n{self.line.logs()}")


@pytest.fixture(scope="module")
def deaths(
    redis_address: str, gcs_endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Step, tuple[Death, Future[None]]]]:
    """Every line, started; each test waits for its own."""
    with ThreadPoolExecutor(len(Step)) as pool:
        started = {}
        for step in Step:
            directory: Path = tmp_path_factory.mktemp("line")
            name = f"kill-{step.replace('.', '-').replace('_', '-')}"
            death = Death(step, Line(name, redis_address, directory), gcs_endpoint)
            started[step] = (death, pool.submit(death.run))
        yield started


@pytest.mark.parametrize("step", list(Step))
def test_a_death_at_any_step_loses_nothing(step: Step, deaths: dict[Step, tuple[Death, Future[None]]]) -> None:
    # Given a process that dies at this step, and one that takes over
    death, run = deaths[step]
    # When all is quiet again
    run.result()
    # Then it really died there
    assert death.exit_code == -signal.SIGKILL
    # And the destination holds exactly the source's objects, each written once
    source = gcs_objects(death.gcs, death.source)
    assert len(source) == SMALL + 2
    expected = {f"out/{name.removeprefix('in/')}": content for name, content in source.items()}
    assert gcs_objects(death.gcs, death.destination) == expected
    assert set(gcs_writes(death.gcs, death.destination).values()) == {1}
    # And an upload that the dead had begun was gone on with
    assert death.line.logged("upload_resumed") == 1 or step not in (Step.UPLOAD_BEGUN, Step.PART_WRITTEN)
    # And nothing is left on the queue, nor on the error topic
    assert death.left == (0, 0)
