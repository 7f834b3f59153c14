"""The queue on Google Pub/Sub, spoken to with unary calls through the async clients.

Unary pull and not a streaming one: it takes what there are free slots for and nothing more, so that no message sits leased in a
buffer, and a worker that dies holds on to nothing but what it was working on. Whoever holds a delivery extends its lease.
An acknowledgement that comes too late does no harm: the message is delivered again, and the receipt says that the work is done.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import AcknowledgeRequest, ModifyAckDeadlineRequest, PublishRequest, PullRequest, PullResponse

from common.batching import Batcher
from common.errors import QueueUnavailable, SettingsError
from common.queues.base import check_size
from common.queues.outage import Outage, describe
from common.queues.pubsub_resources import (
    CALL_TIMEOUT,
    DENIED,
    LONGEST_DEADLINE,
    Names,
    Resources,
    connect,
)
from common.queues.pulling import Pulling
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from common.config import Settings

log = get_logger(__name__)

MOST_PER_PUBLISH = 1000
BYTES_PER_PUBLISH = 9_000_000
"""Pub/Sub takes requests of up to 10 MB; the rest is room for what wraps each message."""
PUBLISHES_UNDER_WAY = 4
MOST_PER_PULL = 1000
ANSWER_TIME = 1.0
"""Seconds that a pull may take beyond the wait. The service knows our deadline and answers "none" about this long before it, so
that no message is on the way to a caller who has given up."""
EMPTY_PAUSE = 0.2
"""Seconds between empty pulls: how long an empty one waits for messages is the service's own choice, it may be no time at all."""
MOST_IDS = 1000
"""Ack ids per request. They are about 200 bytes long, a request may have 512 KiB."""
CLOSE_PATIENCE = 3.0
_EMPTY = "empty"
"""Pub/Sub refuses a message with neither data nor attributes, so an empty one carries this attribute."""

_PASSING = (
    exceptions.Aborted,
    exceptions.Cancelled,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ResourceExhausted,
    exceptions.ServiceUnavailable,
    exceptions.Unknown,
)


def passes(error: Exception) -> bool:
    return isinstance(error, _PASSING)


class PubSubDelivery:
    """See common.queues.base.Delivery."""

    __slots__ = ("_ack_id", "_queue", "attempt", "payload")

    def __init__(self, queue: PubSubQueue, ack_id: str, attempt: int, payload: bytes) -> None:
        self._queue = queue
        self._ack_id = ack_id
        self.attempt = attempt
        self.payload = payload

    async def ack(self) -> None:
        await self._queue.acks.add(self._ack_id)

    async def nack(self, delay: float = 0.0) -> None:
        await self._queue.deadlines.add((self._ack_id, math.ceil(min(max(delay, 0), LONGEST_DEADLINE))))

    async def reject(self, report: bytes) -> None:
        check_size([report])
        await self._queue.reports.add(report)
        await self.ack()

    async def extend(self) -> None:
        await self._queue.deadlines.add((self._ack_id, math.ceil(self._queue.lease)))


