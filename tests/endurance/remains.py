"""What a worker process has used, told when it has ended and before it is reaped: however it ended, nothing is estimated."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Remains:
    """`peak` is the largest resident set in bytes: VmHWM, or that of the process that started it if it was larger then.
    `written` is what was given to write(2) and its kin.
    """

    code: int
    peak: int
    written: int


def await_end(process: subprocess.Popen[bytes], seconds: float) -> Remains:
    """Wait for the end, however it comes. Raises TimeoutExpired after killing the process."""
    give_up = time.monotonic() + seconds
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > give_up:
            process.kill()
            process.wait()
            raise subprocess.TimeoutExpired(process.args, seconds)
        time.sleep(PAUSE)
    written = _written(process.pid)  # the kernel keeps it until the process is reaped; VmHWM it does not
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Remains(process.returncode, used.ru_maxrss * 1024, written)


def _written(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))
