"""files.list: the search language, orders, pages, partial answers, and which drives are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.drive import Clock
from tests.unit.fakes.drive import ALL_DRIVES, FILES, FOLDER, create, get, refusal, search, send

if TYPE_CHECKING:
    from tests.fakes.drive import DriveServer

OLD, NEW = "2020-01-01T00:00:00.000Z", "2021-01-01T00:00:00.000Z"


@pytest.fixture
def filled(drive: DriveServer) -> DriveServer:
    folder = drive.folder("Folder One", modifiedTime=OLD)
    drive.put("Hello World.txt", b"x" * 10, parent=folder, mimeType="text/plain", modifiedTime=OLD, appProperties={"k": "v"})
    drive.put("it's \\ odd", b"x" * 5, parent=folder, mimeType="image/png", modifiedTime=NEW, properties={"k": "it's"})
    drive.put("gone", b"x", parent=folder, trashed=True, modifiedTime=NEW)
    drive.put("file10", b"x" * 20, createdTime=OLD, modifiedTime=NEW, starred=True)
    drive.put("file9", b"x" * 30, createdTime=NEW, modifiedTime=OLD, description="about cats")
    return drive


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("name = 'hello world.TXT'", ["Hello World.txt"]),
        ("name != 'file9' and mimeType != 'image/png' and not trashed = true", ["Folder One", "Hello World.txt", "file10"]),
        ("name contains 'wor'", ["Hello World.txt"]),
        ("name contains 'orld'", []),
        ("name contains 'hello w'", ["Hello World.txt"]),
        (r"name = 'it\'s \\ odd'", [r"it's \ odd"]),
        ("name = 'x' or name = 'file9'", ["file9"]),
        ("name = 'file9' or name = 'file10' and starred = true", ["file10"]),
        ("name = 'file9' or (name = 'file10' and starred = false)", ["file9"]),
        ("mimeType = 'application/vnd.google-apps.folder'", ["Folder One"]),
        ("mimeType contains 'image/'", ["it's \\ odd"]),
        ("trashed=true", ["gone"]),
        ("trashed != true and modifiedTime > '2020-06-01T00:00:00'", ["it's \\ odd", "file10"]),
        ("trashed = false and modifiedTime <= '2020-01-01T01:00:00+01:00'", ["Folder One", "Hello World.txt", "file9"]),
        ("createdTime = '2020-01-01T00:00:00Z'", ["file10"]),
        ("appProperties has { key='k' and value='v' }", ["Hello World.txt"]),
        (r"properties has {key='k' and value='it\'s'}", ["it's \\ odd"]),
        ("'root' in parents", ["Folder One", "file10", "file9"]),
        ("'me' in owners and name = 'file9'", ["file9"]),
        ("sharedWithMe", []),
        ("fullText contains 'cats'", ["file9"]),
        ("", ["Folder One", "Hello World.txt", "it's \\ odd", "gone", "file10", "file9"]),
    ],
)
def test_what_a_query_finds(filled: DriveServer, q: str, found: list[str]) -> None:
    assert search(filled, q) == found


@pytest.mark.parametrize(
    "q",
    [
        "name",
        "name = x",
        "name = 'a",
        "name = 'it's'",
        "trashed = 'true'",
        "name > 'a'",
        "(name = 'a'",
        "name = 'a' or",
        "x = 'y'",
    ],
)
def test_what_is_not_a_query(drive: DriveServer, q: str) -> None:
    answer = get(drive, FILES, q=q)
    assert refusal(answer) == (400, "invalid", "Invalid Value", "global")
    assert answer.json["error"]["errors"][0]["location"] == "q"


def test_a_folder_that_is_not_there(drive: DriveServer) -> None:
    assert refusal(get(drive, FILES, q="'nowhere' in parents")) == (404, "notFound", "File not found: nowhere.", "global")


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", ["file10", "file9", "Folder One", "gone", "Hello World.txt", "it's \\ odd"]),
        ("name_natural", ["file9", "file10", "Folder One", "gone", "Hello World.txt", "it's \\ odd"]),
        ("folder,name desc", ["Folder One", "it's \\ odd", "Hello World.txt", "gone", "file9", "file10"]),
        ("modifiedTime desc,name", ["file10", "gone", "it's \\ odd", "file9", "Folder One", "Hello World.txt"]),
        ("quotaBytesUsed", ["Folder One", "gone", "it's \\ odd", "Hello World.txt", "file10", "file9"]),
    ],
)
@pytest.mark.parametrize("size", ["1", "4", "1000"])
def test_orders_hold_across_pages(filled: DriveServer, order: str, names: list[str], size: str) -> None:
    assert search(filled, "", orderBy=order, pageSize=size) == names


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ({"orderBy": "size"}, "orderBy"),
        ({"orderBy": "name up"}, "orderBy"),
        ({"orderBy": "name,name desc"}, "orderBy"),
        ({"pageSize": "0"}, "pageSize"),
        ({"pageSize": "x"}, "pageSize"),
        ({"pageToken": "x"}, "pageToken"),
        ({"corpora": "all"}, "corpora"),
        ({"corpora": "drive", **ALL_DRIVES}, "driveId"),
        ({"fields": "files(id,nonsense)"}, "fields"),
        ({"fields": "files(id"}, "fields"),
        ({"fields": "items"}, "fields"),
    ],
)
def test_parameters_that_make_no_sense(drive: DriveServer, query: dict[str, str], location: str) -> None:
    assert get(drive, FILES, **query).json["error"]["errors"][0]["location"] == location


def test_a_page_token_is_good_for_its_own_query_only(filled: DriveServer) -> None:
    token = get(filled, FILES, q="trashed=false", pageSize="2").json["nextPageToken"]
    assert get(filled, FILES, q="trashed=false", pageSize="3", pageToken=token).status == 200
    assert refusal(get(filled, FILES, q="trashed=true", pageToken=token)).status == 400


def test_nothing_is_given_twice_when_files_come_and_go_between_pages(filled: DriveServer) -> None:
    # Given a first page
    first = get(filled, FILES, pageSize="2").json
    # When one of its files goes and another one comes
    send(filled, "DELETE", f"{FILES}/{first['files'][1]['id']}")
    create(filled, {"name": "late"})
    # Then the next page goes on where the first ended
    rest = get(filled, FILES, pageToken=first["nextPageToken"]).json
    assert [each["name"] for each in rest["files"]] == ["it's \\ odd", "gone", "file10", "file9", "late"]


def test_partial_answers(filled: DriveServer) -> None:
    (plain,) = get(filled, FILES, q="name='file9'").json["files"]
    assert plain.keys() == {"kind", "id", "name", "mimeType"}
    asked = "files(name,owners/emailAddress,capabilities(canEdit)),incompleteSearch"
    body = get(filled, FILES, q="name='file9'", fields=asked).json
    person = {"emailAddress": "me@example.com"}
    assert body == {
        "files": [{"name": "file9", "owners": [person], "capabilities": {"canEdit": True}}],
        "incompleteSearch": False,
    }
    assert get(filled, f"{FILES}/{plain['id']}").json == plain
    assert "md5Checksum" in get(filled, f"{FILES}/{plain['id']}", fields="*").json


def test_short_pages_and_incomplete_searches_on_demand(filled: DriveServer) -> None:
    filled.settings.page_limit, filled.settings.incomplete_search = 2, True
    page = get(filled, FILES, pageSize="1000").json
    assert (len(page["files"]), page["incompleteSearch"]) == (2, True)
    assert len(search(filled, "trashed=false")) == 5


def test_a_search_may_lag_behind(drive: DriveServer) -> None:
    # Given a service whose searches know a new file a minute later
    assert isinstance(drive.clock, Clock)
    drive.settings.search_lag = 60
    made = create(drive, {"name": "new", "createdTime": OLD}).json
    assert (search(drive, ""), get(drive, f"{FILES}/{made['id']}").status) == ([], 200)
    drive.clock.advance(61)
    assert search(drive, "") == ["new"]


@pytest.fixture
def team(drive: DriveServer) -> dict[str, Any]:
    team = drive.drive("Team")
    drive.put("mine", b"x")
    drive.put("ours", b"x", parent=drive.folder("below", parent=team["id"]))
    return team


def test_shared_drives_are_seen_by_those_who_ask(drive: DriveServer, team: dict[str, Any]) -> None:
    assert [each["name"] for each in get(drive, FILES).json["files"]] == ["mine"]
    assert search(drive, "") == ["mine", "below", "ours"]
    assert search(drive, "", corpora="drive", driveId=team["id"]) == ["below", "ours"]
    assert search(drive, f"'{team['id']}' in parents") == ["below"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"includeItemsFromAllDrives": "true"}, "supportsTeamDrivesRequired"),
        ({"corpora": "drive", "driveId": "x"}, "includeTeamDriveItemsRequired"),
        ({"driveId": "x", **ALL_DRIVES}, "invalid"),
        ({"corpora": "drive", "driveId": "x", **ALL_DRIVES}, "notFound"),
    ],
)
def test_shared_drives_want_all_their_parameters(drive: DriveServer, query: dict[str, str], reason: str) -> None:
    assert refusal(get(drive, FILES, **query)).reason == reason


def test_an_item_of_a_shared_drive_is_not_found_by_who_does_not_support_them(drive: DriveServer, team: dict[str, Any]) -> None:
    path = f"{FILES}/{drive.put('k', b'x', parent=team['id'])}"
    assert refusal(get(drive, path)).status == 404
    assert refusal(get(drive, path, alt="media")).status == 404
    assert get(drive, path, supportsAllDrives="true").json["driveId"] == team["id"]
    assert refusal(create(drive, {"name": "k", "parents": [team["id"]]}, supportsAllDrives="false")).status == 404
    made = create(drive, {"name": "F", "mimeType": FOLDER, "parents": [team["id"]]}).json
    assert (made["driveId"], "owners" in made, "ownedByMe" in made) == (team["id"], False, False)
