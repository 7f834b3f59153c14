"""The container engine as this program uses it: compose commands, engine commands, and what a container says about itself.

COMPOSE names the compose command where the choice of `deploy/compose` is not the right one, ENGINE the docker or podman that
belongs to it; both may be several words.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_STRAY = ("GCP_CREDENTIALS", "GCP_PUBSUB_HOST", "BRIGADE_CONFIG", "REDIS_PASSWORD", "ENV_FILE")
"""A shell's variables go before the demo's own in compose files: these would lead to somebody's real account."""
_STARTED = time.monotonic()


class Failure(Exception):  # noqa: N818 - as common.errors: named after the situation
    """Something that must hold does not; the message says what."""


class Unavailable(Exception):  # noqa: N818
    """There is no engine here, or not the one that is needed."""


def say(text: str) -> None:
    sys.stdout.write(f"[{time.monotonic() - _STARTED:5.0f} s] {text}\n")
    sys.stdout.flush()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Engine:
    """docker or podman. `is_podman` decides where the two differ: health checks without systemd, and Kubernetes manifests."""

    command: tuple[str, ...]
    is_podman: bool

    def run(self, *arguments: str, timeout: float = 120, check: bool = True, given: str | None = None) -> str:
        """What the command writes to stdout. Raises Failure with what it wrote to stderr when it fails."""
        return _run((*self.command, *arguments), timeout=timeout, check=check, given=given)

    def answers(self, *arguments: str, timeout: float = 30) -> bool:
        """Whether the command ends well."""
        done = subprocess.run((*self.command, *arguments), capture_output=True, timeout=timeout, check=False)
        return done.returncode == 0

    def both(self, *arguments: str) -> str:
        """stdout and stderr as they come, well ended or not."""
        done = subprocess.run(
            (*self.command, *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return done.stdout

    def inspect(self, container: str) -> dict[str, Any]:
        return dict(json.loads(self.run("inspect", container))[0])

    def lines(self, *arguments: str) -> list[str]:
        return [line for line in self.run(*arguments).splitlines() if line]


@dataclass(frozen=True, slots=True)
class Compose:
    """One compose project with the demo's settings and ports of its own."""

    project: str
    engine: Engine
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, timeout: float = 900, quiet: bool = True) -> None:
        settings = ("--project-name", self.project, "--env-file", "deploy/demo/demo.env", "--profile", "demo")
        environment = {name: value for name, value in os.environ.items() if name not in _STRAY} | self.environment
        command = (str(ROOT / "deploy/compose"), *settings, *arguments)
        _run(command, timeout=timeout, environment=environment, show=not quiet)

    def containers(self, service: str | None = None, *, running: bool = True) -> list[str]:
        """The ids of the project's containers."""
        filters = [f"label=com.docker.compose.project={self.project}"]
        filters += [f"label=com.docker.compose.service={service}"] if service else []
        filters += ["status=running"] if running else []
        chosen = [word for text in filters for word in ("--filter", text)]
        return self.engine.lines("ps", "--all", "--quiet", *chosen)

    def service(self, container: str) -> str:
        return str(self.engine.inspect(container)["Config"]["Labels"]["com.docker.compose.service"])


def find() -> Engine:
    """The engine that `deploy/compose` would use. Raises Unavailable when there is none."""
    compose = shlex.split(os.environ.get("COMPOSE", ""))
    engine = shlex.split(os.environ.get("ENGINE", ""))
    if not engine:
        docker = not any("podman" in word for word in compose) and _works("docker", "info")
        engine = ["docker"] if docker and (compose or _works("docker", "compose", "version")) else ["podman"]
    if not _works(*engine, "info"):
        raise Unavailable("no container engine: neither docker (with compose) nor podman runs here")
    done = subprocess.run([ROOT / "deploy/compose", "version"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable((done.stderr.strip().splitlines() or ["compose does not run"])[-1])
    # Podman calls itself docker where people are used to that name.
    told = subprocess.run([*engine, "version"], capture_output=True, text=True, check=False).stdout
    return Engine(tuple(engine), "podman" in told.lower())


def _works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(
    command: tuple[str, ...],
    *,
    timeout: float,
    check: bool = True,
    given: str | None = None,
    environment: dict[str, str] | None = None,
    show: bool = False,
) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            input=given,
            stdout=None if show else subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"not done after {timeout:.0f} s: {shlex.join(command)}") from error
    if check and done.returncode:
        said = "\n".join(((done.stdout or "") + (done.stderr or "")).strip().splitlines()[-30:])
        raise Failure(f"exit code {done.returncode}: {shlex.join(command)}\n{said}")
    return done.stdout or ""
