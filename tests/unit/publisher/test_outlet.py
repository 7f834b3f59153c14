"""A queue that is away makes the publisher wait, not lose."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from common.config import LogSettings
from common.errors import QueueUnavailable, SettingsError
from common.telemetry import configure
from publisher.outlet import LONGEST_WAIT, Outlet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from common.queues.base import Delivery


class FlakyQueue:
    """Takes messages only after `failures` calls have failed."""

    lease = 60.0

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or QueueUnavailable("nobody home")
        self.sent: list[bytes] = []

    async def send(self, messages: Sequence[bytes]) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error
        self.sent += messages

    async def receive(self, most: int, wait: float) -> list[Delivery]:
        return []

    async def backlog(self) -> int | None:
        if self.failures:
            raise self.error
        return 0

    async def close(self) -> None:
        return


class Sleeps(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


async def opened(queue: FlakyQueue, sleep: Callable[[float], Awaitable[None]]) -> Outlet:
    async def give() -> FlakyQueue:
        return queue

    outlet = Outlet(give, sleep=sleep, jitter=lambda: 1.0)
    await outlet.open()
    return outlet


async def test_messages_are_sent_once_when_all_is_well() -> None:
    # Given a queue that works
    queue, sleeps = FlakyQueue(0), Sleeps()
    outlet = await opened(queue, sleeps)
    # When messages are sent
    await outlet.send([b"a", b"b"])
    await outlet.send([])
    # Then they are there, without a pause
    assert (queue.sent, sleeps) == ([b"a", b"b"], [])


async def test_it_waits_with_growing_pauses_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    # Given a queue that is away for twenty tries
    configure(LogSettings(format="json"))
    queue, sleeps = FlakyQueue(20), Sleeps()
    outlet = await opened(queue, sleeps)
    # When messages are sent
    await outlet.send([b"a"])
    # Then nothing is lost, the pauses grow up to a bound, and the log has one line each way
    assert queue.sent == [b"a"]
    assert sleeps[:4] == [0.5, 1, 2, 4]
    assert sleeps[-1] == max(sleeps) == LONGEST_WAIT
    actions = [json.loads(line)["action"] for line in capsys.readouterr().err.splitlines()]
    assert actions == ["publishing_waits", "publishing_goes_on"]


async def test_a_queue_that_is_away_at_start_is_waited_for() -> None:
    # Given a queue that opens at the third try
    queue, sleeps = FlakyQueue(0), Sleeps()
    answers: list[FlakyQueue | Exception] = [QueueUnavailable("no"), QueueUnavailable("no"), queue]

    async def give() -> FlakyQueue:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    outlet = Outlet(give, sleep=sleeps, jitter=lambda: 1.0)
    # When it is not open yet
    # Then a check says so, and closing does no harm
    with pytest.raises(QueueUnavailable):
        await outlet.check()
    await outlet.close()
    # When it is opened
    await outlet.open()
    # Then messages go through
    await outlet.send([b"a"])
    assert (queue.sent, len(sleeps)) == ([b"a"], 2)


async def test_a_check_fails_while_messages_wait() -> None:
    # Given a send that waits for the queue
    queue = FlakyQueue(1)
    seen: list[str] = []

    async def look(seconds: float) -> None:
        with pytest.raises(QueueUnavailable) as error:
            await outlet.check()
        seen.append(str(error.value))

    outlet = await opened(queue, look)
    await outlet.send([b"a"])
    # Then a check in the meantime failed, and now it does not
    assert len(seen) == 1
    await outlet.check()


async def test_what_will_not_pass_is_not_waited_for() -> None:
    # Given a topic that does not exist and may not be created
    outlet = await opened(FlakyQueue(1, SettingsError(["no such topic"])), Sleeps())
    # Then that is the caller's to handle
    with pytest.raises(SettingsError):
        await outlet.send([b"a"])
