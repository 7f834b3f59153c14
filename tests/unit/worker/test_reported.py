"""An error topic on Pub/Sub, which replaces nothing: an object that fails again and again is reported once, and counted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from brigade.error_topic import Selection, discard, look, with_history
from common import report
from common.config import QueueSettings, Settings
from common.errors import Archived, Forbidden
from common.queues.pubsub import PubSubQueue
from common.state.reported import Reported
from tests.unit.worker.conftest import NOW, ROUTE
from tests.unit.worker.test_replicate import Faulty, always

if TYPE_CHECKING:
    from tests.unit.worker.conftest import World


async def test_the_same_failure_of_the_same_version_is_sent_once(world: World) -> None:
    # Given an object that fails for good
    world.marks_reports = True
    world.reader = Faulty(world.source_reader, read=always(Forbidden("no")))  # type: ignore[assignment]
    task = await world.task(await world.put("k", b"x"))

    # When it is published again every hour of a day
    deliveries = [await world.replicate(task) for _ in range(24)]

    # Then it was reported once, and nothing is delivered again; how often it failed is known, and since when
    assert [each.fate for each in deliveries] == [["reject"]] + [["ack"]] * 23
    (history,) = await Reported(world.redis).history([(ROUTE, "k")])
    assert history == (24, NOW)


async def test_what_is_new_about_it_is_reported(world: World) -> None:
    # Given an object that was reported
    world.marks_reports = True
    world.reader = Faulty(world.source_reader, read=always(Forbidden("no")))  # type: ignore[assignment]
    assert (await world.replicate(await world.task(await world.put("k", b"x")))).fate == ["reject"]

    # When another version fails, or the same one in another way
    newer = await world.task(await world.put("k", b"newer"))
    assert (await world.replicate(newer)).fate == ["reject"]
    world.reader = Faulty(world.source_reader, read=always(Archived("in Glacier")))  # type: ignore[assignment]
    delivery = await world.replicate(newer)

    # Then that is reported, too, and its history goes on
    assert delivery.fate == ["reject"]
    assert report.decode(delivery.report).category == "archived"
    assert (await Reported(world.redis).history([(ROUTE, "k"), (ROUTE, "never")])) == [(3, NOW), (1, None)]


async def test_what_was_taken_off_the_topic_is_reported_again(world: World, pubsub_host: str, fresh: str) -> None:
    # Given the emulator, with a report on its error topic
    world.marks_reports = True
    world.reader = Faulty(world.source_reader, read=always(Forbidden("no")))  # type: ignore[assignment]
    task = await world.task(await world.put("k", b"x"))
    first = await world.replicate(task)
    settings = Settings(queue=QueueSettings(kind="pubsub", project="test", topic=fresh, emulator_host=pubsub_host))
    errors = await PubSubQueue.open(settings, errors=True)
    await errors.send([first.report])
    assert (await world.replicate(task)).fate == ["ack"]

    # When it is looked at with its history, and discarded
    reported = Reported(world.redis)
    (entry,) = await with_history(await look(errors, Selection(), 10), reported)
    assert (entry.times, entry.first) == (2, datetime.fromtimestamp(NOW, UTC).timestamp())
    assert sum([len(page) async for page in discard(errors, Selection(), reported)]) == 1
    await errors.close()

    # Then the next failure is on the topic again
    assert (await world.replicate(task)).fate == ["reject"]
