"""What a queue on Google Pub/Sub stands on: a channel; topics and subscriptions, made where missing, checked where they exist.

Whoever opens the queue first makes both the topic and its subscription, because what is published to a topic without a
subscription is lost. Least privilege must work: an identity that may publish or subscribe but not look is believed here, and
learns at the first real call if it was wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1.types import ExpirationPolicy, Subscription, Topic

from common.errors import SettingsError, Unauthenticated
from common.queues.outage import describe
from common.queues.pubsub_identity import Identity, channel
from common.telemetry import get_logger
from common.transport.google import PUBSUB_SCOPE, identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient

    from common.config import Settings
    from common.queues.outage import Outage

log = get_logger(__name__)

SHORTEST_DEADLINE, LONGEST_DEADLINE = 10, 600
"""Seconds, of a subscription. A single message's may be set to anything up to the longest."""
RETENTION = Duration(seconds=7 * 24 * 3600)
"""The longest that the emulator takes, and Google's own default. A task that is lost to it is published again by a sweep."""
CALL_TIMEOUT = 30.0
DELETED = "_deleted-topic_"
"""The topic of a subscription whose topic is gone; also when there is a topic of that name again."""
HOST = "pubsub.googleapis.com:443"
_CHANNEL = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),  # by default two minutes, for which a service that is back would go unnoticed
)

DENIED = (exceptions.PermissionDenied, exceptions.Unauthenticated)
_CREATE_HINT = "grant roles/pubsub.editor to this identity, or create it beforehand"


@dataclass(frozen=True, slots=True)
class Names:
    """Full resource names: projects/PROJECT/topics/TOPIC, projects/PROJECT/subscriptions/SUBSCRIPTION."""

    topic: str
    subscription: str
    error_topic: str
    error_subscription: str


def connect(settings: Settings) -> tuple[Names, grpc.aio.Channel]:
    """Without TLS and credentials to an emulator; else with the identity that the settings name. Contacts nothing yet."""
    queue = settings.queue
    project = queue.project or settings.google.project
    own = None
    if not queue.emulator_host:
        try:
            own = Identity(partial(identity, settings.google, PUBSUB_SCOPE))
        except Unauthenticated as error:
            raise SettingsError([str(error)]) from error
        project = project or getattr(own.current, "project_id", None)
    if not project:
        raise SettingsError(["no Google Cloud project for Pub/Sub: set GCP_PROJECT_ID"])

    def full(kind: str, name: str) -> str:
        return name if name.startswith("projects/") else f"projects/{project}/{kind}/{name}"

    names = Names(
        topic=full("topics", queue.topic),
        subscription=full("subscriptions", queue.subscription),
        error_topic=full("topics", queue.error_topic),
        error_subscription=full("subscriptions", queue.error_subscription),
    )
    if own is None:
        return names, grpc.aio.insecure_channel(queue.emulator_host, options=_CHANNEL)
    return names, channel(HOST, own, _CHANNEL)


