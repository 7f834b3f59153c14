"""A server as a child process: started on a free port, waited for, killed, started again, and never left behind."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the range from which Linux takes the ports of outgoing connections, so that none of those can take a port between
the moment we choose it and the moment the server listens on it."""
TRIES = 5


class ServerFailed(RuntimeError):  # noqa: N818 - named after the situation
    """A server's program is here but did not start; the text ends with what it printed."""


class Server:
    """A child process that listens on one loopback port. `start` and `stop` may be called again; the port stays the same."""

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        ready: Callable[[int], bool],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        patience: float = 30.0,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._patience = patience
        self._claim: IO[str] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def address(self) -> str:
        """host:port"""
        return f"{LOOPBACK}:{self._port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        """Start the child and return once it answers. A port that turns out to be taken is exchanged for another one, the
        first time; a restart keeps its port, because clients know it by now."""
        if self._claim:
            self._start_on(self._port)
            return
        for attempt in range(1, TRIES + 1):
            self._port, self._claim = _claim_port()
            try:
                self._start_on(self._port)
            except ServerFailed:
                self._release()
                if attempt == TRIES or not self._port_was_taken():
                    raise
            else:
                return

    def stop(self, patience: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after `patience` seconds. The port stays ours."""
        if self._child and self._child.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._child.wait(patience)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
        self._forget()

    def kill(self) -> None:
        """SIGKILL: what a crash looks like."""
        self._signal(signal.SIGKILL)
        self._forget()

    def close(self) -> None:
        self.stop()
        self._release()

    def output(self) -> str:
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def _start_on(self, port: int) -> None:
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command(port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        self._guard = _guard(self._child.pid)
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                self._forget()
                raise ServerFailed(f"{self.name} ended at once:\n{self.output()}")
            if self._ready(port) and self._child.poll() is None:
                return
            time.sleep(0.02)
        self.kill()
        raise ServerFailed(f"{self.name} did not answer on port {port} within {self._patience:.0f} s:\n{self.output()}")

    def _port_was_taken(self) -> bool:
        text = self.output().lower()
        return "in use" in text or "bind" in text

    def _signal(self, number: signal.Signals) -> None:
        if self._child and self._child.poll() is None:
            os.killpg(self._child.pid, number)

    def _forget(self) -> None:
        if self._child:
            self._child.wait()
            self._child = None
        if self._guard:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def _release(self) -> None:
        if self._claim:
            self._claim.close()
            self._claim = None


def _guard(group: int) -> subprocess.Popen[bytes]:
    """A shell that waits until this process is gone, however it went, and then kills the process group."""
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "guard", str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _claim_port() -> tuple[int, IO[str]]:
    """A port on which nothing listens, and the lock that keeps other users of this file away from it until it is closed."""
    folder = Path(tempfile.gettempdir()) / f"bucketbrigade-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for port in random.sample(PORTS, k=200):
        claim = (folder / str(port)).open("w")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((LOOPBACK, port))
        except OSError:
            claim.close()
            continue
        return port, claim
    raise ServerFailed(f"no free port between {PORTS.start} and {PORTS.stop}")
