"""A destination where nothing can ever be written is refused when the worker starts, before it takes a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.config import Google, Route, Settings
from common.errors import SettingsError
from common.location import Location
from common.storage.shared import Alone
from common.transport.http import Transport
from tests.fakes.drive import DriveServer, Fault, Kind
from worker import runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as server:
        yield server


async def look(server: DriveServer, destination: str) -> None:
    route = Route(name="photos", source=Location.parse("s3://photos"), destination=Location.parse(destination))
    transport = Transport()
    try:
        await runner._look_ahead(route, Settings(google=Google(drive_endpoint=server.url)), transport, Alone())
    finally:
        await transport.close()


async def test_a_folder_that_is_not_there_is_a_fault_of_the_settings(server: DriveServer) -> None:
    with pytest.raises(SettingsError, match="route photos: gdrive://nosuchfolder/x"):
        await look(server, "gdrive://nosuchfolder/x")


async def test_a_service_that_is_away_is_met_again_later(server: DriveServer) -> None:
    # Given a Drive that does not answer at the moment
    away = server.faults.add(Fault(Kind.STATUS, "about.get", status=503, times=0))

    # Then the worker starts all the same
    await look(server, "gdrive://root/x")
    assert away.fired == 1


async def test_what_can_be_written_to_is_not_touched(server: DriveServer) -> None:
    await look(server, "gdrive://root/new folder")
    await look(server, "s3://not-looked-at")
    assert not server.requests["files.create"]
