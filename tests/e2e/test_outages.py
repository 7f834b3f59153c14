"""Services that go away or misbehave in mid-run: everything waits, says so, loses nothing and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import make_gcs_bucket
from tests.e2e.line import Line, gcs_objects, gcs_put, gcs_writes
from tests.e2e.test_workers import one_job_done, until

if TYPE_CHECKING:
    from tests.servers import Server

MIB = 1024 * 1024
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def plan_faults(endpoint: str, *faults: dict[str, Any]) -> None:
    request = urllib.request.Request(f"{endpoint}/_faults", data=json.dumps(faults).encode(), method="POST")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        answer.read()


def fired(endpoint: str, bucket: str) -> int:
    """How often the faults that were planned for this bucket's objects did their work."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{endpoint}/_faults", timeout=10) as answer:
        return sum(fault["fired"] for fault in json.load(answer)["faults"] if fault["key"].startswith(bucket))


async def test_a_destination_with_every_kind_of_trouble(
    redis_address: str, gcs_endpoint: str, fresh: str, tmp_path: Path
) -> None:
    # Given small and large objects, and a destination that refuses, resets, stalls, forgets, and answers into the void
    line = Line(fresh, redis_address, tmp_path)
    source, destination = (make_gcs_bucket(gcs_endpoint, f"{fresh}-{end}") for end in "ab")
    for number in range(60):
        gcs_put(gcs_endpoint, source, f"{number:03}", os.urandom(5000))
    for number in range(3):
        gcs_put(gcs_endpoint, source, f"large-{number}", os.urandom(9 * MIB))
    for operation in ("insert.multipart", "insert.resumable.begin", "insert.resumable.chunk"):
        plan_faults(
            gcs_endpoint,
            *(
                {"kind": kind, "operation": operation, "key": f"{fresh}-out/", "nth": nth, "times": 2, **more}
                for nth, (kind, more) in enumerate(
                    [
                        ("status", {"status": 503}),
                        ("status", {"status": 429, "retry_after": 1}),
                        ("reset", {}),
                        ("reset", {"after_bytes": 2000}),
                        ("stall", {"seconds": 1}),
                        ("lose_reply", {}),
                        ("status", {"status": 500, "after_bytes": 1000}),
                    ],
                    start=1,
                )
            ),
        )
    plan_faults(
        gcs_endpoint,
        {"kind": "commit_less", "operation": "insert.resumable.chunk", "key": f"{fresh}-out/large-1", "keep_bytes": 262144},
        {"kind": "lose_session", "operation": "insert.resumable.chunk", "key": f"{fresh}-out/large-2", "nth": 2},
    )
    line.settings(
        f"gs://{source}", f"gs://{destination}/{fresh}-out", {"STORAGE_EMULATOR_HOST": gcs_endpoint, "BRIGADE_PART_BYTES": "4MiB"}
    )
    # When
    with line.running("work"), line.running("publish"):
        await until(lambda: one_job_done(line), line, 150)
    # Then the trouble was met, everything is there, and was written once
    assert fired(gcs_endpoint, fresh) >= 20
    expected = {f"{fresh}-out/{name}": content for name, content in gcs_objects(gcs_endpoint, source).items()}
    assert gcs_objects(gcs_endpoint, destination) == expected
    assert set(gcs_writes(gcs_endpoint, destination).values()) == {1}
    assert await line.left() == (0, 0)


async def test_a_source_that_corrupts_and_truncates(redis_address: str, gcs_endpoint: str, fresh: str, tmp_path: Path) -> None:
    # Given a source whose downloads are wrong at first, under true checksums and lengths
    line = Line(fresh, redis_address, tmp_path)
    source, destination = (make_gcs_bucket(gcs_endpoint, f"{fresh}-{end}") for end in "ab")
    for number in range(30):
        gcs_put(gcs_endpoint, source, f"{fresh}/{number:03}", os.urandom(5000))
    plan_faults(
        gcs_endpoint,
        {"kind": "corrupt", "operation": "get.media", "key": f"{fresh}/", "times": 10},
        {"kind": "truncate", "operation": "get.media", "key": f"{fresh}/", "times": 10},
        {"kind": "truncate", "operation": "get.media", "key": f"{fresh}/", "framing": "close", "times": 10},
    )
    line.settings(f"gs://{source}", f"gs://{destination}", {"STORAGE_EMULATOR_HOST": gcs_endpoint})
    # When
    with line.running("work"), line.running("publish"):
        await until(lambda: one_job_done(line), line, 100)
    # Then no wrong byte became an object
    assert fired(gcs_endpoint, fresh) == 30
    assert gcs_objects(gcs_endpoint, destination) == gcs_objects(gcs_endpoint, source)
    assert set(gcs_writes(gcs_endpoint, destination).values()) == {1}


