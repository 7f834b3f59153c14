"""What the conformance suite of the queues works with: queues on a topic of the test's own, and a worker to be killed.

Where a lease is to run out, it is a second long, which the settings would refuse; elsewhere it is long enough for any machine.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.config import QueueSettings, RedisSettings, Settings
from common.queues.registry import open_errors, open_queue

if TYPE_CHECKING:
    import contextlib

    from common.queues.base import Delivery, Queue

BRIEF = 1.0
LONG = 20.0
ODD_PAYLOADS = [
    b"",
    b" ",
    b"\x00",
    b"\n",
    b"1 2 3",
    b'{"schema":',
    "süß 🪣".encode(),
    b"\xff\xfe",
    bytes(range(256)),
    b"x" * 1_000_000,
]
"""What nobody should send."""


def settings_for(kind: str, address: str, name: str, lease: float) -> Settings:
    queue = QueueSettings(
        kind="redis" if kind == "redis" else "pubsub",
        project="test",
        topic=name,
        emulator_host=address if kind == "pubsub" else None,
    ).model_copy(update={"lease_seconds": lease})
    return Settings(queue=queue, redis=RedisSettings(address=address, prefix=name))


@dataclass
class Place:
    """A topic of the test's own, and the queues that the test has opened on it."""

    kind: str
    address: str
    name: str
    stack: contextlib.AsyncExitStack

    async def queue(self, lease: float = LONG) -> Queue:
        queue = await open_queue(settings_for(self.kind, self.address, self.name, lease))
        self.stack.push_async_callback(queue.close)
        return queue

    async def errors(self, lease: float = LONG) -> Queue:
        queue = await open_errors(settings_for(self.kind, self.address, self.name, lease))
        self.stack.push_async_callback(queue.close)
        return queue


async def is_empty(*queues: Queue) -> bool:
    """Nothing waits, is leased or delayed. Where the queue cannot say, nothing comes although every brief lease has run out."""
    left = await asyncio.gather(*(queue.backlog() for queue in queues))
    if None not in left:
        return not any(left)
    return not any(await asyncio.gather(*(queue.receive(10, BRIEF + 0.5) for queue in queues)))


def numbered(count: int) -> list[bytes]:
    return [b"message %d" % number for number in range(count)]


async def collect(queue: Queue, count: int, within: float, *, most: int = 100, ack: bool = True) -> list[Delivery]:
    """Deliveries until there are `count` of them or the time is over."""
    end = time.monotonic() + within
    got: list[Delivery] = []
    while len(got) < count and (left := end - time.monotonic()) > 0:
        more = await queue.receive(min(most, count - len(got)), left)
        got += more
        if ack:
            await asyncio.gather(*(delivery.ack() for delivery in more))
    return got


async def one(queue: Queue, within: float = 8.0) -> Delivery:
    got = await collect(queue, 1, within, ack=False)
    assert got, "nothing came"
    return got[0]


def payloads(deliveries: list[Delivery]) -> Counter[bytes]:
    return Counter(delivery.payload for delivery in deliveries)


async def hold(kind: str, address: str, name: str) -> None:
    """Runs in a process of its own: takes everything, says so, and never ends a delivery."""
    queue = await open_queue(settings_for(kind, address, name, BRIEF))
    held = await collect(queue, 20, 10, ack=False)
    sys.stdout.write(f"{len(held)}\n")
    sys.stdout.flush()
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(hold(*sys.argv[1:]))
