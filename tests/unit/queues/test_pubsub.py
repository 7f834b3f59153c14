"""Google Pub/Sub: its resources, its limits, and what it answers when something is wrong."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.api_core.exceptions import PermissionDenied
from google.pubsub_v1 import SubscriberAsyncClient
from google.pubsub_v1.types import PushConfig, Subscription, Topic
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from common.config import Google, QueueSettings, Settings
from common.errors import QueueUnavailable, SettingsError
from common.queues import pubsub
from common.queues.outage import Outage
from common.queues.pubsub import BYTES_PER_PUBLISH, MOST_PER_PUBLISH, PubSubQueue
from common.queues.pubsub_resources import RETENTION, Resources, connect
from publisher.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.queues.pubsub import PubSubDelivery


def settings_at(host: str, topic: str, lease: float = 20.0) -> Settings:
    queue = QueueSettings(kind="pubsub", project="test", topic=topic, emulator_host=host)
    return Settings(queue=queue.model_copy(update={"lease_seconds": lease}))


@pytest.fixture
async def queue(pubsub_host: str, fresh: str) -> AsyncIterator[PubSubQueue]:
    queue = await PubSubQueue.open(settings_at(pubsub_host, fresh))
    yield queue
    await queue.close()


async def one(queue: PubSubQueue) -> PubSubDelivery:
    got = await queue.receive(1, 8)
    assert got, "nothing came"
    return got[0]


async def test_missing_topics_and_subscriptions_are_made(queue: PubSubQueue) -> None:
    # When a queue was opened where nothing was
    names = queue._names
    # Then the tasks and the errors have a topic each, and a subscription that never expires and leases for as long as was set
    for topic, subscription in ((names.topic, names.subscription), (names.error_topic, names.error_subscription)):
        found = await queue._subscriber.get_subscription(subscription=subscription)
        assert found.topic == topic
        assert found.ack_deadline_seconds == 20
        assert found.message_retention_duration.total_seconds() == RETENTION.seconds
        assert "expiration_policy" in found
        assert not found.expiration_policy.ttl


async def test_two_that_open_at_once_do_not_disturb_each_other(pubsub_host: str, fresh: str) -> None:
    # When several processes open a queue that is not there yet
    settings = settings_at(pubsub_host, fresh)
    queues = await asyncio.gather(*(PubSubQueue.open(settings) for _ in range(5)))
    # Then all of them use the same one
    await queues[0].send([b"hello"])
    assert (await one(queues[4])).payload == b"hello"
    await asyncio.gather(*(queue.close() for queue in queues))


async def test_a_subscription_that_belongs_elsewhere_is_refused(pubsub_host: str, fresh: str, queue: PubSubQueue) -> None:
    # Given a subscription of our name at another topic
    await queue._publisher.create_topic(name=f"projects/test/topics/{fresh}-other")
    await queue._subscriber.create_subscription(
        name=f"projects/test/subscriptions/{fresh}-mine-sub", topic=f"projects/test/topics/{fresh}-other"
    )
    # When a queue is opened with it
    with pytest.raises(SettingsError) as caught:
        await PubSubQueue.open(settings_at(pubsub_host, f"{fresh}-mine"))
    # Then both topics are named
    assert f"{fresh}-other" in caught.value.faults[0]
    assert f"topics/{fresh}-mine" in caught.value.faults[0]


@pytest.mark.parametrize("trouble", ["deleted topic", "push"])
async def test_a_subscription_that_cannot_be_pulled_from_is_refused(
    pubsub_host: str, fresh: str, queue: PubSubQueue, trouble: str
) -> None:
    # Given a subscription whose topic was deleted, or that pushes
    if trouble == "deleted topic":
        await queue._publisher.delete_topic(topic=queue._names.topic)
    else:
        push = PushConfig(push_endpoint="http://127.0.0.1:9/push")
        await queue._subscriber.modify_push_config(subscription=queue._names.subscription, push_config=push)
    # When the queue is opened
    with pytest.raises(SettingsError) as caught:
        await PubSubQueue.open(settings_at(pubsub_host, fresh))
    # Then the subscription is named with what to do
    assert queue._names.subscription in caught.value.faults[0]
    assert "delete the subscription" in str(caught.value) or "to pull" in str(caught.value)


async def test_a_name_that_google_refuses_is_a_fault_of_the_settings(pubsub_host: str) -> None:
    # When a topic is called something that no topic may be called
    with pytest.raises(SettingsError, match="refuses the names"):
        # Then that is said, instead of trying for ever
        await PubSubQueue.open(settings_at(pubsub_host, "1-starts-with-a-digit"))


async def test_what_is_deleted_in_mid_run_is_made_anew(queue: PubSubQueue) -> None:
    # Given a queue whose topic and subscription somebody deletes, as an emulator does that is restarted
    await queue._subscriber.delete_subscription(subscription=queue._names.subscription)
    await queue._publisher.delete_topic(topic=queue._names.topic)
    # When it is used
    await queue.send([b"hello"])
    # Then it works
    assert (await one(queue)).payload == b"hello"


@pytest.mark.parametrize("asked", ["sending", "readiness"])
async def test_a_topic_that_was_made_again_under_a_running_publisher_is_noticed_and_mended(
    pubsub_host: str, fresh: str, queue: PubSubQueue, lines, asked: str
) -> None:
    # Given a publisher at work, and workers that pull
    outlet = Outlet(functools.partial(PubSubQueue.open, settings_at(pubsub_host, fresh)))
    await outlet.open()
    # When somebody deletes the topic and makes it again: publishing works as before, and reaches nobody
    await queue._publisher.delete_topic(topic=queue._names.topic)
    await queue._publisher.create_topic(name=queue._names.topic)
    await queue.send([b"into nothing"])
    assert await queue.receive(1, 0.5) == []
    # And the next sweep publishes, or its readiness is asked for
    if asked == "readiness":
        await outlet.check()
    await outlet.send([b"after"])
    await outlet.send([b"and again"])
    # Then what is published arrives, and it was said once
    assert sorted([(await one(queue)).payload, (await one(queue)).payload]) == [b"after", b"and again"]
    assert [line["name"] for line in lines() if line.get("action") == "queue_mended"] == [queue._names.subscription]
    await outlet.close()


async def test_what_may_not_be_mended_fails_with_what_to_do(
    pubsub_host: str, fresh: str, queue: PubSubQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a publisher that may look and publish, and not delete
    outlet = Outlet(functools.partial(PubSubQueue.open, settings_at(pubsub_host, fresh)))
    await outlet.open()

    async def denied(*_: object, **__: object) -> None:
        raise PermissionDenied("pubsub.subscriptions.delete")

    monkeypatch.setattr(SubscriberAsyncClient, "delete_subscription", denied)
    # When its topic is deleted and made again
    await queue._publisher.delete_topic(topic=queue._names.topic)
    await queue._publisher.create_topic(name=queue._names.topic)
    # Then neither is it ready, nor does it publish into nothing, and it says what to do
    for call in (outlet.check(), outlet.send([b"into nothing"])):
        with pytest.raises(SettingsError, match="delete the subscription, it is made anew") as refused:
            await call
        assert "may not delete" in str(refused.value)
    await outlet.close()


async def test_reports_are_never_deleted_to_mend_their_subscription(pubsub_host: str, fresh: str, queue: PubSubQueue) -> None:
    # Given a report that nobody has read, and an error topic that is made again
    await queue.send([b"task"])
    await (await one(queue)).reject(b"report")
    await queue._publisher.delete_topic(topic=queue._names.error_topic)
    await queue._publisher.create_topic(name=queue._names.error_topic)
    # When the queue is looked at
    with pytest.raises(SettingsError, match="belongs to a topic that was deleted"):
        await queue.check()
    # Then the report is still to be had
    subscription = queue._names.error_subscription
    answer = await queue._subscriber.pull(subscription=subscription, max_messages=1)
    assert [received.message.data for received in answer.received_messages] == [b"report"]


async def test_an_acknowledgement_that_comes_too_late_is_not_an_error(pubsub_host: str, fresh: str) -> None:
    # Given a subscription with exactly-once delivery, the only kind that complains, and a delivery whose lease has run out
    maker = await PubSubQueue.open(settings_at(pubsub_host, f"{fresh}-x"))
    topic, name = maker._names.topic, f"projects/test/subscriptions/{fresh}-once"
    once = Subscription(name=name, topic=topic, ack_deadline_seconds=10, enable_exactly_once_delivery=True)
    await maker._subscriber.create_subscription(request=once)
    settings = settings_at(pubsub_host, f"{fresh}-x", lease=1.0)
    queue = await PubSubQueue.open(
        settings.model_copy(update={"queue": settings.queue.model_copy(update={"subscription": f"{fresh}-once"})})
    )
    await queue.send([b"late", b"late too"])
    held = [await one(queue), await one(queue)]
    await asyncio.sleep(1.5)
    # When it is ended or extended all the same
    # Then nothing is raised
    await asyncio.gather(held[0].ack(), held[1].extend(), held[1].nack(3))
    await asyncio.gather(queue.close(), maker.close())


async def test_pubsub_away_is_told_after_a_while(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a host where nobody answers
    monkeypatch.setattr(pubsub, "Outage", functools.partial(Outage, patience=0.5))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        # When the queue is opened
        with pytest.raises(QueueUnavailable, match="Pub/Sub is away"):
            # Then it is said to be away
            await PubSubQueue.open(settings_at(f"127.0.0.1:{nobody.getsockname()[1]}", fresh))


async def test_too_few_confirmations_are_not_taken_for_success(queue: PubSubQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a service that confirms fewer messages than it was sent
    publish = queue._publisher.publish

    async def forgetful(**arguments: Any) -> Any:
        answer = await publish(**arguments)
        answer.message_ids = answer.message_ids[1:]
        return answer

    monkeypatch.setattr(queue._publisher, "publish", forgetful)
    # When two are sent
    with pytest.raises(QueueUnavailable, match="1 of 2"):
        # Then the sender is told
        await queue.send([b"one", b"two"])


class Iam:
    """Both clients in one, of an identity that may do only what is listed; what exists, exists."""

    def __init__(self, *, allowed: set[str], existing: set[str]) -> None:
        self.allowed = allowed
        self.existing = existing

    async def _do(self, verb: str, name: str) -> None:
        if verb not in self.allowed:
            raise exceptions.PermissionDenied(f"User not authorized to perform this action: {verb}")
        if verb.startswith("get") and name not in self.existing:
            raise exceptions.NotFound("Resource not found")
        self.existing.add(name)

    async def get_topic(self, *, request: dict[str, str], **_: Any) -> Topic:
        await self._do("get_topic", request["topic"])
        return Topic(name=request["topic"])

    async def create_topic(self, *, request: Topic, **_: Any) -> None:
        await self._do("create_topic", request.name)

    async def get_subscription(self, *, request: dict[str, str], **_: Any) -> Subscription:
        await self._do("get_subscription", request["subscription"])
        return Subscription(name=request["subscription"], topic="t", ack_deadline_seconds=77)

    async def create_subscription(self, *, request: Subscription, **_: Any) -> None:
        await self._do("create_subscription", request.name)


def resources(iam: Iam) -> Resources:
    return Resources(iam, iam, Outage("Pub/Sub", pubsub.passes))  # type: ignore[arg-type]


async def test_what_is_missing_and_may_not_be_made_is_named_with_the_role() -> None:
    # Given an identity that may look, but not create
    iam = Iam(allowed={"get_topic", "get_subscription"}, existing={"t"})
    # When the subscription is missing
    with pytest.raises(SettingsError) as caught:
        await resources(iam).ensure("t", "s", deadline=60)
    # Then it is said what is missing, which permission, and which role to grant
    assert caught.value.faults == [
        (
            "s does not exist and may not be created (pubsub.subscriptions.create): grant roles/pubsub.editor to this identity, "
            "or create it beforehand"
        )
    ]


async def test_an_identity_that_may_not_look_is_believed() -> None:
    # Given an identity with no right but to publish and to subscribe
    iam = Iam(allowed=set(), existing={"t", "s"})
    # When the queue is opened
    deadline = await resources(iam).ensure("t", "s", deadline=60)
    # Then it goes on, not knowing the subscription's own deadline
    assert deadline == 0


async def test_the_deadline_of_a_subscription_that_exists_is_told() -> None:
    # Given a subscription that somebody made with another deadline
    iam = Iam(allowed={"get_topic", "get_subscription"}, existing={"t", "s"})
    # When the queue is opened
    # Then it learns of it, and will set the lease of each delivery itself
    assert await resources(iam).ensure("t", "s", deadline=60) == 77


async def test_a_refusal_in_mid_run_names_the_resource_and_the_role(queue: PubSubQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an identity that loses its rights
    async def refuse(**_: Any) -> Any:
        raise exceptions.PermissionDenied("User not authorized to perform this action.")

    for client, method in ((queue._publisher, "publish"), (queue._subscriber, "pull"), (queue._subscriber, "acknowledge")):
        monkeypatch.setattr(client, method, refuse)
    # When it sends and receives
    with pytest.raises(SettingsError) as sending:
        await queue.send([b"x"])
    with pytest.raises(SettingsError) as receiving:
        await queue.receive(1, 1)
    # Then each says where, and what to grant
    assert queue._names.topic in str(sending.value)
    assert "roles/pubsub.publisher" in str(sending.value)
    assert queue._names.subscription in str(receiving.value)
    assert "roles/pubsub.subscriber" in str(receiving.value)


@given(st.lists(st.sampled_from([0, 1, 700, 4_000_000, 8_000_000]), max_size=40), st.integers(0, 2500))
def test_batches_fit_into_a_request_and_lose_nothing(large: list[int], small: int) -> None:
    # Given any mixture of sizes
    sizes = {size: bytes(size) for size in set(large)}
    messages = [sizes[size] for size in large] + [b"s"] * small
    # When they are laid into requests
    batches = list(pubsub._batches(messages))
    # Then each fits, none is empty, and together they are the messages in order
    for batch in batches:
        assert 1 <= len(batch) <= MOST_PER_PUBLISH
        assert sum(map(len, batch)) <= BYTES_PER_PUBLISH
    assert [len(message) for batch in batches for message in batch] == [len(message) for message in messages]


def test_without_a_project_the_setting_is_named() -> None:
    # When neither the settings nor the credentials name a project
    with pytest.raises(SettingsError, match="GCP_PROJECT_ID"):
        connect(Settings(queue=QueueSettings(kind="pubsub", emulator_host="127.0.0.1:9")))


def test_a_key_that_is_none_is_a_fault_of_the_settings() -> None:
    # When the key in the settings cannot be read
    with pytest.raises(SettingsError, match="GCP_SA_KEY_B64") as caught:
        connect(Settings(google=Google(sa_key_b64=SecretStr("bm90IGEga2V5"))))
    # Then it is not shown
    assert "bm90" not in str(caught.value)


async def test_with_a_key_the_channel_is_googles_and_the_project_the_keys() -> None:
    # Given a service account's key
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - only this test needs it
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = {
        "type": "service_account",
        "project_id": "of-the-key",
        "client_email": "me@of-the-key.example",
        "private_key": pem.decode(),
    }
    key |= {"token_uri": "https://oauth2.googleapis.com/token"}
    encoded = SecretStr(base64.b64encode(json.dumps(key).encode()).decode())
    # When we connect with it
    names, channel = connect(Settings(queue=QueueSettings(topic="tasks"), google=Google(sa_key_b64=encoded)))
    # Then the names are in the key's project, unless they are given in full
    assert names.topic == "projects/of-the-key/topics/tasks"
    assert names.subscription == "projects/of-the-key/subscriptions/tasks-sub"
    await channel.close()
    full = QueueSettings(topic="projects/elsewhere/topics/tasks", subscription="projects/elsewhere/subscriptions/s")
    names, channel = connect(Settings(queue=full.model_copy(update={"error_topic": "e"}), google=Google(sa_key_b64=encoded)))
    assert (names.topic, names.error_topic) == ("projects/elsewhere/topics/tasks", "projects/of-the-key/topics/e")
    await channel.close()