class PubSubQueue:
    """See common.queues.base.Queue. `open` makes one. The batchers are for its deliveries.

    `ensure` makes topic and subscription where they are missing and tells the ack deadline that the subscription gives; told to,
    it also replaces a subscription whose topic was deleted.
    """

    def __init__(
        self,
        publisher: PublisherAsyncClient,
        subscriber: SubscriberAsyncClient,
        names: Names,
        *,
        lease: float,
        outage: Outage,
        ensure: Callable[[bool], Awaitable[float]],
        disconnect: Callable[[], Awaitable[None]],
    ) -> None:
        self.lease = lease
        self.acks: Batcher[str, None] = Batcher(self._acknowledge, most=MOST_IDS, under_way=2)
        self.deadlines: Batcher[tuple[str, int], None] = Batcher(self._modify_deadlines, most=MOST_IDS, under_way=2)
        self.reports: Batcher[bytes, None] = Batcher(self._report, most=MOST_PER_PUBLISH, under_way=2)
        self._pulling = Pulling(self._pull)
        self._publisher = publisher
        self._subscriber = subscriber
        self._names = names
        self._outage = outage
        self._ensure = ensure
        self._disconnect = disconnect
        self._given = 0.0
        self._closed = False

    @staticmethod
    async def open(settings: Settings, *, errors: bool = False) -> PubSubQueue:
        """The queue of the tasks, or the errors' own. Raises QueueUnavailable, SettingsError."""
        names, channel = connect(settings)
        publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
        subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
        outage = Outage("Pub/Sub", passes)
        resources = Resources(publisher, subscriber, outage)
        lease = settings.queue.lease_seconds

        async def ensure(mend: bool) -> float:  # noqa: FBT001 - of this one caller
            # Never the errors' own: reports are in no sweep, and have to be read before their subscription is deleted.
            given = await resources.ensure(names.error_topic, names.error_subscription, deadline=lease)
            if not errors:
                given = await resources.ensure(names.topic, names.subscription, deadline=lease, mend=mend)
            return given

        own = Names(names.error_topic, names.error_subscription, names.error_topic, names.error_subscription) if errors else names
        queue = PubSubQueue(publisher, subscriber, own, lease=lease, outage=outage, ensure=ensure, disconnect=channel.close)
        try:
            queue._given = await ensure(False)
        except BaseException:
            await channel.close()
            raise
        return queue

    async def send(self, messages: Sequence[bytes]) -> None:
        await self._publish(self._names.topic, messages)

    async def receive(self, most: int, wait: float) -> Sequence[PubSubDelivery]:
        return await self._pulling.receive(most, wait) if most > 0 else []

    async def backlog(self) -> int | None:
        """Pub/Sub tells only Cloud Monitoring, and minutes late."""
        return None

    async def check(self) -> None:
        """See common.queues.base.Checked."""
        try:
            self._given = await self._ensure(True)
        except exceptions.GoogleAPICallError as error:
            raise QueueUnavailable(f"Pub/Sub answers with an error: {describe(error)}") from error

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_PATIENCE):
                await self._pulling.close()
                for batcher in (self.reports, self.acks, self.deadlines):
                    await batcher.drain()
        except TimeoutError:
            log.info("left the queue without a word", action="queue_left")
        finally:
            await self._disconnect()

    async def _pull(self, most: int, wait: float) -> list[PubSubDelivery]:
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            taken = await self._pull_once(min(most, MOST_PER_PULL), max(0.0, end - loop.time()))
            left = end - loop.time()
            if taken or left <= 0:
                return taken
            await asyncio.sleep(min(left, EMPTY_PAUSE))

    async def _pull_once(self, most: int, wait: float) -> list[PubSubDelivery]:
        request = PullRequest(subscription=self._names.subscription, max_messages=most)

        async def pull() -> Any:
            try:
                return await self._subscriber.pull(request=request, retry=None, timeout=wait + ANSWER_TIME)
            except exceptions.DeadlineExceeded:
                return PullResponse()

        answer = await self._call(pull, self._names.subscription, "roles/pubsub.subscriber")
        deliveries = [
            PubSubDelivery(self, received.ack_id, max(1, received.delivery_attempt), received.message.data)
            for received in PullResponse.pb(answer).received_messages
        ]
        if self._given != self.lease:
            await _all([delivery.extend() for delivery in deliveries])
        return deliveries

    async def _publish(self, topic: str, messages: Sequence[bytes]) -> None:
        async def publish(batch: Sequence[bytes]) -> None:
            request = _publish_request(topic, batch)
            answer = await self._call(
                lambda: self._publisher.publish(request=request, retry=None, timeout=CALL_TIMEOUT),
                topic,
                "roles/pubsub.publisher",
            )
            if len(answer.message_ids) != len(batch):
                raise QueueUnavailable(f"Pub/Sub confirmed {len(answer.message_ids)} of {len(batch)} messages")

        check_size(messages)
        batches = list(_batches(messages))
        for start in range(0, len(batches), PUBLISHES_UNDER_WAY):
            await _all([publish(batch) for batch in batches[start : start + PUBLISHES_UNDER_WAY]])

    async def _report(self, reports: Sequence[bytes]) -> list[None]:
        await self._publish(self._names.error_topic, reports)
        return [None] * len(reports)

    async def _acknowledge(self, ids: Sequence[str]) -> list[None]:
        request = AcknowledgeRequest(subscription=self._names.subscription, ack_ids=ids)
        await self._settle(self._subscriber.acknowledge, request)
        return [None] * len(ids)

    async def _modify_deadlines(self, items: Sequence[tuple[str, int]]) -> list[None]:
        ids = defaultdict(list)
        for ack_id, seconds in items:
            ids[seconds].append(ack_id)
        subscription = self._names.subscription
        requests = [
            ModifyAckDeadlineRequest(subscription=subscription, ack_ids=these, ack_deadline_seconds=seconds)
            for seconds, these in ids.items()
        ]
        await _all([self._settle(self._subscriber.modify_ack_deadline, request) for request in requests])
        return [None] * len(items)

    async def _settle(self, method: Callable[..., Awaitable[Any]], request: Any) -> None:
        async def settle() -> None:
            try:
                await method(request=request, retry=None, timeout=CALL_TIMEOUT)
            except (exceptions.InvalidArgument, exceptions.FailedPrecondition) as error:
                # How a subscription with exactly-once delivery says that a lease had run out; the request's other ids are served.
                log.info("settled too late, the message comes again", action="queue_late", error=describe(error))

        await self._call(settle, self._names.subscription, "roles/pubsub.subscriber")

    async def _call(self, call: Callable[[], Awaitable[Any]], resource: str, role: str) -> Any:
        """Through outages, and over a topic or subscription that is gone: deleted, or an emulator that has started afresh."""
        try:
            try:
                return await self._outage.through(call)
            except exceptions.NotFound:
                log.warning("it is gone from Pub/Sub, making it anew", action="queue_made_anew", name=resource)
                self._given = await self._ensure(False)
                return await self._outage.through(call)
        except DENIED as error:
            raise SettingsError([f"Pub/Sub refuses this identity at {resource}: grant it {role} ({describe(error)})"]) from error
        except exceptions.NotFound as error:
            raise SettingsError([f"{resource} does not exist: create it, or grant roles/pubsub.editor"]) from error
        except exceptions.GoogleAPICallError as error:
            raise QueueUnavailable(f"Pub/Sub answers a call for {resource} with an error: {describe(error)}") from error


def _publish_request(topic: str, messages: Sequence[bytes]) -> PublishRequest:
    """Filled beneath the wrapper of google-cloud-pubsub, which would cost more than the sending."""
    request = PublishRequest(topic=topic)
    wire = PublishRequest.pb(request).messages
    for message in messages:
        if message:
            wire.add(data=message)
        else:
            wire.add(attributes={_EMPTY: "1"})
    return request


def _batches(messages: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Runs of messages that fit into one request, by number and by size."""
    start = size = 0
    for index, message in enumerate(messages):
        if index > start and (index - start == MOST_PER_PUBLISH or size + len(message) > BYTES_PER_PUBLISH):
            yield messages[start:index]
            start, size = index, 0
        size += len(message)
    if start < len(messages):
        yield messages[start:]


async def _all(calls: Sequence[Awaitable[None]]) -> None:
    """Wait for every one, then raise what the first to fail raised."""
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
