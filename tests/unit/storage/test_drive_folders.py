"""Folders on Drive: adopted where they are, made once where they are not, and looked at again after a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.config import StoreOptions
from common.errors import Unavailable
from common.location import Location
from common.storage.gdrive import folders
from common.storage.gdrive.control import Drive
from common.storage.gdrive.folders import BELIEVED_SECONDS, Folders, Ids
from common.storage.gdrive.resource import FOLDER
from common.storage.shared import Alone
from common.transport.http import Transport
from tests.fakes.drive import DriveServer
from tests.unit.storage.drive_writing import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as server:
        yield server
        assert server.failures == []


@pytest.fixture
async def drive(server: DriveServer) -> AsyncIterator[Drive]:
    transport = Transport()
    yield Drive(StoreOptions(endpoint=server.url), UNLIMITED, transport, Alone(), write=True)
    await transport.close()


def at(drive: Drive, place: str, clock: Callable[[], float] = lambda: 0.0) -> Folders:
    return Folders(drive, Location.parse(f"gdrive://{place}"), Ids(drive), clock)


async def test_one_path_is_made_once_however_many_want_it(server: DriveServer, drive: Drive) -> None:
    # Given ten who know nothing of each other but what they agree on
    tens = [at(drive, "root/top") for _ in range(10)]

    # When each of them makes the same path, and all ask for another
    made = await asyncio.gather(*(each.make(["a", "b"]) for each in tens for _ in range(3)))
    found = await asyncio.gather(*(each.find(["a", "c"]) for each in tens))

    # Then there is one of each folder, and looking makes none
    assert len(set(made)) == 1
    assert set(found) == {None}
    paths = sorted(each["path"] for each in server.files() if each["mimeType"] == FOLDER and each["path"] != "root")
    assert paths == ["root/top", "root/top/a", "root/top/a/b"]


async def test_of_several_folders_of_one_name_all_take_the_oldest(server: DriveServer, drive: Drive) -> None:
    # Given two folders of one name, and a file and a folder in the trash that are called the same
    server.folder("twice", createdTime="2020-01-02T00:00:00.000Z")
    oldest = server.folder("twice", createdTime="2020-01-01T00:00:00.000Z")
    server.folder("twice", createdTime="2019-01-01T00:00:00.000Z", trashed=True)
    server.put("twice", b"a file", createdTime="2018-01-01T00:00:00.000Z")

    # Then every one takes the oldest that is there
    assert await at(drive, "root").find(["twice"]) == oldest
    assert await at(drive, "root").make(["twice"]) == oldest


async def test_a_shared_drive_is_a_folder_like_any_other(server: DriveServer, drive: Drive) -> None:
    # Given a shared drive
    team = server.drive("Team")["id"]
    below = at(drive, f"{team}/photos")

    # Then folders are made in it, and found again
    made = await below.make(["2026"])
    assert (await below.root()).drive == team
    assert await at(drive, f"{team}/photos").find(["2026"]) == made
    assert server.resource(made)["driveId"] == team


async def test_a_folder_is_believed_for_a_while_and_then_looked_at_again(server: DriveServer, drive: Drive) -> None:
    # Given a folder that is known, and then renamed by somebody
    now = [0.0]
    known = at(drive, "root", lambda: now[0])
    first = await known.make(["album"])
    server.seed.change(server.store.get(first), {"name": "another name"})

    # When it is asked for soon, it is as it was; and later a new one is made
    now[0] = BELIEVED_SECONDS - 1
    assert await known.make(["album"]) == first
    now[0] = BELIEVED_SECONDS
    assert await known.make(["album"]) != first


async def test_an_incomplete_search_is_no_answer(server: DriveServer, drive: Drive) -> None:
    # Given a Drive that has not searched everything
    server.settings.incomplete_search = True

    # Then nothing is made on the strength of it
    with pytest.raises(Unavailable, match="did not search all"):
        await at(drive, "root").make(["a"])
    assert not server.requests["files.create"]


async def test_what_is_remembered_has_an_end(server: DriveServer, drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given room for two folders
    monkeypatch.setattr(folders, "REMEMBERED", 2)
    known = at(drive, "root")
    for name in ("a", "b", "c"):
        await known.make([name])
    server.requests.clear()

    # Then the last two are known, and the first is looked for again
    await known.make(["b"])
    await known.make(["c"])
    assert not server.requests
    await known.make(["a"])
    assert server.requests == {"files.get": 1}


async def test_ids_are_asked_for_by_the_hundred(server: DriveServer, drive: Drive) -> None:
    ids = Ids(drive)
    taken = await asyncio.gather(*(ids.take() for _ in range(150)))
    assert len(set(taken)) == 150
    assert server.requests["files.generateIds"] == 2