@dataclass(frozen=True, slots=True)
class Resources:
    """The two clients and the way through outages, for the time of opening a queue."""

    publisher: PublisherAsyncClient
    subscriber: SubscriberAsyncClient
    outage: Outage
    unchecked: set[str] = field(default_factory=set)
    """What we may not look at, and have said so."""

    async def ensure(self, topic: str, subscription: str, *, deadline: float, mend: bool = False) -> float:
        """Make what is missing. The answer is the subscription's own ack deadline in seconds; 0 where we may not look.

        With `mend` a subscription whose topic was deleted, or that was detached from it, is replaced: nothing that is published
        would ever reach it. What it still held is lost, and published again by a sweep.
        """
        await self._ensure_topic(topic)
        wanted = Subscription(
            name=subscription,
            topic=topic,
            ack_deadline_seconds=round(min(max(deadline, SHORTEST_DEADLINE), LONGEST_DEADLINE)),
            message_retention_duration=RETENTION,
            expiration_policy=ExpirationPolicy(),  # without a time: never; the default deletes a subscription idle for 31 days
        )
        found = await self._ensure_subscription(wanted, mend=mend)
        return 0.0 if found is None else float(found.ack_deadline_seconds)

    async def _ensure_topic(self, topic: str) -> None:
        try:
            await self._call(self.publisher.get_topic, request={"topic": topic})
        except exceptions.NotFound:
            await self._create("pubsub.topics.create", topic, self.publisher.create_topic, Topic(name=topic))
        except DENIED as error:
            self._not_allowed_to_look(topic, error)

    async def _ensure_subscription(self, wanted: Subscription, *, mend: bool) -> Subscription | None:
        name = wanted.name
        try:
            found: Subscription = await self._call(self.subscriber.get_subscription, request={"subscription": name})
        except exceptions.NotFound:
            await self._create("pubsub.subscriptions.create", name, self.subscriber.create_subscription, wanted)
            return wanted
        except DENIED as error:
            self._not_allowed_to_look(name, error)
            return None
        if mend and (found.topic == DELETED or found.detached):
            return await self._replace(found, wanted)
        if faults := _faults(found, wanted.topic):
            raise SettingsError(faults)
        return found

    async def _replace(self, found: Subscription, wanted: Subscription) -> Subscription:
        name = wanted.name
        try:
            await self._call(self.subscriber.delete_subscription, request={"subscription": name})
        except DENIED as error:
            raise SettingsError(
                [*_faults(found, wanted.topic), f"this identity may not delete {name}: {describe(error)}"]
            ) from error
        except exceptions.NotFound:
            log.debug("another process was faster", action="queue_mended_elsewhere", name=name)
        await self._create("pubsub.subscriptions.create", name, self.subscriber.create_subscription, wanted)
        log.warning(
            "the topic was deleted and made again: the subscription is replaced, and what it held is published again by a sweep",
            action="queue_mended",
            name=name,
        )
        return wanted

    def _not_allowed_to_look(self, name: str, error: Exception) -> None:
        if name not in self.unchecked:
            log.info(
                "may not look at it, so it is taken to be there (roles/pubsub.viewer would allow to check)",
                action="queue_unchecked",
                name=name,
                error=describe(error),
            )
        self.unchecked.add(name)

    async def _create(self, permission: str, name: str, create: Callable[..., Awaitable[Any]], wanted: Any) -> None:
        try:
            await self._call(create, request=wanted)
        except exceptions.AlreadyExists:  # another process was faster, with the same settings
            return
        except DENIED as error:
            raise SettingsError([f"{name} does not exist and may not be created ({permission}): {_CREATE_HINT}"]) from error
        log.info("created what was missing in Pub/Sub", action="queue_created", name=name)

    async def _call(self, method: Callable[..., Awaitable[Any]], request: Any) -> Any:
        try:
            return await self.outage.through(lambda: method(request=request, retry=None, timeout=CALL_TIMEOUT))
        except (exceptions.InvalidArgument, exceptions.FailedPrecondition) as error:
            raise SettingsError([f"Pub/Sub refuses the names or options of the queue: {describe(error)}"]) from error


def _faults(found: Subscription, topic: str) -> list[str]:
    faults = []
    if found.topic == DELETED:
        faults.append(f"{found.name} belongs to a topic that was deleted: delete the subscription, it is made anew")
    elif found.topic != topic:
        faults.append(f"{found.name} belongs to {found.topic}, not to {topic}: name another subscription, or that topic")
    if found.push_config.push_endpoint or found.bigquery_config.table or found.cloud_storage_config.bucket:
        faults.append(f"{found.name} does not deliver by pull: change its delivery type to pull, or name another subscription")
    if found.detached:
        faults.append(f"{found.name} is detached from its topic: delete it, it is made anew")
    return faults
