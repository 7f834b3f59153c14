"""From Drive to a directory, as people run it: the tree once, then only what changes, with a worker killed on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.line import Line
from tests.fakes.drive import DriveServer
from tests.unit.storage.drive import DOCX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 100.0
MIB = 1024 * 1024

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def server() -> Iterator[DriveServer]:
    with DriveServer() as running:
        yield running


def tree(directory: Path) -> dict[str, bytes]:
    """What has arrived; what is still on its way has another name."""
    files = [path for path in directory.rglob("*") if path.is_file() and ".brigade" not in path.as_posix()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


async def until_there(directory: Path, expected: dict[str, bytes], line: Line) -> None:
    give_up = time.monotonic() + SECONDS
    while tree(directory) != expected:
        assert time.monotonic() < give_up, f"{sorted(tree(directory))} instead of {sorted(expected)}\n{line.logs()}"
        await asyncio.sleep(0.3)


async def test_a_tree_arrives_and_then_what_changes_in_it(
    server: DriveServer, redis_address: str, fresh: str, tmp_path: Path
) -> None:
    # Given a tree on Drive with files of all kinds, and a large one
    destination = tmp_path / "copy"
    destination.mkdir()
    place = server.folder("Photos")
    album = server.folder("2026", parent=server.folder("album", parent=place))
    expected = {f"album/2026/{number}.jpg": os.urandom(2000 + number) for number in range(30)}
    ids = {name: server.put(name.rpartition("/")[2], data, parent=album) for name, data in expected.items()}
    expected["large"] = os.urandom(5 * MIB + 17)
    server.put("large", expected["large"], parent=place)
    expected["empty"] = b""
    server.put("empty", b"", parent=place)
    server.document("letter", {DOCX: b"first"}, parent=place)
    expected["letter.docx"] = b"first"
    line = Line(fresh, redis_address, tmp_path)
    line.settings(
        "gdrive://root/Photos",
        f"file://{destination}",
        {"GDRIVE_ENDPOINT": server.url, "BRIGADE_SWEEP_SECONDS": "1", "BRIGADE_PART_BYTES": str(MIB)},
    )
    with (tmp_path / "brigade.toml").open("a") as file:
        file.write('[route.source_options]\nnatives = "export"\n')

    # When a publisher sweeps it, and a worker is killed in the middle of the large file
    with line.running("publish"):
        killed = line.start("work", BRIGADE_KILL_AT="worker.part_written:2")
        assert killed.wait(SECONDS) == -signal.SIGKILL

        # Then another brings everything there
        with line.running("work"):
            await until_there(destination, expected, line)
            assert line.logged("scan_full") == 1

            # And when a file changes, one is made and a folder is renamed, then these arrive, and the rest is left alone
            changed = "album/2026/7.jpg"
            server.seed.change(server.store.get(ids[changed]), {"data": b"changed"})
            expected[changed] = b"changed"
            server.put("new", b"new", parent=place)
            expected["new"] = b"new"
            await until_there(destination, expected, line)
            server.seed.change(server.store.get(album), {"name": "2027"})
            expected |= {name.replace("2026", "2027"): data for name, data in expected.items() if "2026" in name}
            await until_there(destination, expected, line)
    assert line.logged("scan_full") == 1
    assert line.logged("scan_changes") > 2
    assert (await line.left())[1] == 0
