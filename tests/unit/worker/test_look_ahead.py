"""A destination where nothing can be written is named when the worker starts, before it takes a task; its other routes go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.config import Google, Route, Settings, WorkerSettings
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
        settings = Settings(google=Google(drive_endpoint=server.url), worker=WorkerSettings(backoff_seconds=0.01))
        await runner._look_ahead(route, settings, transport, Alone())
    finally:
        await transport.close()


async def test_a_folder_that_is_not_there_is_named(server: DriveServer, capsys: pytest.CaptureFixture[str]) -> None:
    await look(server, "gdrive://nosuchfolder/x")
    said = capsys.readouterr().err
    assert "destination_unready" in said
    assert "gdrive://nosuchfolder/x" in said


async def test_a_service_that_is_away_is_met_again_later(server: DriveServer, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a Drive that does not answer at the moment
    away = server.faults.add(Fault(Kind.STATUS, "about.get", status=503, times=0))

    # Then the worker starts all the same, and has said so
    await look(server, "gdrive://root/x")
    assert away.fired == 3
    assert "destination_unready" in capsys.readouterr().err


async def test_what_can_be_written_to_is_not_touched(server: DriveServer) -> None:
    await look(server, "gdrive://root/new folder")
    assert not server.requests["files.create"]
