"""The lane of the large tasks: a queue of its own, still counted, whose reports go where all reports go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.config import QueueSettings, RedisSettings, Settings
from common.queues.large_lane import open_lane
from common.queues.registry import open_errors, open_large, open_queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.queues.base import Queue


def settings_at(address: str, prefix: str, kind: str = "redis") -> Settings:
    queue = QueueSettings(kind=kind, topic="tasks", project="test")  # type: ignore[arg-type]
    return Settings(queue=queue, redis=RedisSettings(address=address, prefix=prefix))


class _Errors:
    """The error topic of another service."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    async def send(self, messages: Sequence[bytes]) -> None:
        self.sent += messages

    async def receive(self, most: int, wait: float) -> Sequence[object]:
        raise AssertionError((most, wait))

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
async def opened(redis_address: str, fresh: str):
    settings = settings_at(redis_address, fresh)
    queues = await open_queue(settings), await open_large(settings), await open_errors(settings)
    yield queues
    for queue in queues:
        await queue.close()


async def test_what_is_in_the_lane_is_not_on_the_queue_and_still_counts(opened: tuple[Queue, Queue, Queue]) -> None:
    # Given a task that was handed on
    tasks, lane, _ = opened
    await tasks.send([b"small"])
    await lane.send([b"large"])
    # When workers take from both
    small, large = await tasks.receive(5, 1), await lane.receive(5, 1)
    # Then each has its own; and the work is done when both are
    assert [it.payload for it in small] == [b"small"]
    assert [it.payload for it in large] == [b"large"]
    assert await tasks.backlog() == 2
    await small[0].ack()
    assert await tasks.backlog() == 1
    await large[0].nack(60)
    assert await tasks.backlog() == 1
    assert await lane.backlog() == 1


async def test_errors_of_the_lane_are_with_all_others(opened: tuple[Queue, Queue, Queue]) -> None:
    # Given a large task that failed
    tasks, lane, errors = opened
    await lane.send([b"large"])
    (delivery,) = await lane.receive(1, 1)
    # When it is rejected
    await delivery.reject(b"report")
    # Then the report is on the error topic, and the task is gone
    assert [it.payload for it in await errors.receive(1, 1)] == [b"report"]
    assert await tasks.backlog() == 0


async def test_beside_another_service_the_reports_go_to_that_service(redis_address: str, fresh: str) -> None:
    # Given a lane in Redis while another service carries the tasks
    errors = _Errors()

    async def open_theirs(_: Settings) -> Queue:
        return errors  # type: ignore[return-value]

    lane = await open_lane(settings_at(redis_address, fresh, "pubsub"), open_theirs)
    await lane.send([b"one", b"two"])
    one, two = await lane.receive(2, 1)
    # When one task is done after a while and the other fails
    await one.extend()
    await one.ack()
    assert (two.payload, two.attempt) == (b"two", 1)
    await two.reject(b"report")
    # Then the report is there, and both are gone
    assert errors.sent == [b"report"]
    assert await lane.backlog() == 0
    # And both queues are closed with the lane
    await lane.close()
    assert errors.closed


async def test_a_task_of_the_lane_comes_back_to_the_lane(redis_address: str, fresh: str) -> None:
    lane = await open_lane(settings_at(redis_address, fresh, "pubsub"), lambda _: _theirs())
    await lane.send([b"large"])
    (delivery,) = await lane.receive(1, 1)
    await delivery.nack()
    (again,) = await lane.receive(1, 1)
    assert (again.payload, again.attempt) == (b"large", 2)
    await lane.close()


async def _theirs() -> Queue:
    return _Errors()  # type: ignore[return-value]
