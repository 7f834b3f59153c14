"""The workers of a sync: one child process that is `brigade work`, with its log brought home."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from brigade.embedded import ends_with_parent
from common.background import Background
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brigade.notes import Notes

log = get_logger(__name__)

LONGEST_LINE = 1024 * 1024
_HERE = str(Path(__file__).resolve().parent.parent)


class WorkerChild:
    """`ended` returns when the workers end without having been asked to."""

    def __init__(self, process: asyncio.subprocess.Process, reading: Background) -> None:
        self._process = process
        self._reading = reading

    @classmethod
    async def start(cls, environ: Mapping[str, str], processes: int, file: BinaryIO, notes: Notes) -> WorkerChild:
        """`environ` is all that the child gets, secrets included: a command line can be read by everyone on the machine."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # or a folder called `common` where the user stands would be imported
            "-m",
            "brigade",
            "work",
            "--processes",
            str(processes),
            env={**environ, "PYTHONPATH": os.pathsep.join(filter(None, [_HERE, environ.get("PYTHONPATH", "")]))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop everything in order
            preexec_fn=ends_with_parent(),
        )
        reading = Background()
        reading.begin("the log of the workers", lambda: _bring_home(process.stderr, file, notes))
        return cls(process, reading)

    async def ended(self) -> int:
        return await self._process.wait()

    async def stop(self, patience: float) -> None:
        """SIGTERM: finish or hand back what is under way; SIGKILL after `patience` seconds. May be called twice."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), patience)
            except TimeoutError:
                self.kill()
                await self._process.wait()
        await self._reading.finish()

    def kill(self) -> None:
        """At once, with the worker processes that it has started. What was under way is done again next time."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own


async def _bring_home(stream: asyncio.StreamReader | None, file: BinaryIO, notes: Notes) -> None:
    """Read to the end whatever happens to the file: a worker whose log nobody reads stands still at its next line."""
    full = False
    while stream is not None:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than any line of ours; what follows it is read as usual
        if not line:
            return
        try:
            file.write(line)
            file.flush()
        except OSError as error:
            if not full:
                log.warning("the log of the workers cannot be written, and is lost in part", action="log_lost", error=str(error))
            full = True
        notes.line(line)
