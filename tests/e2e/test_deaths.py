"""An object that kills the process that handles it: it is set aside, and everything else arrives."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from brigade.error_topic import Selection, look
from common.queues.registry import open_errors
from common.settings import load
from tests.e2e.line import Line

if TYPE_CHECKING:
    from pathlib import Path

GOOD, DEATHS = 20, 3
ROOT = __file__.rsplit("/tests/", 1)[0]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def die(line: Line) -> int:
    """Run a worker until it ends, or has nothing more to do; its exit code, None where it lives."""
    with (line.directory / f"work-{time.monotonic_ns()}.log").open("wb") as log:
        path = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.deadly", "work"],
            env={**line.environ, "PYTHONPATH": path},
            cwd=line.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    give_up = time.monotonic() + 60
    while worker.poll() is None and time.monotonic() < give_up and asyncio.run(line.left())[0]:
        time.sleep(0.2)
    worker.terminate()
    return worker.wait(40)


def test_an_object_that_kills_workers_is_set_aside_and_nothing_else(redis_address: str, fresh: str, tmp_path: Path) -> None:
    # Given good objects, and one in the midst of them that kills every process that reads it
    source, destination = tmp_path / "from", tmp_path / "to"
    source.mkdir()
    destination.mkdir()
    for number in range(GOOD):
        (source / f"{'a' if number % 2 else 'z'}{number}").write_bytes(os.urandom(1000))
    (source / "deadly").write_bytes(b"x")
    line = Line(fresh, redis_address, tmp_path)
    line.settings(f"file://{source}", f"file://{destination}", {"BRIGADE_DEATHS": str(DEATHS), "SYSTEM_MAX_WORKERS": "64"})
    with line.running("publish"):
        give_up = time.monotonic() + 60
        while asyncio.run(line.left())[0] < GOOD + 1:
            assert time.monotonic() < give_up, line.logs()
            time.sleep(0.1)

    # When one worker after the other is started, as a cluster does
    codes = []
    while asyncio.run(line.left())[0]:
        codes.append(die(line))
        assert len(codes) <= DEATHS + 2, line.logs()

    # Then so many died, and the next one has set it aside, with what is known
    assert codes == [-9] * DEATHS + [0], line.logs()

    async def failures():
        queue = await open_errors(load(line.environ, None, needs={"queue", "redis"}))
        try:
            return await look(queue, Selection(), 100)
        finally:
            await queue.close()

    reports = [entry.report for entry in asyncio.run(failures())]
    assert [(report.key, report.category) for report in reports if report] == [("deadly", "kills_worker")]
    assert f"{DEATHS} worker processes died" in reports[0].message
    # And everything else has arrived
    assert {path.name for path in destination.iterdir() if path.is_file()} == {path.name for path in source.iterdir()} - {
        "deadly"
    }
    jobs = asyncio.run(line.jobs())
    assert sum(job.failed for job in jobs) == 1
    assert sum(job.in_flight for job in jobs) == 0
