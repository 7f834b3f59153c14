"""Several worker processes and a signal: whenever it comes, all hear of it, and all have one deadline together."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from common.config import QueueSettings, RedisSettings, Settings, WorkerSettings
from worker import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = Settings(
    queue=QueueSettings(kind="redis"), redis=RedisSettings(address="127.0.0.1:1"), worker=WorkerSettings(grace_seconds=25)
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stuck:
    """A child that is still importing, and hears no signal."""

    exitcode = None

    def __init__(self, clock: Clock, pid: int) -> None:
        self._clock = clock
        self.pid = pid
        self.killed = False

    def is_alive(self) -> bool:
        return not self.killed

    def join(self, seconds: float) -> None:
        self._clock.now += seconds

    def kill(self) -> None:
        self.killed = True


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_while_processes_are_started_reaches_all_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given eight processes to start, and a signal while the third is made
    clock = Clock()
    started: list[Stuck] = []
    signalled: list[int] = []

    class Parent(processes._Parent):
        def _start(self) -> Any:
            if len(started) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            started.append(Stuck(clock, pid=1000 + len(started)))
            return started[-1]

    genuine = os.kill
    own = os.getpid()
    monkeypatch.setattr(
        "worker.processes.os.kill", lambda pid, number: genuine(pid, number) if pid == own else signalled.append(pid)
    )
    monkeypatch.setattr("worker.processes.time", SimpleNamespace(monotonic=clock))
    # When the parent runs, and none of them hears the signal
    assert Parent(SETTINGS, 8, lambda _: None).run() == 0
    # Then no more are started, each was told, and all were killed after one grace period
    assert len(started) == 3
    assert {1000, 1001, 1002} <= set(signalled)
    assert all(child.killed for child in started)
    assert clock.now - 100 == 35
