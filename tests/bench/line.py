"""The whole line, run once: published, released, moved, proved, recorded, acknowledged, and compared byte for byte.

The worker processes are started and stopped (SIGSTOP) before the tasks are put on the queue, and released all at once: what is
measured is the line at work, neither its interpreters starting nor the publisher beside it. What publishing took is stated.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import process
from tests.bench.runs import Run, RunFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.bench.stage import Ends, Stage

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 60.0
_TRUST = "import certifi\ncertifi.where = lambda: {path!r}\n"


@dataclass(frozen=True, slots=True)
class Line:
    """How our side is run. `root` is the tree it is run from. `slots` None: the default of the settings."""

    name: str = "ours"
    processes: int | None = 2
    slots: int | None = None
    root: Path = ROOT
    environ: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        words = [sys.executable, "-m", "brigade", "work"]
        words += ["--processes", str(self.processes)] if self.processes else []
        return words + (["--slots", str(self.slots)] if self.slots else [])

    def said(self) -> str:
        return " ".join(["brigade", *self.command()[3:]])

    def run(self, stage: Stage, ends: Ends, seconds: float) -> Run:
        with ExitStack() as stack:
            folder = stage.folder()
            environ = environment(self, stage, ends, folder)
            hands = stack.enter_context(conductor(self.root, environ, folder))
            workers = stack.enter_context(working(self, environ, folder))
            process.signal_family(workers.parent, signal.SIGSTOP)
            published = hands.ask(do="publish")
            if published["published"] != ends.objects:
                raise RunFailed(f"{self.name}: {published['published']} of {ends.objects} objects were published")
            return self._released(stage, ends, hands, workers, published, seconds)

    def _released(
        self, stage: Stage, ends: Ends, hands: Hands, workers: Workers, published: Mapping[str, Any], seconds: float
    ) -> Run:
        server, redis = stage.server_cpu(ends), stage.redis_cpu()
        before = process.usage(workers.pids)
        began = time.monotonic()
        process.signal_family(workers.parent, signal.SIGCONT)
        done = hands.ask(do="wait", job=published["job"], seconds=seconds, patience=seconds + 10)
        after = process.usage(workers.pids)
        if process.family(workers.parent) != workers.family:
            raise RunFailed(f"{self.name}: a worker process died during the run:\n{workers.log_end()}")
        arrived = done["moved"] + done["proven"]
        if arrived != ends.objects:
            raise RunFailed(f"{self.name}: {arrived} of {ends.objects} objects have a receipt: {done}\n{workers.log_end()}")
        return Run(
            contender=self.name,
            seconds=done["at"] - began,
            objects=ends.objects,
            bytes=ends.bytes,
            cpu=after.cpu - before.cpu,
            memory_sum=after.memory_sum,
            memory_max=after.memory_max,
            server_cpu=stage.server_cpu(ends) - server,
            redis_cpu=stage.redis_cpu() - redis,
            startup=workers.startup,
            publish_seconds=published["seconds"],
            more={"publish_cpu": published["cpu"], "retries": workers.logged("retry"), "failed": done["failed"]},
        )


class Hands:
    """The conductor, asked and answered line by line."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self._child = child
        self._log = log
        self._ready = False

    def ask(self, *, patience: float = 300.0, **order: Any) -> dict[str, Any]:
        assert self._child.stdin
        if not self._ready:
            self._ready = bool(self._answer(START_SECONDS)["ready"])
        self._child.stdin.write(json.dumps(order).encode() + b"\n")
        self._child.stdin.flush()
        answer = self._answer(patience)
        if "error" in answer:
            raise RunFailed(answer["error"])
        return answer

    def _answer(self, patience: float) -> dict[str, Any]:
        assert self._child.stdout
        if not select.select([self._child.stdout], [], [], patience)[0]:
            raise RunFailed(f"the conductor did not answer within {patience:.0f} s")
        line = self._child.stdout.readline()
        if not line:
            raise RunFailed(f"the conductor ended:\n{self._log.read_text(errors='replace')[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def conductor(root: Path, environ: Mapping[str, str], folder: Path) -> Iterator[Hands]:
    log = folder / "conductor.log"
    program = root / "tests/bench/conductor.py"
    command = [sys.executable, "-P", str(program if program.exists() else Path(__file__).with_name("conductor.py"))]
    child = process.start(command, environ, folder, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Hands(child, log)  # which starts beside whatever else starts
    finally:
        for pipe in (child.stdin, child.stdout):
            if pipe:
                pipe.close()
        process.stop(child)


@dataclass(frozen=True, slots=True)
class Workers:
    """`pids` are the processes that have work of ours in them: the parent, which only watches, counts too."""

    parent: int
    family: list[int]
    startup: float
    log: Path

    @property
    def pids(self) -> list[int]:
        return self.family

    def log_end(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def logged(self, action: str) -> int:
        return sum(f'"action": "{action}' in line for line in self.log.read_text(errors="replace").splitlines())


@contextmanager
def working(line: Line, environ: Mapping[str, str], folder: Path) -> Iterator[Workers]:
    """Worker processes, all of them connected and waiting for tasks."""
    log = folder / "work.log"
    began = time.monotonic()
    child = process.start(line.command(), environ, folder, log)
    try:
        wanted = line.processes or 0
        while not _all_started(log, child.pid, wanted):
            if child.poll() is not None or time.monotonic() > began + START_SECONDS:
                raise RunFailed(f"{line.name}: the workers did not start:\n{log.read_text(errors='replace')[-1500:]}")
            time.sleep(0.01)
        yield Workers(child.pid, process.family(child.pid), time.monotonic() - began, log)
    finally:
        code = process.stop(child)
    if code != 0:
        raise RunFailed(f"{line.name}: the workers ended with {code}:\n{log.read_text(errors='replace')[-1500:]}")


def _all_started(log: Path, parent: int, wanted: int) -> bool:
    """As many have said so as were asked for; where the default decides, as many as there are children."""
    started = log.read_text(errors="replace").count('"worker_started"')
    if not wanted:  # a parent has its workers and multiprocessing's tracker
        wanted = max(1, len(process.family(parent)) - 2)
    return started >= wanted


def environment(line: Line, stage: Stage, ends: Ends, folder: Path) -> dict[str, str]:
    """The settings of every process of one run: a Redis prefix of its own, and otherwise the defaults."""
    config = folder / "brigade.toml"
    route = f'[[route]]\nname = "bench"\nsource = "{ends.source}"\ndestination = "{ends.destination}"\n'
    options = 'source_options.addressing = "path"\ndestination_options.addressing = "path"\n'
    known = (line.root / "common/config.py").read_text()  # an older tree refuses what it does not know
    # The server keeps If-None-Match and If-Match as AWS does, which is believed to without being told.
    if "compat:" in known and ends.destination.startswith("s3:"):
        options += 'destination_options.compat = "aws"\n'
    elif "conditional_writes" in known:
        options += "destination_options.conditional_writes = true\n"
    config.write_text(route + options)
    path = [str(line.root)]
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    if ends.certificate:
        trust = folder / "trust"
        trust.mkdir()
        (trust / "sitecustomize.py").write_text(_TRUST.format(path=str(ends.certificate)))
        path.insert(0, str(trust))
        environ["SSL_CERT_FILE"] = str(ends.certificate)
    return {
        **environ,
        "PYTHONPATH": os.pathsep.join(path),
        "BRIGADE_CONFIG": str(config),
        "BRIGADE_LOG_FORMAT": "json",
        "AWS_ENDPOINT_URL_S3": ends.endpoint,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench-secret",
        "AWS_REGION": "us-east-1",
        "STORAGE_EMULATOR_HOST": ends.endpoint,
        **stage.queue_environment(),
        **line.environ,
    }
