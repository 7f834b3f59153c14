"""Signs of life: written after real round trips, and read with their age."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from brigade.__main__ import brigade
from common.errors import QueueUnavailable
from common.heartbeat import Heartbeat, signs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers import Server


async def answers() -> None:
    return


async def silent() -> None:
    raise QueueUnavailable("no answer")


def ask(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(
        brigade, ["health", "--json", *options], env={"BRIGADE_HEARTBEAT_DIR": str(folder)}, standalone_mode=False
    )
    return int(result.return_value), json.loads(result.stdout)


async def kept(heartbeat: Heartbeat, until: Callable[[], bool]) -> None:
    keeping = asyncio.create_task(heartbeat.keep())
    for _ in range(1000):
        if until():
            break
        await asyncio.sleep(0.01)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def test_a_process_whose_services_answer_is_at_work(tmp_path: Path) -> None:
    # Given a process that is answered
    heartbeat = Heartbeat(tmp_path / "h", "worker", [answers])
    await kept(heartbeat, lambda: any(sign.trip_age is not None for sign in signs(tmp_path / "h")))
    # Then it is healthy
    code, said = ask(tmp_path / "h")
    assert (code, said["healthy"], [row["fault"] for row in said["processes"]]) == (0, True, [None])
    # And its file goes with it, and only its owner can read what is there
    assert (tmp_path / "h").stat().st_mode & 0o777 == 0o700
    heartbeat.close()
    assert ask(tmp_path / "h") == (1, {"healthy": False, "processes": []})


@pytest.mark.parametrize(
    ("beat", "trip", "options", "code"),
    [(5, 5, (), 0), (5, 61, (), 1), (5, 61, ("--alive",), 0), (61, 61, ("--alive",), 1), (61, 61, ("--max-age", "90"), 0)],
)
def test_a_sign_counts_while_it_is_young(tmp_path: Path, beat: float, trip: float, options: tuple[str, ...], code: int) -> None:
    now = time.monotonic()
    said = {"pid": os.getpid(), "role": "worker", "beat": now - beat, "trip": now - trip}
    (tmp_path / f"worker-{os.getpid()}.heartbeat").write_text(json.dumps(said))
    assert ask(tmp_path, *options)[0] == code


async def test_a_process_that_nobody_answers_is_alive_and_not_at_work(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path, "worker", [silent])
    await kept(heartbeat, lambda: bool(signs(tmp_path)))
    assert ask(tmp_path)[0] == 1
    assert ask(tmp_path, "--alive")[0] == 0


def test_what_a_killed_process_left_is_nobodys_sign(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (tmp_path / f"worker-{process.pid}.heartbeat").write_text(
        json.dumps({"pid": process.pid, "role": "worker", "beat": time.monotonic(), "trip": time.monotonic()})
    )
    (tmp_path / "worker-1.heartbeat").write_text("not JSON")
    assert ask(tmp_path) == (1, {"healthy": False, "processes": []})


@pytest.mark.slow
def test_a_worker_is_at_work_and_a_frozen_one_is_not(redis_own: Server, tmp_path: Path) -> None:
    # Given a worker process and its Redis
    config = tmp_path / "brigade.toml"
    config.write_text('[[route]]\nname = "r"\nsource = "file:///tmp"\ndestination = "memory://m"\n', encoding="utf-8")
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "BRIGADE_CONFIG": str(config),
        "BRIGADE_QUEUE": "redis",
        "BRIGADE_HEARTBEAT_DIR": str(tmp_path / "h"),
        "REDIS_ADDRESS": redis_own.address,
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "brigade", "work", "--processes", "1"], env=environ, stderr=subprocess.DEVNULL
    )
    try:
        # Then it says so itself, once it has been answered
        give_up = time.monotonic() + 60
        while ask(tmp_path / "h")[0] != 0:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        # When it is frozen
        worker.send_signal(signal.SIGSTOP)
        while ask(tmp_path / "h", "--max-age", "1", "--alive")[0] == 0:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        worker.send_signal(signal.SIGCONT)
    finally:
        worker.send_signal(signal.SIGCONT)
        worker.terminate()
        worker.wait(60)
    # And when it has ended it leaves nothing behind
    assert list((tmp_path / "h").iterdir()) == []
