"""One worker process, or several that are watched by a parent.

The parent only watches: it imports nothing that moves objects, so it costs little memory, and it lives through whatever ends
one of its children.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from common.errors import SettingsError
from common.log_names import Program, main_program
from common.steps import ignore
from common.telemetry import configure, get_logger

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from common.config import Settings
    from common.steps import OnStep

log = get_logger(__name__)

CANNOT_START = 2
RESTART_SECONDS = 1.0
"""Before a process that died is replaced, so that one that dies at its start does not keep the machine busy."""


def run(settings: Settings, processes: int, on_step: OnStep = ignore) -> int:
    """Work until SIGTERM or SIGINT; the exit code. With several processes, one that dies is replaced and the others go on.

    Raises SettingsError when queue or Redis refuse us.
    """
    if processes == 1:
        from worker import runner  # noqa: PLC0415 - the parent of several does without it

        with main_program(Program.WORKER):
            return runner.run(settings, on_step)
    return _Parent(settings, processes, on_step).run()


def _child(settings: Settings, on_step: OnStep) -> None:
    configure(settings.log)
    try:
        raise SystemExit(run(settings, 1, on_step))
    except SettingsError as error:
        log.error("the settings cannot work", action="settings_refused", error=str(error))  # noqa: TRY400 - for the operator
        raise SystemExit(CANNOT_START) from None


class _Parent:
    """Keeps `processes` children at work. They are spawned, never forked: a forked gRPC hangs."""

    def __init__(self, settings: Settings, processes: int, on_step: OnStep) -> None:
        self._settings = settings
        self._count = processes
        self._on_step = on_step
        self._context = multiprocessing.get_context("spawn")
        self._children: list[BaseProcess] = []
        self._stopping = threading.Event()
        self._exit_code = 0

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        while len(self._children) < self._count and not self._stopping.is_set():
            self._children.append(self._start())
        if self._stopping.is_set():  # the signal came while a child was made: that one has not heard of it
            self._stop()
        while not self._stopping.is_set():
            multiprocessing.connection.wait([child.sentinel for child in self._children], timeout=1.0)
            self._replace_the_dead()
        self._wait_for_all(self._settings.worker.grace_seconds + 10)
        return self._exit_code

    def _wait_for_all(self, seconds: float) -> None:
        """One deadline for all of them, however many there are; then they are killed."""
        deadline = time.monotonic() + seconds
        for child in self._children:
            child.join(max(0.0, deadline - time.monotonic()))
        for child in self._children:
            if child.is_alive():
                log.error("a worker process did not stop in time and is killed", action="worker_killed", pid=child.pid)
                child.kill()

    def _start(self) -> BaseProcess:
        child = self._context.Process(target=_child, args=(self._settings, self._on_step), name="brigade-worker")
        child.start()
        return child

    def _stop(self) -> None:
        self._stopping.set()
        for child in self._children:
            if child.pid is not None and child.is_alive():
                os.kill(child.pid, signal.SIGTERM)

    def _replace_the_dead(self) -> None:
        for place, child in enumerate(self._children):
            if child.exitcode == CANNOT_START:
                self._exit_code = CANNOT_START  # a new process would be refused for the same reason
                self._stop()
            if not child.is_alive() and not self._stopping.is_set():
                log.error("a worker process died and is replaced", action="worker_died", exit_code=child.exitcode)
                if self._stopping.wait(RESTART_SECONDS):
                    return
                self._children[place] = self._start()
                if self._stopping.is_set():  # the signal came while the child was made: it has not heard of it
                    self._stop()
