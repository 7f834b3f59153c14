from __future__ import annotations

import subprocess
import sys
import time

LOOKUP_THAT_NOBODY_ANSWERS = """
import asyncio, time
from common import loop

loop.LAST_SECONDS = 0.2

async def work():
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
    return 7

raise SystemExit(loop.run(work()))
"""


def test_a_program_ends_with_its_code_whatever_its_threads_still_wait_for() -> None:
    # Given work that leaves a thread behind which takes a minute
    began = time.monotonic()
    # When the work is done
    ended = subprocess.run([sys.executable, "-c", LOOKUP_THAT_NOBODY_ANSWERS], timeout=50, check=False)
    # Then the program ends long before the thread
    assert ended.returncode == 7
    assert time.monotonic() - began < 40


def test_a_program_that_leaves_nothing_behind_gives_its_code_to_the_caller() -> None:
    # Given work without anything under way
    program = "import sys\nfrom common.loop import run\nasync def work(): return 5\nprint('after', run(work()))"
    # When it is run
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    # Then the program goes on
    assert (ended.stdout, ended.returncode) == ("after 5\n", 0)
