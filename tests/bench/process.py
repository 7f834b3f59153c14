"""What a process has used, from /proc; and child processes that cannot outlive the measurement.

A process counts in ticks of 10 ms: short runs are measured over many objects, never over one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TICK = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Usage:
    """`memory_sum` counts a page that two processes share twice."""

    cpu: float
    memory_sum: int
    memory_max: int


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads; 0 for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_memory(pid: int) -> int:
    """The largest resident set so far, in bytes; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def family(pid: int) -> list[int]:
    """The process and everything it has started, itself first."""
    found = [pid]
    for one in found:
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(word) for word in path.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def usage(pids: Sequence[int]) -> Usage:
    memory = [peak_memory(pid) for pid in pids]
    return Usage(sum(cpu_seconds(pid) for pid in pids), sum(memory), max(memory))


def start(command: Sequence[str], environ: Mapping[str, str], folder: Path, log: Path, **pipes: int) -> subprocess.Popen[bytes]:
    """A child in a group of its own, which the kernel ends should this process die."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            env=dict(environ),
            cwd=folder,
            stdin=pipes.get("stdin", subprocess.DEVNULL),
            stdout=pipes.get("stdout", file),
            stderr=file,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call into libc, and no other thread holds a lock of ours
        )


def stop(process: subprocess.Popen[bytes], patience: float = 20.0) -> int:
    """SIGTERM, and SIGKILL to its group when that does not help. The exit code."""
    if process.poll() is None:
        signal_family(process.pid, signal.SIGCONT)
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def signal_family(pid: int, number: signal.Signals) -> None:
    for one in family(pid):
        try:
            os.kill(one, number)
        except ProcessLookupError:
            continue


def wait_for_exit(process: subprocess.Popen[bytes], seconds: float) -> tuple[int, Usage]:
    """(exit code, what it used), from the kernel's own account. Raises TimeoutExpired after killing its group."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            memory = used.ru_maxrss * 1024
            return process.returncode, Usage(used.ru_utime + used.ru_stime, memory, memory)
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    raise subprocess.TimeoutExpired(process.args, seconds)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
