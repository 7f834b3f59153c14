"""The workers of a sync: one child process that is `brigade work`, with its log brought home.

The log goes to a file. A warning or worse is also noted to whoever started the sync, but not more than a few at a time: a
bucket without permission would otherwise say so a hundred thousand times.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from brigade.embedded import ends_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_LINE = 1024 * 1024
NOTES = 5

PERIOD = 10.0
"""At most NOTES notes in so many seconds."""
_HERE = str(Path(__file__).resolve().parent.parent)
SAID_ELSEWHERE = frozenset({"object_failed"})
"""Failures are counted in the progress and listed at the end."""


class WorkerChild:
    """`ended` returns when the workers end without having been asked to."""

    def __init__(self, process: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> None:
        self._process = process
        self._reading = reading

    @classmethod
    async def start(cls, environ: Mapping[str, str], processes: int, log: BinaryIO, note: Callable[[str], None]) -> WorkerChild:
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
        return cls(process, asyncio.create_task(_bring_home(process.stderr, log, Notes(note))))

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
        await self._reading

    def kill(self) -> None:
        """At once. What was under way is done again next time."""
        if self._process.returncode is None:
            self._process.kill()


class Notes:
    """Passes on what is worth telling, a few at a time."""

    def __init__(self, note: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._note = note
        self._clock = clock
        self._began = clock()
        self._said = 0

    def line(self, line: bytes) -> None:
        text = _worth_telling(line)
        if text is None:
            return
        now = self._clock()
        if now - self._began >= PERIOD:
            self._began, self._said = now, 0
        self._said += 1
        if self._said <= NOTES:
            self._note(text)
        elif self._said == NOTES + 1:
            self._note("and more warnings, see the log")


def _worth_telling(line: bytes) -> str | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return line.decode("utf-8", "replace").strip().removeprefix("brigade: ") or None
    if not isinstance(fields, dict) or fields.get("level") not in ("warning", "error") or fields.get("action") in SAID_ELSEWHERE:
        return None
    reason = fields.get("error") or fields.get("reason")
    return f"worker: {fields.get('event')}{f' ({reason})' if reason else ''}"


async def _bring_home(stream: asyncio.StreamReader | None, log: BinaryIO, notes: Notes) -> None:
    while stream is not None:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than any line of ours; what follows it is read as usual
        if not line:
            return
        log.write(line)
        log.flush()
        notes.line(line)
