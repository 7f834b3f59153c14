"""Neither kind of object starves the other, whichever comes first and however many there are; on a clock that leaps."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import QueueUnavailable
from common.objects import StoredObject, Version
from common.task import Form, Task, encode
from tests.unit.worker.traffic import PART, Claims, Delivery, Queue, large, moved, small
from worker.consume import Consumer
from worker.lanes import Lane, lane_of
from worker.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HUGE = 5_000
"""Parts: hours of work."""
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_huge_objects_do_not_hold_up_small_ones() -> None:
    # Given small objects, and the time that they take when there is nothing else
    alone = moved(small(600)).seconds("small")
    # When more huge ones than there are slots are in front of them
    beside = moved(large(40, HUGE) + small(600), until="small", seconds=60)
    # Then the small ones arrive as if they were alone
    assert beside.arrived("small") == 600
    assert beside.seconds("small") < 1.5 * alone
    # And in one lane not one of them would have, in as long a time
    assert moved(large(40, HUGE) + small(600), until="small", seconds=60, lanes=False).arrived("small") == 0


def test_a_flood_of_small_objects_does_not_hold_up_large_ones() -> None:
    # Given large objects, and the time that they take when there is nothing else
    alone = moved(large(20, 4)).seconds("large")
    # When more small objects than can be moved in that time stand in front of them and behind them
    beside = moved(small(1000) + large(20, 4) + small(15_000), until="large", seconds=600)
    # Then the large ones have at least their three quarters, and small ones arrived all the while
    assert beside.arrived("large") == 20
    assert beside.seconds("large") < 2 + alone / 0.7
    assert beside.arrived("small", until=beside.seconds("large")) > 8000


def test_large_objects_alone_take_no_longer_than_in_one_lane() -> None:
    # Given many large objects and nothing else
    objects = large(60, 4)
    # When they are moved in their lane, and where they may have every slot
    lane, every_slot = moved(objects), moved(objects, lanes=False)
    # Then it makes no difference: their bytes are what there is to wait for
    assert lane.arrived("large") == every_slot.arrived("large") == 60
    assert lane.seconds("large") < 1.1 * every_slot.seconds("large")


def test_a_worker_holds_no_more_large_tasks_than_it_works_on() -> None:
    # Given more large objects than a worker has room for
    # When it has seen all of them and is told to stop
    traffic = moved(large(40, 40), seconds=5, large_slots=8)
    # Then it has begun as many as it has room for, and left the others where every worker finds them
    assert len(traffic.begun) == 8
    assert (len(traffic.queue.payloads), len(traffic.lane.payloads)) == (0, 32)
    assert traffic.held == 0


@settings(deadline=None)
@given(st.text(st.characters(), min_size=1), st.integers(0, 2**63), st.sampled_from([None, NOW]))
def test_the_size_is_found_in_every_task(key: str, size: int, modified: datetime | None) -> None:
    # Given a task with any key, also one that looks like part of a task
    for name in (key, f'{key},"size":1,"modified":{key}', f'"size":{key}'):
        single = encode(Task("photos", name, Version("v"), size, modified, name, "job", 1, NOW))
        (many,) = Form("photos", "job", NOW).filled([StoredObject(name, size, Version("v"), modified)], 1, str)
        # When everything above, or everything below its size is large
        # Then it is in the right lane, whoever wrote it
        for payload in (single, many):
            assert lane_of(payload, size) is Lane.SMALL
            assert size == 0 or lane_of(payload, size - 1) is Lane.LARGE


def test_what_cannot_be_read_is_not_held_up() -> None:
    for payload in (b"", b"\xff", b'{"size": "large"}'):
        assert lane_of(payload, 0) is Lane.SMALL


async def test_a_large_task_is_forgotten_only_when_it_has_been_handed_on() -> None:
    # Given a lane that is away at first
    lane, stop = _AwayAtFirst(), asyncio.Event()
    queue = Queue(deque([*large(1), *small(1)]))
    delivered = queue.delivered
    consumer = Consumer(
        cast("Any", queue),
        cast("Any", lane),
        cast("Any", _Mover()),
        cast("Any", Claims()),
        Tally(),
        slots=4,
        large_slots=1,
        large_bytes=PART,
        grace_seconds=1,
    )
    working = asyncio.create_task(consumer.run(stop))
    # When a large task cannot be handed on
    async with asyncio.timeout(5):
        await lane.asked.wait()
        # Then it is left to come back, and the worker goes on
        await _until(lambda: [it.acknowledged for it in delivered] == [False, True])
        # And when it comes again, it is handed on and forgotten
        queue.payloads += large(1)
        await queue.send([])
        await _until(lambda: len(delivered) == 3 and delivered[2].acknowledged)
    assert not delivered[0].acknowledged
    stop.set()
    await working


async def _until(met: Callable[[], bool]) -> None:
    while not met():  # noqa: ASYNC110 - what is waited for is state of the doubles
        await asyncio.sleep(0.001)


class _AwayAtFirst(Queue):
    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def send(self, messages: Sequence[bytes]) -> None:
        if not self.asked.is_set():
            self.asked.set()
            raise QueueUnavailable("Redis is away")
        await super().send(messages)


class _Mover:
    async def replicate(self, delivery: Delivery) -> None:
        await delivery.ack()
