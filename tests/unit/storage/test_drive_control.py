"""Drive's requests: built by Google's library, sent by us, and paid for from one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.config import Google, Settings, StoreOptions
from common.errors import Unavailable
from common.storage.gdrive.control import Drive
from common.storage.gdrive.quota import UNITS_DOWNLOAD, UNITS_LIST, UNITS_WRITE, Quota
from common.storage.shared import Alone
from common.transport.http import Transport
from tests.fakes.drive import DriveServer, Fault, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as server:
        yield server


@pytest.fixture
async def drive(server: DriveServer) -> AsyncIterator[Drive]:
    transport = Transport()
    yield Drive(StoreOptions(endpoint=server.url), Settings(), transport, write=True)
    await transport.close()


async def test_a_query_longer_than_a_url_may_be_is_sent_all_the_same(server: DriveServer, drive: Drive) -> None:
    # Given a name that makes the URL too long
    name = "\u65e5" * 341
    made = server.put(name, b"x")

    # When it is looked for
    answer = await drive.call(drive.files.list(q=f"name = '{name}'", fields="files(id)"), "search", "gdrive://root")

    # Then it is found
    assert answer == {"files": [{"id": made}]}


async def test_an_answer_that_is_not_drives_is_no_answer(server: DriveServer, drive: Drive) -> None:
    # Given a login page of somebody's network in between
    server.faults.add(Fault(Kind.STATUS, "files.get", status=200, reason="x"))
    request = drive.files.get(fileId="root", fields="id")
    request.postproc = lambda response, body: body.decode()  # what the library makes of a body that is not JSON

    # Then it is not taken for one
    with pytest.raises(Unavailable, match="not Drive's JSON"):
        await drive.call(request, "look at", "gdrive://root")


async def test_the_user_is_asked_for_once(server: DriveServer, drive: Drive) -> None:
    assert (await drive.user()).email == "me@example.com"
    assert (await drive.user()).storage_limit != 0
    assert server.requests["about.get"] == 1


async def test_the_endpoint_may_stand_in_the_settings(server: DriveServer) -> None:
    transport = Transport()
    settings = Settings(google=Google(drive_endpoint=server.url))
    assert (await Drive(StoreOptions(), settings, transport, write=False).user()).email == "me@example.com"
    await transport.close()


async def test_two_writers_wait_for_what_both_have_spent() -> None:
    # Given a budget of 6,000 units a minute, two of the same user, and one of another
    now, naps = [0.0], list[float]()

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        now[0] += seconds

    shared = Alone(lambda: now[0])
    one, two = Quota(shared, 6000, sleep), Quota(shared, 6000, sleep)

    # When both write together what may be written at once, and once more
    for quota in (one, two) * 6:
        await quota.spend("user", UNITS_WRITE)
    assert naps == []
    await two.spend("user", UNITS_WRITE)
    await one.spend("user", UNITS_LIST)
    await one.spend("other", UNITS_DOWNLOAD)

    # Then who comes later waits until it has come back, at 90 a second; the other user need not
    assert naps == pytest.approx([50 / 90, 100 / 90])
