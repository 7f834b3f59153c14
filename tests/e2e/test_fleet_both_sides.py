"""A fleet, as its processes run: what somebody deletes or alters at the destination comes back; a route may lead elsewhere."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
PATIENCE = 60
OFTEN = {"BRIGADE_SWEEP_SECONDS": "1", "BRIGADE_RECONCILE_SECONDS": "1"}
DATA = {f"f{number}": b"%d" % number * 100 for number in range(8)}


@pytest.fixture
def line(redis_address: str, fresh: str, tmp_path: Path) -> Line:
    source = tmp_path / "source"
    for directory in (source, tmp_path / "copy", tmp_path / "another"):
        directory.mkdir()
    for name, data in DATA.items():
        (source / name).write_bytes(data)
    made = Line(fresh, redis_address, tmp_path)
    made.settings(f"file://{source}", f"file://{tmp_path}/copy", OFTEN)
    return made


@contextmanager
def at_work(line: Line) -> Iterator[None]:
    with line.running("publish"), line.running("work"):
        yield


def held(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


async def until_held(directory: Path, line: Line) -> None:
    give_up = time.monotonic() + PATIENCE
    while held(directory) != DATA:
        assert time.monotonic() < give_up, line.logs()
        await asyncio.sleep(0.1)


async def test_what_was_deleted_or_altered_comes_back(line: Line) -> None:
    copy = line.directory / "copy"
    with at_work(line):
        # Given a copy
        await until_held(copy, line)
        # When somebody deletes a file of it and overwrites another, then a sweep sees that, and mends it
        (copy / "f3").unlink()
        (copy / "f5").write_bytes(b"x" * len(DATA["f5"]))
        await until_held(copy, line)
    assert all(job.unbalanced == 0 for job in await line.jobs())
    assert sum(job.distrusted for job in await line.jobs()) >= 2


async def test_a_route_that_leads_elsewhere_begins_afresh(line: Line) -> None:
    # Given a copy
    with at_work(line):
        await until_held(line.directory / "copy", line)
    # When the route gets another destination under its name, then everything arrives there
    line.settings(f"file://{line.directory}/source", f"file://{line.directory}/another", {"BRIGADE_RECONCILE_SECONDS": "0"})
    with at_work(line):
        await until_held(line.directory / "another", line)
    assert line.logged("route_changed") == 1
    assert held(line.directory / "copy") == DATA
