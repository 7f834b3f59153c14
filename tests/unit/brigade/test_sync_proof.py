"""A file of Drive's in parts: what is damaged on the way never becomes a file, and is told when it never comes right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.drive import DriveServer, Fault, Kind
from tests.unit.brigade.test_sync import files, sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024
DATA = os.urandom(16 * MIB)
MEDIA = "files.get.media"
SETTINGS = {
    "BRIGADE_PART_BYTES": "4MiB",
    "BRIGADE_BUFFER_BYTES": "16MiB",
    "RETRY_ATTEMPTS": "3",
    "RETRY_BACKOFF_SEC": "0.05",
}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("redis_program")]


@pytest.fixture
def server() -> Iterator[DriveServer]:
    with DriveServer() as running:
        running.put("film", DATA, parent=running.folder("Films"))
        yield running


def run(server: DriveServer, tmp_path: Path) -> tuple[int, dict[str, Any], Path]:
    destination = tmp_path / "copy"
    destination.mkdir()
    where = "gdrive://root/Films", destination, "--source-endpoint", server.url
    code, events, _ = sync(*where, state=tmp_path / "state", **SETTINGS)
    return code, events[-1], destination


def test_one_damaged_answer_costs_a_second_reading(server: DriveServer, tmp_path: Path) -> None:
    # Given a damaged answer, and others that are refused at first
    damaged = server.faults.add(Fault(Kind.CORRUPT, operation=MEDIA, nth=3))
    server.faults.add(Fault(Kind.STATUS, operation=MEDIA, status=503, nth=1, times=2))

    # When the folder is synced, then the file arrives with the bytes that it has
    code, summary, destination = run(server, tmp_path)
    assert damaged.fired == 1
    assert (code, summary["moved"], summary["failed"], summary["unverified"]) == (0, 1, 0, 0)
    assert (destination / "film").read_bytes() == DATA


def test_damage_each_time_is_a_failure_and_no_file(server: DriveServer, tmp_path: Path) -> None:
    # Given answers that are all damaged
    server.faults.add(Fault(Kind.CORRUPT, operation=MEDIA, times=0))

    # When the folder is synced, then it says so, and there is no file
    code, summary, destination = run(server, tmp_path)
    assert (code, summary["moved"], summary["failed"]) == (1, 0, 1)
    assert summary["categories"] == {"checksum_mismatch": 1}
    assert files(destination) == set()