async def test_redis_dies_in_mid_run_and_comes_back(redis_own: Server, gcs_endpoint: str, fresh: str, tmp_path: Path) -> None:
    # Given a line in the middle of its work
    line = Line(fresh, redis_own.address, tmp_path)
    source, destination = (make_gcs_bucket(gcs_endpoint, f"{fresh}-{end}") for end in "ab")
    for number in range(1500):
        gcs_put(gcs_endpoint, source, f"{number:05}", os.urandom(2000))
    line.settings(f"gs://{source}", f"gs://{destination}", {"STORAGE_EMULATOR_HOST": gcs_endpoint, "SYSTEM_MAX_WORKERS": "8"})

    async def some_arrived() -> bool:
        return len(gcs_writes(gcs_endpoint, destination)) > 50

    async def both_say(action: str) -> bool:
        return line.logged(action) >= 2

    with line.running("work"), line.running("publish"):
        await until(some_arrived, line)
        # When Redis, queue and state in one, is killed and starts again
        redis_own.kill()
        # Then both processes say what they are waiting for
        await until(lambda: both_say("redis_away"), line)
        arrived = len(gcs_writes(gcs_endpoint, destination))
        assert arrived < 1500, "the worker was too fast for this test: give it more objects"
        redis_own.start()
        # And the work goes on to its end
        await until(lambda: one_job_done(line), line, 120)
        assert gcs_objects(gcs_endpoint, destination) == gcs_objects(gcs_endpoint, source)
        assert set(gcs_writes(gcs_endpoint, destination).values()) == {1}
        assert await line.left() == (0, 0)
        await until(lambda: both_say("redis_back"), line)


async def test_nothing_is_lost_when_the_queue_loses_everything(
    redis_address: str, gcs_endpoint: str, fresh: str, tmp_path: Path
) -> None:
    # Given tasks that were published and recorded, and a queue that then lost them
    line = Line(fresh, redis_address, tmp_path)
    source, destination = (make_gcs_bucket(gcs_endpoint, f"{fresh}-{end}") for end in "ab")
    for number in range(50):
        gcs_put(gcs_endpoint, source, f"{number:03}", os.urandom(2000))
    line.settings(
        f"gs://{source}",
        f"gs://{destination}",
        {"STORAGE_EMULATOR_HOST": gcs_endpoint, "BRIGADE_SWEEP_SECONDS": "2", "BRIGADE_REPUBLISH_AFTER": "4"},
    )

    async def published() -> bool:
        return (await line.left())[0] == 50

    async def all_arrived() -> bool:
        return len(gcs_writes(gcs_endpoint, destination)) == 50

    with line.running("publish"):
        await until(published, line)
        await line.lose_queue()
        # When a worker comes
        with line.running("work"):
            # Then `published` has aged and the tasks come again
            await until(all_arrived, line)
    assert gcs_objects(gcs_endpoint, destination) == gcs_objects(gcs_endpoint, source)


@pytest.mark.parametrize("queue", ["redis", "pubsub"])
def test_the_demo_holds(queue: str, request: pytest.FixtureRequest) -> None:
    """What `make demo` runs; it checks itself, and this checks that it leaves nothing behind."""
    if queue == "pubsub":
        request.getfixturevalue("pubsub_host")  # skips where there is no emulator
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo", "--queue", queue],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("✓") >= 9
    assert "All of it held" in done.stdout
    assert time.monotonic() - started < 150
