"""The queue on Redis Streams: for one machine, and for fleets without Google Cloud.

A message is a stream entry; the consumer group's pending list holds the leases, a lease being the time since the entry was last
handed out or extended. What several commands must do together is a script in `scripts/`; the time is the server's, so that
workers' clocks do not matter. A settled entry is deleted, so the stream holds what is not acknowledged and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from common.batching import Batcher
from common.cancelling import heed
from common.errors import QueueUnavailable, SettingsError
from common.queues.base import Kept, check_size
from common.queues.outage import Outage, describe
from common.queues.pulling import Pulling
from common.report import subject
from common.state.connection import connect, leave_server
from common.state.trouble import ELSEWHERE, PASSING, REFUSED, Asked, explained, trouble
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from typing import TypeVar

    from redis.asyncio import Redis

    from common.config import Settings

    Result = TypeVar("Result")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keys:
    """Every Redis key of the queues. None expires. One hash tag keeps them on one node of a cluster, as the scripts need.

    stream   stream  {entry: payload, and attempts where it was handed back before}; one consumer group, the subscription
    delayed  zset    {"<attempts> <id> <payload>": due, unix ms}
    errors   stream  the rejected: the `stream` of the errors queue; one entry for each object and route, with `times` and `first`
    subjects hashes  1,024 of them, SUBJECTS:N: {what a report is about: its entry}
    """

    stream: str
    delayed: str
    errors: str
    subjects: str

    @staticmethod
    def of(prefix: str, topic: str, error_topic: str) -> Keys:
        base = f"{prefix}:{{queue}}"
        return Keys(
            f"{base}:{topic}:stream", f"{base}:{topic}:delayed", f"{base}:{error_topic}:stream", f"{base}:{error_topic}:subjects"
        )


SEND_AT_ONCE = 1000
SEND_BYTES_AT_ONCE = 8_000_000
SETTLE_AT_ONCE = 500
LONGEST_BLOCK = 5.0
"""Seconds. Bounds how late an expired lease is noticed, and stays far below the socket's own timeout."""
SOCKET_TIMEOUT = 15.0
GONE_AFTER = 3600.0
"""Seconds of silence after which a consumer that holds nothing is removed from the group."""
CLOSE_PATIENCE = 3.0

_GROUP_GONE = re.compile(r"(^|-)NOGROUP |no such key")
"""Redis 6 wraps what a script ran into in an error of its own, with the code in its middle."""
_SCRIPTS = Path(__file__).parent / "scripts"


def passes(error: Exception) -> bool:
    """Away, starting, full or failing over. Full (OOM) passes when the workers have drained something."""
    return trouble(error) in PASSING


class RedisDelivery:
    """See common.queues.base.Delivery. `count` is the pending list's delivery count: it tells a lease from a later one."""

    __slots__ = ("_count", "_id", "_queue", "attempt", "payload")

    def __init__(self, queue: RedisQueue, entry: bytes, count: int, attempt: int, payload: bytes) -> None:
        self._queue = queue
        self._id = entry
        self._count = count
        self.attempt = attempt
        self.payload = payload

    async def ack(self) -> None:
        await self._queue.settle("ack", self._id, self._count)

    async def nack(self, delay: float = 0.0) -> None:
        await self._queue.settle("nack", self._id, self._count, str(round(min(max(delay, 0.0), 600.0) * 1000)).encode())

    async def reject(self, report: bytes) -> None:
        check_size([report])
        await self._queue.settle("reject", self._id, self._count, subject(report) + report)

    async def extend(self) -> None:
        await self._queue.settle("extend", self._id, self._count)


