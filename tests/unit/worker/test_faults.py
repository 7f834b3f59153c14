"""A delivery that ends by a fault of ours each time: it comes back later and later, and then it is reported, whole."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError

from common import report
from common.errors import QueueUnavailable, SettingsError
from tests.unit.worker.conftest import Delivered
from worker.consume import Consumer
from worker.faults import ATTEMPTS, LONGEST_DELAY, MOST_REMEMBERED, Faults
from worker.tally import Tally


class _Queue:
    lease = 60.0

    def __init__(self, *deliveries: Delivered) -> None:
        self._deliveries = deque(deliveries)
        self.drained = asyncio.Event()

    async def receive(self, _most: int, wait: float) -> list[Delivered]:
        if self._deliveries:
            return [self._deliveries.popleft()]
        self.drained.set()
        await asyncio.sleep(wait)
        return []


class _Broken:
    """A replicator whose every delivery ends by this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def replicate(self, _delivery: Delivered) -> None:
        raise self._error


class _Claims:
    async def renew(self) -> None:
        return


async def delivered(error: Exception, *deliveries: Delivered) -> None:
    """Through a consumer, until every delivery has ended."""
    queue, stop = _Queue(*deliveries), asyncio.Event()
    consumer = Consumer(
        cast("Any", queue), cast("Any", _Queue()), cast("Any", _Broken(error)), cast("Any", _Claims()), Tally(),
        slots=1, large_slots=1, large_bytes=1 << 40, grace_seconds=5, faults=Faults("worker-1"),
    )  # fmt: skip
    working = asyncio.create_task(consumer.run(stop))
    await queue.drained.wait()
    stop.set()
    await working


async def test_what_breaks_us_each_time_is_put_off_and_then_reported() -> None:
    # Given a message at which a script of Redis stops each time, and deliveries of it and of another one
    deliveries = [Delivered(b"breaks us") for _ in range(ATTEMPTS)]
    other = Delivered(b"another")

    # When they come one after the other
    await delivered(ResponseError("WRONGTYPE"), *deliveries[:-1], other, deliveries[-1])

    # Then it went back for longer and longer, and the last time to the error topic, as it came; the other has its own count
    assert [each.fate for each in deliveries] == [["nack"]] * (ATTEMPTS - 1) + [["reject"]]
    delays = [each.delay for each in deliveries[:-1]]
    assert delays == sorted(delays)
    assert 0 < delays[0] < delays[-1] <= LONGEST_DELAY
    found = report.decode(deliveries[-1].report)
    assert (found.category, found.payload, found.attempts) == ("internal", b"breaks us", ATTEMPTS)
    assert "WRONGTYPE" in found.message
    assert other.fate == ["nack"]


@pytest.mark.parametrize("error", [QueueUnavailable("away"), SettingsError(["Redis forbids it"])])
async def test_no_message_is_to_blame_for_what_is_away_or_refuses_us(error: Exception) -> None:
    deliveries = [Delivered(b"task") for _ in range(2 * ATTEMPTS)]
    await delivered(error, *deliveries)
    assert [each.fate for each in deliveries] == [[]] * 2 * ATTEMPTS


async def test_only_so_many_are_remembered() -> None:
    # Given more messages than are remembered
    faults = Faults("worker-1", attempts=2)
    for number in range(MOST_REMEMBERED + 1):
        await faults.handle(Delivered(str(number).encode()), ValueError("no"))

    # When the first and the last come again
    first, last = Delivered(b"0"), Delivered(str(MOST_REMEMBERED).encode())
    await faults.handle(first, ValueError("no"))
    await faults.handle(last, ValueError("no"))

    # Then the first is new, and the last is known
    assert (first.fate, last.fate) == (["nack"], ["reject"])
