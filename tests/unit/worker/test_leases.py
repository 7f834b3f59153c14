"""Leases and the order of stopping when something else has gone wrong: Redis is away, or the queue refuses us in mid-run."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from common.errors import SettingsError
from worker.consume import Consumer
from worker.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Delivery:
    payload, attempt = b"", 1

    def __init__(self) -> None:
        self.extended = self.returned = 0

    async def ack(self) -> None:
        return

    async def nack(self, _delay: float = 0.0) -> None:
        self.returned += 1

    async def reject(self, _report: bytes) -> None:
        return

    async def extend(self) -> None:
        self.extended += 1


class _Queue:
    lease = 0.3

    def __init__(self, deliveries: Sequence[_Delivery], then: Exception | None = None) -> None:
        self._deliveries = list(deliveries)
        self._then = then

    async def receive(self, _most: int, wait: float) -> Sequence[_Delivery]:
        taken, self._deliveries = self._deliveries, []
        if not taken and self._then:
            raise self._then
        if not taken:
            await asyncio.sleep(wait)
        return taken


class _Replicator:
    """Takes its time with an object, as with one of a terabyte."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.finished = 0

    async def replicate(self, _delivery: _Delivery) -> None:
        await asyncio.sleep(self._seconds)
        self.finished += 1


class _Claims:
    def __init__(self, *, redis_away: bool = False) -> None:
        self._redis_away = redis_away

    async def renew(self) -> None:
        if self._redis_away:
            await asyncio.Event().wait()  # the store waits until Redis is back


def _consumer(queue: _Queue, replicator: _Replicator, claims: _Claims) -> Consumer:
    return Consumer(
        cast("Any", queue),
        cast("Any", _Queue([])),
        cast("Any", replicator),
        cast("Any", claims),
        Tally(),
        slots=4,
        large_slots=1,
        large_bytes=1,
        grace_seconds=5,
    )


async def test_queue_leases_are_kept_while_redis_is_away() -> None:
    # Given a long transfer under way, its lease on one service, and its claim on another one that is away
    delivery, stop = _Delivery(), asyncio.Event()
    working = asyncio.create_task(_consumer(_Queue([delivery]), _Replicator(1.2), _Claims(redis_away=True)).run(stop))
    # When several leases' time passes
    await asyncio.sleep(1.0)
    stop.set()
    await asyncio.wait_for(working, 10)
    # Then the lease was extended all the while, and nobody else got the delivery
    assert delivery.extended >= 5


async def test_what_is_under_way_is_finished_when_the_queue_refuses_us() -> None:
    # Given an object under way
    delivery, replicator = _Delivery(), _Replicator(0.3)
    refused = SettingsError(["Pub/Sub refuses this identity"])
    # When the queue refuses our next request for good
    with pytest.raises(SettingsError):
        await asyncio.wait_for(_consumer(_Queue([delivery], refused), replicator, _Claims()).run(asyncio.Event()), 10)
    # Then the object was finished, or its delivery handed back, before the worker ended
    assert replicator.finished or delivery.returned


async def test_a_keeper_that_fails_once_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given claims whose first renewal is refused: no right to a command, a demoted master
    class Claims(_Claims):
        renewed = 0

        async def renew(self) -> None:
            self.renewed += 1
            if self.renewed == 1:
                raise SettingsError(["REDIS_USERNAME: no right to evalsha"])
            again.set()

    again, claims, stop = asyncio.Event(), Claims(), asyncio.Event()
    said: list[tuple[str, Any]] = []
    log = SimpleNamespace(warning=lambda _text, **fields: said.append((fields["task"], fields["error"])))
    monkeypatch.setattr("common.background.log", log)
    # When a delivery is worked on meanwhile
    working = asyncio.create_task(_consumer(_Queue([_Delivery()]), _Replicator(0.1), claims).run(stop))
    # Then it is renewed again, and the log has the name of the task and the reason
    await asyncio.wait_for(again.wait(), 10)
    assert said == [("claims", "REDIS_USERNAME: no right to evalsha")]
    stop.set()
    await asyncio.wait_for(working, 10)
