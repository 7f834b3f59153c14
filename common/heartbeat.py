"""Signs of life of the processes on this machine, in files, for whoever has to tell a container that works from one that hangs.

A process that holds a connection is not yet at work: it may be frozen, and what it is connected to may be. So each process
writes a file, and says in it when its event loop last turned (`beat`) and when Redis and the queue last answered it (`trip`).
`brigade health` reads them. A worker that is an hour into an object beats and asks like any other.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import BrigadeError
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

log = get_logger(__name__)

EVERY_SECONDS = 10.0
ANSWER_SECONDS = 5.0
_SUFFIX = ".heartbeat"


@dataclass(frozen=True, slots=True)
class Sign:
    """Of one living process: seconds since its loop turned, and since Redis and the queue answered (None: not yet)."""

    pid: int
    role: str
    beat_age: float
    trip_age: float | None


def directory(setting: str) -> Path:
    """Where the files are: as set, or one directory for each user in the machine's place for temporary files."""
    return Path(setting) if setting else Path(tempfile.gettempdir()) / f"brigade-{os.getuid()}"


def signs(folder: Path) -> list[Sign]:
    """Of every process that wrote here and still lives, by process id. A file that cannot be read is that of nobody."""
    now, found = time.monotonic(), []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(path.read_text(encoding="ascii"))
            pid, trip = int(said["pid"]), said["trip"]
            if _lives(pid):
                found.append(Sign(pid, str(said["role"]), now - float(said["beat"]), None if trip is None else now - float(trip)))
    return found


class Heartbeat:
    """Of this process. `keep` belongs to its event loop; the file goes with `close`."""

    def __init__(self, folder: Path, role: str, probes: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """`probes` are round trips to what the process needs; they raise BrigadeError, or take longer than ANSWER_SECONDS."""
        self._path = folder / f"{role}-{os.getpid()}{_SUFFIX}"
        self._role = role
        self._probes = probes
        self._trip: float | None = None
        self._said = False

    async def keep(self) -> None:
        """Until cancelled. The beat does not wait for the probes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_beating())
            group.create_task(self._keep_asking())

    async def _keep_beating(self) -> None:
        _sweep(self._path.parent)
        while True:
            self._write()
            await asyncio.sleep(EVERY_SECONDS)

    async def _keep_asking(self) -> None:
        while True:
            if await self._answered():
                self._trip = time.monotonic()
                self._write()
            await asyncio.sleep(EVERY_SECONDS)

    def close(self) -> None:
        """May be called twice."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    async def _answered(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                for probe in self._probes:
                    await probe()
        except (BrigadeError, TimeoutError, OSError):
            return False
        return True

    def _write(self) -> None:
        """Whole or not at all: a reader in between sees the one before."""
        said = {"pid": os.getpid(), "role": self._role, "beat": time.monotonic(), "trip": self._trip}
        beside = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.write_text(json.dumps(said), encoding="ascii")
            beside.replace(self._path)
        except OSError as error:
            if not self._said:
                log.warning(
                    "no signs of life can be written, `brigade health` will call this process dead: set BRIGADE_HEARTBEAT_DIR",
                    action="heartbeat_unwritten",
                    path=str(self._path),
                    error=str(error),
                )
            self._said = True
        else:
            self._said = False


def _sweep(folder: Path) -> None:
    """Remove what processes left that were killed."""
    for path in folder.glob(f"*{_SUFFIX}"):
        pid = path.stem.rpartition("-")[2]
        if pid.isdecimal() and not _lives(int(pid)):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
