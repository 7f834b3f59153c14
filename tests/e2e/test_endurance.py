"""`make endurance`, small: an object of several parts to every kind of destination, one worker killed, another goes on.

All destinations at the same time: most of a trial is waiting for the lease of the dead. Each is a program of its own, which
counts the memory of its workers from where it has little itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.endurance.destinations import DESTINATIONS
from tests.endurance.trial import MIB, MOST_MEMORY, PART
from tests.servers import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 192 * MIB
PARTS = SIZE // PART
ROOT = Path(__file__).parent.parent.parent
NO_SERVER = 2

pytestmark = [pytest.mark.kill, pytest.mark.slow, pytest.mark.timeout(300)]


def endure(name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.endurance", "--to", name, "--gib", str(SIZE / 1024**3), "--json"]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environ = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def trials() -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """Every destination, started; each test waits for its own."""
    with ThreadPoolExecutor(len(DESTINATIONS)) as pool:
        yield {name: pool.submit(endure, name) for name in DESTINATIONS}


@pytest.mark.parametrize("name", DESTINATIONS)
def test_a_killed_upload_is_gone_on_with_in_flat_memory(
    name: str, trials: dict[str, Future[subprocess.CompletedProcess[str]]]
) -> None:
    # Given an object of many parts, and a worker that dies when it has written half of them
    ended = trials[name].result()
    if ended.returncode == NO_SERVER:
        missing("a server of this trial", ended.stderr.strip())
    # When another has gone on with it
    told = json.loads(ended.stdout)
    # Then nothing is wrong
    assert (ended.returncode, told["failed"], ended.stderr) == (0, [], "")
    (outcome,) = told["outcomes"]
    assert (outcome["equal"], outcome["resumed"], outcome["faults"]) == (True, 1, [])
    assert (outcome["parts"], outcome["parts_before"]) == (PARTS, PARTS // 2)
    # And fewer bytes were sent again than had arrived by then, in less memory than was allowed
    assert outcome["again"] < SIZE // 2
    assert 0 < min(outcome["peaks"]) <= max(outcome["peaks"]) <= MOST_MEMORY
    # And only where nothing else can prove it, the object was read back
    assert (outcome["read_back"] or 0) // MIB == (SIZE // MIB if name == "gdrive" else 0)
