"""Drive's 750 GB a day: the route to Drive waits for the next day, other routes go on, and then it goes on by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from common.config import Settings, StoreOptions
from common.location import Location
from common.state.agreements import Agreements
from common.storage.gdrive.control import Drive
from common.storage.gdrive.writer import DriveWriter
from common.storage.retry import Policy, Retrier, RetryingWriter
from common.transport.http import Transport
from tests.fakes.drive import DriveServer
from tests.unit.worker.conftest import NOW
from worker.replicate import Ends

if TYPE_CHECKING:
    from tests.unit.worker.conftest import World

HOUR = 3600.0
FILMS = "films"


async def _never(_: float) -> None:
    raise AssertionError("nobody waits in place for another day")


async def test_the_route_to_drive_waits_a_day_and_the_other_does_not(world: World) -> None:
    # Given a route to Drive, whose user may upload 2,000 bytes a day, and another to somewhere else
    transport = Transport()
    async with DriveServer(clock=lambda: world.now) as server:
        server.settings.upload_limit = 2000
        shared = Agreements(world.redis)
        drive = Drive(StoreOptions(endpoint=server.url), Settings(), transport, shared, write=True, now=lambda: world.now)
        inner = DriveWriter(drive, Location.parse("gdrive://root/photos"))
        world.writer = RetryingWriter(inner, Retrier(Policy(), _never, lambda: 0.5))
        world.beside[FILMS] = Ends(world.source_reader, world.destination_writer)
        tasks = [await world.task(await world.put(f"photo-{number}", b"x" * 1000)) for number in range(6)]

        # When all are delivered in the course of the day, again and again
        today = [await world.replicate(task) for task in tasks]
        for hour in range(1, 24):
            world.now = NOW + hour * HOUR
            today += [await world.replicate(task) for task in tasks[2:]]

        # Then what fits has arrived, and the rest waits, without an attempt counted or an object reported
        assert [each.fate for each in today] == [["ack"], ["ack"], *([["nack"]] * (4 + 23 * 4))]
        assert server.requests["create.multipart"] == 3
        assert (await world.job()).failed == 0

        # And the other route has gone on
        films = await world.jobs.open(FILMS, "demand", NOW)
        assert (await world.replicate(replace(tasks[5], route=FILMS, job=films.id, number=0))).fate == ["ack"]
        assert await world.arrived("photo-5") == b"x" * 1000

        # And the job says what it waits for
        parked = (await world.job()).parked
        assert parked is not None
        assert parked.until == NOW + 24 * HOUR
        assert "750 GB" in parked.reason

        # When the clock passes the reset
        world.now = NOW + 24 * HOUR

        # Then the next two arrive, and the others wait for the day after
        assert [(await world.replicate(task)).fate for task in tasks[2:]] == [["ack"], ["ack"], ["nack"], ["nack"]]
        world.now = NOW + 48 * HOUR
        assert [(await world.replicate(task)).fate for task in tasks[4:]] == [["ack"], ["ack"]]
        assert (await world.job()).moved == 6
    await transport.close()
