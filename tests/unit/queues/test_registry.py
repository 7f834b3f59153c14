"""The registry: the right queue for the settings, and no library that is not needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from common.config import QueueSettings, RedisSettings, Settings
from common.queues.pubsub import PubSubQueue
from common.queues.redis_streams import RedisQueue
from common.queues.registry import open_errors, open_queue


@pytest.mark.parametrize(("kind", "expected"), [("redis", RedisQueue), ("pubsub", PubSubQueue)])
async def test_the_settings_choose_the_queue(request: pytest.FixtureRequest, fresh: str, kind: str, expected: type) -> None:
    # Given settings for one kind of queue
    address = request.getfixturevalue({"redis": "redis_address", "pubsub": "pubsub_host"}[kind])
    queue_settings = QueueSettings(kind=kind, project="test", topic=fresh, emulator_host=None if kind == "redis" else address)  # type: ignore[arg-type]
    settings = Settings(queue=queue_settings, redis=RedisSettings(address=address, prefix=fresh))
    # When the queue and its errors are opened
    tasks, errors = await open_queue(settings), await open_errors(settings)
    # Then both are of that kind, with the lease that was set
    assert isinstance(tasks, expected)
    assert isinstance(errors, expected)
    assert tasks.lease == settings.queue.lease_seconds
    await tasks.close()
    await errors.close()


def test_a_machine_without_google_cloud_does_not_load_grpc() -> None:
    # Given a fresh interpreter
    program = "import sys, common.queues.registry, common.queues.redis_streams; sys.exit('grpc' in sys.modules)"
    # When only the registry and Redis Streams are imported
    done = subprocess.run([sys.executable, "-c", program], check=False)
    # Then gRPC is not
    assert done.returncode == 0
