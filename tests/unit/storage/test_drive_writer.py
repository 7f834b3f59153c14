"""Small files on Drive: created once, revised in place, proven, and never written where nothing can be written."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

from common.config import Settings, StoreOptions
from common.errors import ChecksumMismatch, Forbidden, LocationMissing, Parked, PreconditionFailed, Unavailable
from common.location import Location
from common.storage import gdrive
from common.storage.base import Absent, Matches
from common.storage.gdrive.resource import FOLDER
from common.storage.gdrive.writer import DriveWriter
from common.storage.shared import Alone
from common.transport.google import Anonymous
from common.transport.http import Request, Transport
from tests.fakes.drive import DriveServer, Fault, Kind
from tests.fakes.drive.settings import Clock
from tests.unit.storage.drive_writing import body, bring, made_from, writing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = "root/Amazon Photos Transfer"


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as server:
        yield server
        assert server.failures == []


def at(server: DriveServer, path: str) -> dict[str, Any]:
    (found,) = [each for each in server.files() if each["path"] == path and not each.get("trashed")]
    return found


async def test_a_file_keeps_what_its_source_said(server: DriveServer) -> None:
    # Given an object with dates, a type, headers and metadata
    metadata = made_from("v1", b"bytes") | {
        "brigade-source-modified": "2020-01-02T03:04:05+00:00",
        "camera": "X100",
        "description": "A fire in 1908",
    }

    # When it is put into a folder that is not there yet
    async with writing(server, ROOT) as writer:
        put = await writer.put("2020/fire.jpg", body(b"bytes", metadata, content_type="image/jpeg"), Absent())

    # Then Drive shows it as the original was
    found = at(server, f"{ROOT}/2020/fire.jpg")
    assert (found["mimeType"], found["description"]) == ("image/jpeg", "A fire in 1908")
    assert found["modifiedTime"] == found["createdTime"] == "2020-01-02T03:04:05.000Z"
    assert found["properties"] == {"camera": "X100"}
    assert found["appProperties"]["brigade-source-version"] == "v1"
    assert found["md5Checksum"] == hashlib.md5(b"bytes").hexdigest()
    assert put.version.id == found["id"]
    assert server.data(found["id"]) == b"bytes"


async def test_an_update_is_a_revision_of_the_same_file(server: DriveServer) -> None:
    # Given a file, which somebody has shared and moved nowhere
    async with writing(server, ROOT) as writer:
        first = await writer.put("a", body(b"one", {"old": "x", **made_from("v1", b"one")}, cache_control="no-store"), Absent())

        # When the next version comes
        second = await writer.put("a", body(b"two!", {"new": "y"}), Matches(first.version))

    # Then it is the same file with other bytes, and only with what is said of those
    found = at(server, f"{ROOT}/a")
    assert first.version.id == second.version.id == found["id"]
    assert first.version.token != second.version.token
    assert server.data(found["id"]) == b"two!"
    assert found.get("properties") == {"new": "y"}
    assert set(found["appProperties"]) == {"brigade-md5", "brigade-crc32c"}
    assert (found["creates"], found["contents"]) == (1, 1)


async def test_a_file_that_was_there_before_is_adopted_and_folders_too(server: DriveServer) -> None:
    # Given a folder and files that people have made, one of them twice, in another case too, and a document of that name
    top = server.folder("Amazon Photos Transfer")
    inner = server.folder("inner", parent=top)
    old = server.put("a'b\\c.txt", b"old", parent=inner, createdTime="2019-01-01T00:00:00.000Z")
    server.put("a'b\\c.txt", b"newer", parent=inner, createdTime="2020-01-01T00:00:00.000Z")
    server.put("A'B\\C.TXT", b"other", parent=inner, createdTime="2018-01-01T00:00:00.000Z")
    server.document("a'b\\c.txt", {}, parent=inner, createdTime="2017-01-01T00:00:00.000Z")

    # When it is written to
    async with writing(server, ROOT) as writer:
        await bring(writer, "inner/a'b\\c.txt", b"ours", "v1")

    # Then the oldest of that name has a new revision, and nothing was made
    assert server.data(old) == b"ours"
    assert not server.requests["files.create"]
    assert not server.requests["create.multipart"]


async def test_what_was_thrown_away_is_not_written_to(server: DriveServer) -> None:
    # Given a file in a folder, and a writer that knows both
    async with writing(server, ROOT) as writer:
        first = await writer.put("album/a", body(b"one"), Absent())
        file, folder = at(server, f"{ROOT}/album/a"), at(server, f"{ROOT}/album")

        # When somebody throws the file away
        server.seed.change(server.store.get(file["id"]), {"trashed": True})

        # Then it is not there any more, and a new one can be made
        with pytest.raises(PreconditionFailed):
            await writer.put("album/a", body(b"two"), Matches(first.version))
        assert await writer.stat("album/a") is None
        second = await writer.put("album/a", body(b"two"), Absent())
        assert second.version.id != first.version.id

    # And when the folder goes, a new worker makes another, and puts everything there
    server.seed.change(server.store.get(folder["id"]), {"trashed": True})
    async with writing(server, ROOT) as writer:
        await bring(writer, "album/a", b"three", "v3")
    assert at(server, f"{ROOT}/album")["id"] != folder["id"]
    assert server.data(at(server, f"{ROOT}/album/a")["id"]) == b"three"


async def test_a_folder_that_goes_under_way_is_made_again(server: DriveServer) -> None:
    # Given a writer that knows a folder, which is then deleted for good
    shared = Alone()
    async with writing(server, ROOT, shared) as writer:
        await writer.put("album/a", body(b"one"), Absent())
        folder = at(server, f"{ROOT}/album")["id"]
        await _delete_for_good(server, folder)

        # When it writes there
        with pytest.raises(Unavailable, match="gone"):
            await writer.put("album/b", body(b"two"), Absent())
        await writer.put("album/b", body(b"two"), Absent())

    # Then the second attempt finds out
    assert server.data(at(server, f"{ROOT}/album/b")["id"]) == b"two"


async def _delete_for_good(server: DriveServer, file_id: str) -> None:
    transport = Transport()
    assert (await transport.send(Request("DELETE", f"{server.url}/drive/v3/files/{file_id}"))).status == 204
    await transport.close()


async def test_a_lost_answer_is_found_again(server: DriveServer) -> None:
    # Given a service that does what it is asked and does not answer
    lost = server.faults.add(Fault(Kind.LOSE_REPLY, "create.multipart"))
    async with writing(server, ROOT) as writer:
        with pytest.raises((Unavailable, PreconditionFailed)):  # libcurl repeats what a kept connection has swallowed
            await writer.put("a", body(b"bytes", made_from("v1", b"bytes")), Absent())

        # When the object is put again
        with pytest.raises(PreconditionFailed):
            await writer.put("a", body(b"bytes", made_from("v1", b"bytes")), Absent())

        # Then it is there, once, and says that it is what was sent
        found = await writer.stat("a")
    assert found is not None
    assert found.headers.metadata["brigade-source-version"] == "v1"
    assert lost.fired == 1
    assert at(server, f"{ROOT}/a")["creates"] == 1


async def test_damaged_bytes_are_an_error_and_no_object(server: DriveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a service that stores something else than it was sent
    def damaged(data: bytes) -> str:
        return hashlib.md5(data + b"!").hexdigest()

    async with writing(server, ROOT) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules[DriveWriter.__module__], "_md5", damaged)
            with pytest.raises(ChecksumMismatch, match="MD5"):
                await writer.put("a", body(b"bytes", made_from("v1", b"bytes")), Absent())

        # Then what is there does not claim to be the object, and is written over in place
        found = await writer.stat("a")
        assert found is not None
        assert "brigade-source-version" not in found.headers.metadata
        await bring(writer, "a", b"bytes", "v1")
    assert at(server, f"{ROOT}/a")["contents"] == 1


async def test_the_day_is_over(server: DriveServer) -> None:
    # Given a user who may upload 10 bytes a day
    server.settings.upload_limit = 10
    async with writing(server, ROOT) as writer:
        await writer.put("a", body(b"0123456789"), Absent())

        # When more comes
        with pytest.raises(Parked) as refused:
            await writer.put("b", body(b"x"), Absent())

        # Then it is said until when nothing will be taken, and then it is taken
        assert isinstance(server.clock, Clock)
        server.clock.set(refused.value.until)
        await writer.put("b", body(b"x"), Absent())


async def test_a_service_account_is_refused_in_my_drive_before_anything_moves(
    server: DriveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a service account, a person's folder that it may write to, and a shared drive of which it is a member
    account = "robot@project.iam.gserviceaccount.com"
    token = server.add_user(account)["token"]
    folder = server.folder("Shared with the robot", access={account: "writer"})
    drive = server.drive("Team", access={account: "writer"})["id"]

    async def headers(_: Anonymous) -> list[tuple[str, str]]:
        return [("Authorization", f"Bearer {token}")]

    monkeypatch.setattr(Anonymous, "headers", headers)
    options, settings, transport = StoreOptions(endpoint=server.url), Settings(), Transport()

    # When it is to write to My Drive, its own or the person's
    for place in (folder, f"{folder}/deeper", "root"):
        location = Location.parse(f"gdrive://{place}")
        for begin in (
            gdrive.ready(location, options, settings, transport),
            gdrive.writer(location, options, settings, transport).put("a", body(b"bytes"), Absent()),
        ):
            with pytest.raises(Forbidden) as refused:
                await begin

            # Then it is told the two ways out
            assert "shared drive" in str(refused.value)
            assert "GDRIVE_SUBJECT" in str(refused.value)

    # And the shared drive takes what it brings; nothing was made elsewhere
    location = Location.parse(f"gdrive://{drive}/photos")
    await gdrive.ready(location, options, settings, transport)
    await gdrive.writer(location, options, settings, transport).put("a", body(b"bytes"), Absent())
    await transport.close()
    assert [each["path"] for each in server.files() if each["mimeType"] != FOLDER] == [f"{drive}/photos/a"]


async def test_a_folder_that_may_only_be_read_is_refused(server: DriveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a person who may look at another's folder
    token = server.add_user("guest@example.com")["token"]
    folder = server.folder("Look, do not touch", access={"guest@example.com": "reader"})

    async def headers(_: Anonymous) -> list[tuple[str, str]]:
        return [("Authorization", f"Bearer {token}")]

    monkeypatch.setattr(Anonymous, "headers", headers)

    # Then writing there is refused, by name
    async with writing(server, folder) as writer:
        with pytest.raises(Forbidden, match=r"guest@example\.com may not write to gdrive://"):
            await writer.ready()


@pytest.mark.parametrize("what", ["nothing", "a file", "trash"])
async def test_a_location_that_is_no_folder_is_named(server: DriveServer, what: str) -> None:
    bucket = {
        "nothing": lambda: "nosuchid",
        "a file": lambda: server.put("f", b"x"),
        "trash": lambda: server.folder("t", trashed=True),
    }
    place = bucket[what]()
    async with writing(server, place) as writer:
        with pytest.raises(LocationMissing, match=place):
            await writer.ready()
