"""Leading only for as long as one can know that one leads."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from common.errors import StateUnavailable
from publisher.leadership import Leadership


class FakeLock:
    """Answers `take` from a list; a float passes that much time first, an exception is raised. A term ends as it does in
    Redis: when another holds the lock, or 30 seconds after it was taken last.
    """

    def __init__(self, clock: Clock, *answers: bool | float | Exception) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.given_up = 0
        self.term = 0
        self.until = float("-inf")

    async def take(self) -> int:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is False:
            self.until = float("-inf")
            return 0
        self.term += self.clock.time >= self.until
        self.until = self.clock.time + 30
        self.clock.time += 0 if answer is True else answer
        return self.term

    async def give_up(self) -> bool:
        self.given_up += 1
        return True


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Turns:
    """A sleep that passes its time and ends the loop after so many turns."""

    def __init__(self, clock: Clock, turns: int) -> None:
        self.clock = clock
        self.left = turns
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.left -= 1
        if not self.left:
            raise asyncio.CancelledError
        self.clock.time += seconds


def lead(*answers: bool | float | Exception, turns: int | None = None) -> tuple[Leadership, Clock, FakeLock, Turns]:
    clock = Clock()
    lock = FakeLock(clock, *answers)
    sleep = Turns(clock, turns or len(answers))
    return Leadership(lock, 30, clock=clock, sleep=sleep), clock, lock, sleep


async def test_the_lock_is_renewed_at_a_third_and_the_term_goes_on() -> None:
    # Given a lock that is free and stays ours
    leadership, _, _, sleep = lead(True, True, True, True)
    # When it is kept
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep()
    # Then it is one term, renewed every ten seconds of thirty
    assert leadership.held(1)
    assert (leadership.term, sleep.slept) == (1, [10, 10, 10, 10])


async def test_who_does_not_get_the_lock_does_not_lead() -> None:
    # Given a lock that another holds
    leadership, _, _, sleep = lead(False, False)
    terms: list[int] = []
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep(lambda: terms.append(leadership.term))
    # Then we never led, and tried again soon
    assert not leadership.held()
    assert (leadership.term, terms, sleep.slept) == (0, [], [3, 3])


async def test_time_counts_from_before_the_question() -> None:
    # Given an answer that took 25 seconds to come
    leadership, clock, *_ = lead(25.0)
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep()
    # Then only 5 seconds of the lock are left to us
    assert leadership.held()
    clock.time += 5
    assert not leadership.held()


async def test_an_answer_that_came_too_late_is_worth_nothing() -> None:
    # Given an answer that took longer than the lock lives
    leadership, *_ = lead(31.0)
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep()
    # Then we do not believe it
    assert not leadership.held()


async def test_a_break_begins_a_new_term() -> None:
    # Given a lock that was lost and won back
    leadership, *_ = lead(True, False, True, True)
    terms: list[int] = []
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep(lambda: terms.append(leadership.term))
    # Then work of the first term must not go on
    assert leadership.held()
    assert not leadership.held(1)
    assert leadership.held(2)
    assert terms == [1, 2]


async def test_sleeping_through_the_lock_ends_the_term() -> None:
    # Given a leader that was stopped for a minute, and finds the lock free
    leadership, clock, _, _ = lead(True, True, turns=1)
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep()
    clock.time += 60
    assert not leadership.held(1)
    await leadership._take()
    # Then it leads again, in another term: someone may have led in between
    assert leadership.held(2)
    assert not leadership.held(1)


async def test_an_absent_redis_is_waited_for() -> None:
    # Given a Redis that is away at first
    leadership, *_ = lead(StateUnavailable("away"), True)
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep()
    # Then we lead when it is back
    assert leadership.held()


async def test_giving_up_frees_the_lock_only_when_it_is_ours() -> None:
    # Given a leader
    leadership, _, lock, _ = lead(True)
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep()
    # When it gives up, twice
    await leadership.give_up()
    await leadership.give_up()
    # Then it leads no more, and freed the lock once
    assert not leadership.held()
    assert lock.given_up == 1


async def test_a_silent_redis_is_not_taken_for_another_publisher(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the only publisher, and a Redis that is frozen for longer than the lead lasts
    said: list[tuple[str, str]] = []

    def say(text: str, *, action: str, term: int) -> None:
        said.append((action, text))

    monkeypatch.setattr("publisher.leadership.log", SimpleNamespace(info=say, warning=say))
    leadership, *_ = lead(True, 31.0, True)
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep()
    # Then the log says so, and that it leads again
    assert [action for action, _ in said] == ["leader_began", "leader_ended", "leader_began"]
    assert "Redis did not answer" in said[1][1]
    assert "another" not in said[1][1]


async def test_another_publisher_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    log = SimpleNamespace(info=lambda *_, **__: None, warning=lambda text, **_: said.append(text))
    monkeypatch.setattr("publisher.leadership.log", log)
    leadership, *_ = lead(True, False)
    with pytest.raises(asyncio.CancelledError):
        await leadership.keep()
    assert said == ["another publisher leads now"]
