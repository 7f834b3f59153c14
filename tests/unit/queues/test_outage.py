"""Outages: how long a call is tried, how the pauses grow, and how often it is told."""

from __future__ import annotations

import asyncio

import pytest

from common.errors import QueueUnavailable
from common.queues import outage as module
from common.queues.outage import LONGEST_PAUSE, Outage, describe


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)
        await asyncio.sleep(0)


class Log:
    def __init__(self) -> None:
        self.actions: list[str] = []

    def warning(self, text: str, *, action: str, **fields: object) -> None:
        self.actions.append(action)

    info = warning


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(module, "log", log)
    return log


def outage_with(clock: Clock, patience: float = 30.0) -> Outage:
    def passes(error: Exception) -> bool:
        return isinstance(error, OSError)

    return Outage("the queue", passes, patience=patience, sleep=clock.sleep, clock=lambda: clock.now, jitter=lambda: 1.0)


async def test_a_call_is_tried_until_it_works(log: Log) -> None:
    # Given a server that is away for the first four calls
    clock, answers = Clock(), iter([OSError("a"), OSError("b"), OSError("c"), OSError("d"), "here"])

    async def call() -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return str(answer)

    # When it is called
    result = await outage_with(clock).through(call)
    # Then the answer comes after pauses that double, and the outage was told once, as was its end
    assert result == "here"
    assert clock.pauses == [0.1, 0.2, 0.4, 0.8]
    assert log.actions == ["queue_away", "queue_back"]


async def test_a_call_gives_up_when_its_patience_is_over(log: Log) -> None:
    # Given a server that stays away
    clock = Clock()

    async def call() -> None:
        raise OSError("nobody home\nsecond line")

    # When it is called
    with pytest.raises(QueueUnavailable, match=r"the queue is away: OSError: nobody home$") as caught:
        await outage_with(clock, patience=30).through(call)
    # Then it was tried for about as long as the patience lasts, with bounded pauses, and the cause is kept
    assert 20 < clock.now <= 30
    assert max(clock.pauses) == LONGEST_PAUSE
    assert isinstance(caught.value.__cause__, OSError)


async def test_an_error_that_does_not_pass_is_raised_at_once(log: Log) -> None:
    # Given a call that is wrong
    clock = Clock()

    async def call() -> None:
        raise KeyError("wrong")

    # When it is made
    with pytest.raises(KeyError):
        await outage_with(clock).through(call)
    # Then it was made once, and the server is not said to be away
    assert not clock.pauses
    assert not log.actions


async def test_many_calls_in_one_outage_tell_of_it_once(log: Log) -> None:
    # Given a hundred calls while the server is away
    clock = Clock()
    shared = outage_with(clock)
    away = True

    async def call() -> str:
        if away:
            raise OSError("away")
        return "here"

    calls = [asyncio.create_task(shared.through(call)) for _ in range(100)]
    await asyncio.sleep(0)
    # When it comes back
    away = False
    assert await asyncio.gather(*calls) == ["here"] * 100
    # Then the log has two lines
    assert log.actions == ["queue_away", "queue_back"]


async def test_pauses_vary_so_that_workers_do_not_return_in_step() -> None:
    # Given the shortest and the longest jitter
    for jitter, first in ((0.0, 0.05), (1.0, 0.1)):
        clock = Clock()

        async def call(clock: Clock = clock) -> None:
            if not clock.pauses:
                raise OSError

        shared = Outage("q", lambda _: True, sleep=clock.sleep, clock=lambda: 0.0, jitter=lambda jitter=jitter: jitter)  # type: ignore[misc]
        # When a call fails once
        await shared.through(call)
        # Then its pause lies between half of the step and all of it
        assert clock.pauses == [pytest.approx(first)]


def test_an_error_is_described_in_one_line() -> None:
    assert describe(OSError("one\ntwo")) == "OSError: one"
    assert describe(TimeoutError()) == "TimeoutError"
    assert len(describe(OSError("x" * 5000))) < 400
