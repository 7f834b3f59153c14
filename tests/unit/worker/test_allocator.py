from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
from worker.allocator import keep_buffers
if {keep}:
    keep_buffers(64 << 20)
for _ in range(50):
    buffers = [bytearray(1 << 20) for _ in range(16)]
    del buffers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(*, keep: bool) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, check=True, text=True)
    return int(done.stdout)


def test_memory_that_was_touched_is_not_touched_for_the_first_time_again() -> None:
    # 50 times 16 MiB in buffers of 256 pages; kept, they are the same pages each time
    assert faults(keep=True) < faults(keep=False) / 3
