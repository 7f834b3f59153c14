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
THREADED = """
import threading
from pathlib import Path
from worker.allocator import keep_buffers
if {keep}:
    keep_buffers(1 << 30)
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
before, together = peak(), threading.Barrier(8)
def body(turn):
    for number in range(8):
        together.wait()
        if number == turn:
            bytearray(b"x") * (16 << 20)
threads = [threading.Thread(target=body, args=(turn,)) for turn in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print((peak() - before) >> 10)
"""


def faults(*, keep: bool) -> int:
    return said(PROGRAM.format(keep=keep))


def said(program: str) -> int:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    return int(done.stdout)


def test_memory_that_was_touched_is_not_touched_for_the_first_time_again() -> None:
    # 50 times 16 MiB in buffers of 256 pages; kept, they are the same pages each time
    assert faults(keep=True) < faults(keep=False) / 3


def test_what_one_thread_has_freed_serves_the_next() -> None:
    # 16 MiB in each of eight threads, one after the other; with a heap for each, every one of them would be kept
    assert said(THREADED.format(keep=True)) < 2 * 16
