"""Drive as a destination under kill -9: ten workers and one new folder make nothing twice, and a large file is gone on with."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import servers
from tests.e2e.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS, FILES, KILLS = 10, 200, 12
SECONDS = 120.0
MIB = 1024 * 1024
TOP = "root/Amazon Photos Transfer"
FOLDER = "application/vnd.google-apps.folder"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def drive() -> Iterator[str]:
    with servers.drive_server() as server:
        yield server.url


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with _DIRECT.open(urllib.request.Request(url, data=data), timeout=30) as answer:
        return json.load(answer)


async def until(condition: Any, line: Line) -> None:
    give_up = time.monotonic() + SECONDS
    while not await condition():
        assert time.monotonic() < give_up, line.logs()
        await asyncio.sleep(0.3)


def alive(line: Line) -> list[int]:
    """The worker processes that have said that they are at work, and have not been killed."""
    said = "".join(path.read_text() for path in line.directory.glob("work-*.log"))
    named = {int(match[1]) for match in re.finditer(r'"worker": "[^"]*-(\d+)"', said)}
    return [pid for pid in named if Path(f"/proc/{pid}").exists()]


async def test_ten_workers_race_on_a_new_folder_and_are_killed_at_random(
    redis_address: str, fresh: str, tmp_path: Path, drive: str
) -> None:
    # Given 200 photos, and a service that loses answers and refuses now and then
    photos = {f"{number % 7}/photo {number:03}.jpg": os.urandom(2000 + number) for number in range(FILES)}
    for name, data in photos.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "line").mkdir()
    line = Line(fresh, redis_address, tmp_path / "line")
    line.settings(
        f"file://{tmp_path}/photos",
        f"gdrive://{TOP}",
        {
            "GDRIVE_ENDPOINT": drive,
            "GDRIVE_UNITS_PER_MINUTE": "100000000",
            "SYSTEM_MAX_WORKERS": "4",
            "BRIGADE_SWEEP_SECONDS": "2",
            "BRIGADE_REPUBLISH_AFTER": "1",
            "RETRY_ATTEMPTS": "50",
        },
    )
    lost = [
        {"kind": "lose_reply", "operation": "create.multipart", "nth": 3, "times": 20},
        {"kind": "lose_reply", "operation": "files.create", "nth": 2, "times": 3},
        {"kind": "status", "operation": "create.multipart", "times": 10, "reason": "userRateLimitExceeded"},
    ]
    ask(f"{drive}/_faults", lost)

    # When every task is on the queue twice
    async def twice() -> bool:
        return sum(job.published for job in await line.jobs()) >= 2 * FILES

    with line.running("publish"):
        await until(twice, line)

    # And ten workers take them, of which one is killed every now and then, and replaced
    kills, dice = 0, random.Random(fresh)

    async def all_quiet() -> bool:
        nonlocal kills
        if kills < KILLS and (pids := alive(line)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(pids), signal.SIGKILL)
                kills += 1
        return kills == KILLS and (await line.left())[0] == 0

    with line.running("work", "--processes", str(WORKERS)):
        await until(all_quiet, line)

    # Then every photo is there once, with its bytes, in folders that are there once; none was made and thrown away
    below = [each for each in ask(f"{drive}/_files")["files"] if each["path"].startswith(TOP)]
    assert [path for path, times in Counter(each["path"] for each in below).items() if times > 1] == []
    folders = {each["path"] for each in below if each["mimeType"] == FOLDER}
    assert folders == {TOP, *(f"{TOP}/{number}" for number in range(7))}
    found = {each["path"].removeprefix(f"{TOP}/"): each["md5Checksum"] for each in below if each["mimeType"] != FOLDER}
    assert found == {name: hashlib.md5(data).hexdigest() for name, data in photos.items()}
    assert all(each["creates"] == 1 and not each["trashed"] for each in below)
    # And nothing was given up
    assert (await line.left()) == (0, 0)
    # And every kind of trouble was met: a fault does not count as fired where the worker was killed before its answer
    assert all(fault["taken"] for fault in ask(f"{drive}/_faults")["faults"])


async def test_a_large_file_is_gone_on_with_where_a_dead_worker_stopped(
    redis_address: str, fresh: str, tmp_path: Path, drive: str
) -> None:
    # Given a film of 10 parts, and a worker that dies when it has sent the fourth
    film = random.Random(5).randbytes(10 * MIB)
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "fire.mp4").write_bytes(film)
    (tmp_path / "line").mkdir()
    line = Line(fresh, redis_address, tmp_path / "line")
    places = f"file://{tmp_path}/films", f"gdrive://{TOP}"
    line.settings(*places, {"GDRIVE_ENDPOINT": drive, "BRIGADE_PART_BYTES": str(MIB)})

    async def done() -> bool:
        return any(job.state == "done" for job in await line.jobs())

    # When another goes on
    with line.running("publish"):
        killed = line.start("work", BRIGADE_KILL_AT="worker.part_written:4")
        assert await asyncio.to_thread(killed.wait, SECONDS) == -signal.SIGKILL
        sent_before = ask(f"{drive}/_stats")["requests"]["resumable.chunk"]
        with line.running("work"):
            await until(done, line)

    # Then the file is whole and is there once; of what had arrived at most the part was sent again that nobody had noted
    (found,) = [each for each in ask(f"{drive}/_files")["files"] if each["name"] == "fire.mp4"]
    assert (found["md5Checksum"], found["creates"]) == (hashlib.md5(film).hexdigest(), 1)
    stats = ask(f"{drive}/_stats")
    assert sent_before == 4
    assert stats["requests"]["resumable.chunk"] == 10
    assert stats["requests"]["create.resumable.begin"] == 1
    assert stats["uploaded"] == {"me@example.com": len(film)}
    # And what the dead one had sent was proven by reading it back
    assert stats["requests"]["files.get.media"] == 1
    assert line.logged("upload_resumed") == 1
