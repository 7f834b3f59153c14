"""Large and small objects on their way through one worker, on a clock that leaps: the consumer, the budget and the transfer
are the real ones; the queues and both stores answer after as many seconds as their doubles are told.

Sizes are a thousandth of the usual ones: parts of 16 KiB, a budget of four.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from common.objects import Headers, StoredObject, Version
from common.steps import ignore
from common.storage.base import Absent, Content, Limits, PartReceipt
from common.task import Task, decode, encode
from tests.unit import clockwork
from worker.budget import Budget
from worker.consume import Consumer
from worker.plan import plan
from worker.tally import Tally
from worker.transfer import Transfer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import Span
    from common.storage.base import Body, Precondition

KIB = 1024
PART = 16 * KIB
SMALL = 64
ANSWER = 0.03
"""Seconds that a request takes, however small."""
BANDWIDTH = 32 * KIB
"""Bytes a second in one request: half a second for a part."""
SLOTS = 32
LIMITS = Limits(largest_object=1 << 50, largest_put=1 << 40, parallel_parts=True)


async def _carry(count: int) -> None:
    await asyncio.sleep(ANSWER + count / BANDWIDTH)


class Reader:
    limits = LIMITS

    async def stat(self, key: str) -> StoredObject:
        await _carry(0)
        return StoredObject(key, int(key.partition("-")[0]), Version("v"))

    async def read(self, key: str, span: Span | None, _version: Version) -> Content:
        size = int(key.partition("-")[0])
        count = size if span is None else len(span)
        await _carry(count)
        return Content(StoredObject(key, size, Version("v")), bytes(count))


class Writer:
    limits = LIMITS
    token = "upload"

    async def put(self, key: str, body: Body, _precondition: Precondition) -> StoredObject:
        await _carry(len(body.data))
        return StoredObject(key, len(body.data), Version("w"))

    async def begin(self, _key: str, _size: int, _headers: Headers, _precondition: Precondition) -> Writer:
        await _carry(0)
        return self

    async def part(self, number: int, _offset: int, data: bytes, crc32c: int) -> PartReceipt:
        await _carry(len(data))
        return PartReceipt(number, len(data), crc32c)

    async def complete(self, _receipts: Sequence[PartReceipt], _crc32c: int) -> StoredObject:
        await _carry(0)
        return StoredObject("large", 0, Version("w"))


class Uploads:
    async def find(self, _route: str, _key: str) -> None:
        return

    async def begun(self, *_: object) -> None:
        return

    arrived = forget = begun


@dataclass(eq=False)
class Delivery:
    queue: Queue
    payload: bytes
    attempt: int = 1
    acknowledged: bool = False

    async def ack(self) -> None:
        self.acknowledged = True

    async def nack(self, _delay: float = 0.0) -> None:
        return

    async def extend(self) -> None:
        return


@dataclass
class Queue:
    payloads: deque[bytes] = field(default_factory=deque)
    delivered: list[Delivery] = field(default_factory=list)
    lease: float = 60.0
    _come: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, messages: Sequence[bytes]) -> None:
        await asyncio.sleep(0.001)
        self.payloads += messages
        self._come.set()

    async def receive(self, most: int, wait: float) -> list[Delivery]:
        assert most > 0
        await asyncio.sleep(0.001)
        if not self.payloads:
            self._come.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._come.wait(), wait)
        taken = [Delivery(self, self.payloads.popleft()) for _ in range(min(most, len(self.payloads)))]
        self.delivered += taken
        return taken


class Claims:
    async def renew(self) -> None:
        return


@dataclass
class Replicator:
    """Moves what it is given with a real transfer."""

    transfer: Transfer
    begun: list[str] = field(default_factory=list)
    ended: dict[str, float] = field(default_factory=dict)

    async def replicate(self, delivery: Delivery) -> None:
        task = decode(delivery.payload)
        self.begun.append(task.key)
        await self.transfer.move(task, plan(task.key, task.size, LIMITS, PART), Absent())
        self.ended[task.key] = asyncio.get_running_loop().time()


@dataclass
class Traffic:
    """What became of it. `ended` has the time of each object's end, `held` the bytes paid for after the end."""

    queue: Queue
    lane: Queue
    begun: list[str]
    ended: dict[str, float]
    held: int

    def seconds(self, kind: str) -> float:
        return max(at for key, at in self.ended.items() if kind in key)

    def arrived(self, kind: str, until: float = 1e9) -> int:
        return sum(kind in key and at <= until for key, at in self.ended.items())


def large(count: int, parts: int = 8) -> list[bytes]:
    return [task(f"{parts * PART}-large-{number}", parts * PART) for number in range(count)]


def small(count: int) -> list[bytes]:
    return [task(f"{SMALL}-small-{number}", SMALL) for number in range(count)]


def task(key: str, size: int) -> bytes:
    made = datetime(2026, 11, 21, tzinfo=UTC)
    return encode(Task("photos", key, Version("v"), size, None, "memory://to", "job", 0, made))


def moved(
    payloads: Sequence[bytes],
    *,
    until: str = "",
    seconds: float = 3600,
    lanes: bool = True,
    large_slots: int = 8,
) -> Traffic:
    """Work until every object of the kind `until` has arrived (all kinds: ""), at most so many seconds; then stop in order.
    Without `lanes` every object counts as a small one, as far as slots are concerned.
    """

    async def run() -> Traffic:
        loop = asyncio.get_running_loop()
        queue, lane = Queue(deque(payloads)), Queue()
        budget = Budget(4 * PART, loop.time)
        transfer = Transfer(cast("Any", Reader()), cast("Any", Writer()), cast("Any", Uploads()), budget, ignore)
        replicator = Replicator(transfer)
        consumer = Consumer(
            cast("Any", queue),
            cast("Any", lane),
            cast("Any", replicator),
            cast("Any", Claims()),
            Tally(),
            slots=SLOTS,
            large_slots=large_slots,
            large_bytes=PART if lanes else 1 << 60,
            grace_seconds=30,
        )
        stop = asyncio.Event()
        working = asyncio.create_task(consumer.run(stop))
        wanted = sum(until in decode(payload).key for payload in payloads)
        while loop.time() < seconds and sum(until in key for key in replicator.ended) < wanted:
            await asyncio.wait({working}, timeout=0.1)
        stop.set()
        ended = dict(replicator.ended)
        await working
        return Traffic(queue, lane, replicator.begun, ended, budget.held)

    return clockwork.run(run())