class RedisQueue:
    """See common.queues.base.Queue. Owns its connections; `open` makes one."""

    def __init__(self, redis: Redis, keys: Keys, *, group: str, lease: float, keep_seconds: float = 30 * 86400.0) -> None:
        self.lease = lease
        self._keep_seconds = keep_seconds
        self._redis = redis
        self._keys = keys
        self._counted = [keys]
        self._group = group
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._outage = Outage("the queue in Redis", self._passes, describe=self._explained)
        self._served = False
        self._send_script = redis.register_script((_SCRIPTS / "send.lua").read_bytes())
        self._take_script = redis.register_script((_SCRIPTS / "take.lua").read_bytes())
        filing = (_SCRIPTS / "_file.lua").read_bytes()
        self._settle_script = redis.register_script(filing + (_SCRIPTS / "settle.lua").read_bytes())
        self._report_script = redis.register_script(filing + (_SCRIPTS / "send_reports.lua").read_bytes())
        self._drop_script = redis.register_script(filing + (_SCRIPTS / "drop_reports.lua").read_bytes())
        self._leave_script = redis.register_script((_SCRIPTS / "leave.lua").read_bytes())
        self._settling: Batcher[tuple[str, bytes, int, bytes], None] = Batcher(self._settle, most=SETTLE_AT_ONCE, under_way=2)
        self._pulling = Pulling(self._pull)
        self._look_every = min(lease / 4, LONGEST_BLOCK)
        self._look_again = 0.0
        self._cursor = "0-0"
        self._tidy_again = 0.0
        self._closed = False

    @staticmethod
    async def open(settings: Settings, *, errors: bool = False, large: bool = False) -> RedisQueue:
        """The queue of the tasks, that of the large ones among them, or the errors' own; its group is made if missing. Raises
        QueueUnavailable, SettingsError.
        """
        names = settings.queue
        topic, group = (names.error_topic, names.error_subscription) if errors else (names.topic, names.subscription)
        prefix, lane = settings.redis.prefix, f"{names.topic}-large"
        keys = Keys.of(prefix, lane if large else topic, names.error_topic)
        redis = connect(settings.redis, answer_seconds=SOCKET_TIMEOUT)
        queue = RedisQueue(redis, keys, group=group, lease=names.lease_seconds, keep_seconds=names.error_retention_seconds)
        if not (errors or large):
            queue._counted.append(Keys.of(prefix, lane, names.error_topic))
        try:
            await queue._call(queue._make_group)
        except BaseException:
            await redis.aclose()
            raise
        return queue

    async def send(self, messages: Sequence[bytes]) -> None:
        check_size(messages)
        if self._keys.stream == self._keys.errors:
            await self._send_reports(messages)
            return
        for batch in _batches(messages):
            await self._call(partial(self._send_script, keys=[self._keys.stream], args=batch))

    async def _send_reports(self, reports: Sequence[bytes]) -> None:
        keys = [self._keys.stream, self._keys.subjects]
        for batch in _batches([subject(report) + report for report in reports]):
            await self._call(partial(self._report_script, keys=keys, args=batch))

    async def pages(self, most: int) -> AsyncIterator[Sequence[Kept]]:
        """See common.queues.base.Browsable."""

        async def read(start: str, end: Any) -> Any:
            return await self._redis.xrange(self._keys.stream, min=start, max=end, count=most)

        newest = await self._call(lambda: self._redis.xrevrange(self._keys.stream, count=1))
        start: str = "-"
        while newest and (found := await self._call(partial(read, start, newest[0][0]))):
            start = f"({found[-1][0].decode()}"
            yield [_kept(entry, fields) for entry, fields in found]

    async def drop(self, ids: Sequence[str]) -> None:
        """See common.queues.base.Browsable."""
        keys = [self._keys.errors, self._keys.subjects]
        for start in range(0, len(ids), SEND_AT_ONCE):
            await self._call(partial(self._drop_script, keys=keys, args=["", *ids[start : start + SEND_AT_ONCE]]))

    async def _expire(self) -> None:
        """Take off what has been there, without being reported again, for longer than reports are kept."""
        oldest = f"{round((time.time() - self._keep_seconds) * 1000)}-0"
        keys = [self._keys.errors, self._keys.subjects]
        while await self._call(partial(self._drop_script, keys=keys, args=[oldest])):
            continue

    async def receive(self, most: int, wait: float) -> Sequence[RedisDelivery]:
        return await self._pulling.receive(most, wait) if most > 0 else []

    async def backlog(self) -> int | None:
        """Large tasks are still tasks, also when they wait in their own lane."""

        async def count() -> int:
            pipeline = self._redis.pipeline(transaction=False)
            for keys in self._counted:
                pipeline.xlen(keys.stream)
                pipeline.zcard(keys.delayed)
            return sum(await pipeline.execute())

        return await self._call(count)

    async def check(self) -> None:
        """See common.queues.base.Checked. A group that is made anew begins with what is on the stream."""

        async def look() -> bool:
            try:
                groups = await self._redis.xinfo_groups(self._keys.stream)
            except ResponseError as error:
                if not _GROUP_GONE.search(str(error)):
                    raise
                return False
            return self._group.encode() in [group["name"] for group in groups]

        if not await self._call(look):
            log.warning("the consumer group is gone from Redis, making it anew", action="queue_group_made", group=self._group)
            await self._call(self._make_group)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_PATIENCE):
                await self._pulling.close()
                await self._settling.drain()
                await self._leave(self._consumer)
        except (TimeoutError, RedisError, OSError) as error:
            log.info("left the queue without a word", action="queue_left", error=describe(error))
        finally:
            await self._redis.aclose()

    async def settle(self, verb: str, entry: bytes, count: int, argument: bytes = b"") -> None:
        await self._settling.add((verb, entry, count, argument))

    async def _pull(self, most: int, wait: float) -> list[RedisDelivery]:
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            taken, due = await self._take(most)
            pause = min(end - loop.time(), self._look_every, due)
            if taken or end <= loop.time():
                return taken
            if pause > 0 and (taken := await self._wait(most, pause)):
                return taken

    async def _settle(self, items: Sequence[tuple[str, bytes, int, bytes]]) -> list[None]:
        """What takes room goes last: a full Redis refuses it, and what makes room must not wait behind it."""
        ordered = sorted(items, key=lambda item: item[0] in ("nack", "reject"))
        arguments: list[str | bytes | int] = [self._group, self._consumer, *(word for item in ordered for word in item)]
        keys = [self._keys.stream, self._keys.delayed, self._keys.errors, self._keys.subjects]
        await self._call(lambda: self._settle_script(keys=keys, args=arguments))
        return [None] * len(items)

    async def _take(self, most: int) -> tuple[list[RedisDelivery], float]:
        """What is there now, and the seconds until the next delayed message is due. Every `_look_every` seconds this walks the
        pending list for leases that have run out; a long list is walked over several calls.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._tidy_again:
            self._tidy_again = now + GONE_AFTER / 6
            await self._expire()
            await self._call(lambda: self._leave(""))
        looking = now >= self._look_again
        cursor = self._cursor if looking else ""
        arguments: list[str | int] = [self._group, self._consumer, most, round(self.lease * 1000), cursor]
        keys = [self._keys.stream, self._keys.delayed]
        entries, following, due = await self._call(lambda: self._take_script(keys=keys, args=arguments))
        if looking:
            self._cursor = following.decode()
            if self._cursor == "0-0":
                self._look_again = now + self._look_every
        return [self._delivery(*entry) for entry in entries], due / 1000 if due >= 0 else LONGEST_BLOCK

    async def _wait(self, most: int, pause: float) -> list[RedisDelivery]:
        """New messages as soon as they come. The call holds a connection of its own: acknowledgements do not wait behind it."""
        streams: dict[Any, Any] = {self._keys.stream: ">"}
        milliseconds = max(1, round(pause * 1000))

        async def read() -> Any:
            return await self._redis.xreadgroup(self._group, self._consumer, streams, count=most, block=milliseconds)

        answer = await self._call(read)
        return [self._delivery(entry, 1, _flat(fields)) for _, entries in answer for entry, fields in entries]

    def _delivery(self, entry: bytes, count: int, flat: Sequence[bytes]) -> RedisDelivery:
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        earlier = fields.get(b"attempts", b"0")
        payload = fields.get(b"payload")
        if payload is None:  # not sent by us: whoever reads the rejected message sees everything that was in it
            payload = b"\n".join(name + b"=" + value for name, value in fields.items())
        return RedisDelivery(self, entry, count, count + (int(earlier) if earlier.isdigit() else 0), payload)

    async def _call(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Through outages, and over a stream or group that is gone: after FLUSHALL, or a restart without persistence."""

        async def attempt() -> Result:
            try:
                result = await heed(call())
            except (RedisError, OSError) as error:
                if trouble(error) in ELSEWHERE:
                    await leave_server(self._redis)
                if not (isinstance(error, ResponseError) and _GROUP_GONE.search(str(error))):
                    raise
            else:
                self._served = True
                return result
            log.warning("the consumer group is gone from Redis, making it anew", action="queue_group_made", group=self._group)
            await self._make_group()
            return await call()

        try:
            return await self._outage.through(attempt)
        except RedisError as error:
            if trouble(error) in REFUSED:
                raise SettingsError([self._explained(error)]) from error
            raise QueueUnavailable(f"Redis answers a queue command with an error: {describe(error)}") from error

    def _passes(self, error: Exception) -> bool:
        """What is refused after it has worked is waited for as well: somebody may put it right, and no object is to blame."""
        return passes(error) or (self._served and trouble(error) in REFUSED)

    def _explained(self, error: Exception) -> str:
        return explained(error, Asked("a command of the queue", [self._keys.stream]))

    async def _make_group(self) -> None:
        """From the first entry on: what was sent before anybody listened counts too."""
        try:
            await self._redis.xgroup_create(self._keys.stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _leave(self, consumer: str) -> int:
        arguments: list[str | int] = [self._group, consumer, round(max(GONE_AFTER, 10 * self.lease) * 1000)]
        removed: int = await self._leave_script(keys=[self._keys.stream], args=arguments)
        return removed


def _batches(messages: Sequence[bytes]) -> Iterator[list[bytes]]:
    """In order. A batch has at most SEND_AT_ONCE messages, and more than SEND_BYTES_AT_ONCE only if it has but one."""
    batch: list[bytes] = []
    size = 0
    for message in messages:
        if batch and (len(batch) == SEND_AT_ONCE or size + len(message) > SEND_BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message)
    if batch:
        yield batch


def _kept(entry: bytes, fields: dict[bytes, bytes]) -> Kept:
    arrived = entry.partition(b"-")[0]
    return Kept(
        id=entry.decode(),
        payload=fields.get(b"payload", b""),
        times=int(fields.get(b"times", b"1")),
        first=int(fields.get(b"first", arrived)) / 1000,
    )


def _flat(fields: dict[bytes, bytes]) -> list[bytes]:
    return [word for pair in fields.items() for word in pair]
