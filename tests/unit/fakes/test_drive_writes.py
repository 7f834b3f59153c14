"""Creating, changing, moving and deleting files: what the service allows, what it refuses, and with which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.drive import Clock
from tests.unit.fakes.drive import FILES, FOLDER, SHORTCUT, create, get, refusal, search, send

if TYPE_CHECKING:
    from tests.fakes.drive import DriveServer

DOCUMENT = "application/vnd.google-apps.document"


def ids(drive: DriveServer, count: int = 1) -> list[str]:
    found: list[str] = get(drive, f"{FILES}/generateIds", count=str(count)).json["ids"]
    return found


def patch(drive: DriveServer, file_id: str, body: dict[str, Any], *, token: str = "t", **query: str) -> Any:
    answer = send(drive, "PATCH", f"{FILES}/{file_id}", body, token=token, fields="*", supportsAllDrives="true", **query)
    return answer.json if answer.status == 200 else refusal(answer)


def test_an_id_makes_one_file_and_no_second_one(drive: DriveServer) -> None:
    # Given an id that came from the service
    first, second = ids(drive, 2)
    assert create(drive, {"id": first, "name": "F", "mimeType": FOLDER}).json["id"] == first
    # When it is used again, even after the file is gone for good
    answer = create(drive, {"id": first, "name": "F", "mimeType": FOLDER})
    send(drive, "DELETE", f"{FILES}/{first}")
    again = create(drive, {"id": first, "name": "F", "mimeType": FOLDER})
    # Then there is no second file, and an id of one's own making is none
    assert refusal(answer) == refusal(again) == (409, "fileIdInUse", "A file already exists with the provided ID.", "global")
    assert refusal(create(drive, {"id": "made-up", "name": "k"})) == (
        400,
        "invalid",
        "The provided file ID is not usable.",
        "global",
    )
    assert create(drive, {"id": second, "name": "k"}).json["size"] == "0"


def test_ids_are_for_files_and_folders_only(drive: DriveServer) -> None:
    document, shortcut = ids(drive, 2)
    answer = create(drive, {"id": document, "name": "D", "mimeType": DOCUMENT})
    assert refusal(answer)[:2] == (403, "insufficientFilePermissions")
    details = {"shortcutDetails": {"targetId": drive.put("k", b"x")}}
    assert refusal(create(drive, {"id": shortcut, "name": "S", "mimeType": SHORTCUT, **details})).status == 400
    assert refusal(get(drive, f"{FILES}/generateIds", count="1001")).reason == "invalidParameter"


def test_two_files_of_one_name_in_one_folder(drive: DriveServer) -> None:
    made = [create(drive, {"name": "twin"}).json["id"] for _ in range(2)]
    assert len(set(made)) == 2
    assert search(drive, "name = 'twin'") == ["twin", "twin"]


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "new\nline", "x" * 5000, "日本 🪣", "\u0000"])
def test_every_name_is_a_name(drive: DriveServer, name: str) -> None:
    assert create(drive, {"name": name}).json["name"] == name
    assert create(drive, {}).json["name"] == "Untitled"


def test_parents(drive: DriveServer) -> None:
    folder, file_id = drive.folder("F"), drive.put("k", b"x")
    assert create(drive, {"name": "k", "parents": [folder]}).json["parents"] == [folder]
    root = create(drive, {"name": "k"}).json["parents"]
    assert create(drive, {"name": "k", "parents": ["root"]}).json["parents"] == root
    assert get(drive, f"{FILES}/root").json["id"] == root[0]
    assert refusal(create(drive, {"parents": [folder, "root"]})).reason == "cannotAddParent"
    assert refusal(create(drive, {"parents": ["nowhere"]})) == (404, "notFound", "File not found: nowhere.", "global")
    assert refusal(create(drive, {"parents": [file_id]})).reason == "parentNotAFolder"


def test_dates(drive: DriveServer) -> None:
    # Given a clock of our own
    assert isinstance(drive.clock, Clock)
    drive.clock.set(1_000_000_000.25)
    given = {"createdTime": "1999-12-31T23:59:59.1239Z", "modifiedTime": "2000-01-01T01:00:00+01:00"}
    # When a file is made with dates, and one without
    made, plain = create(drive, {"name": "k", **given}).json, create(drive, {"name": "l"}).json
    # Then the dates are kept, as milliseconds in UTC, or are now
    assert (made["createdTime"], made["modifiedTime"]) == ("1999-12-31T23:59:59.123Z", "2000-01-01T00:00:00.000Z")
    assert plain["createdTime"] == plain["modifiedTime"]
    assert plain["createdTime"].startswith("2001-09-09T01:46:40.")
    # And a change without a date is of now, and createdTime stays as it was made
    drive.clock.set(1_100_000_000)
    assert patch(drive, made["id"], {"description": "d"})["modifiedTime"].startswith("2004-11-09T11:33:20.")
    assert patch(drive, made["id"], {"modifiedTime": given["modifiedTime"]})["modifiedTime"] == "2000-01-01T00:00:00.000Z"
    assert patch(drive, made["id"], {"createdTime": given["createdTime"]}).reason == "fieldNotWritable"
    assert refusal(create(drive, {"modifiedTime": "yesterday"})).status == 400


def test_properties_and_their_limits(drive: DriveServer) -> None:
    # Given a file whose properties are as long as they may be: 124 bytes with the key, and 30
    most = {"properties": {"k": "ü" * 61 + "x"}, "appProperties": {f"k{number}": "v" for number in range(30)}}
    made = create(drive, {"name": "k", **most}).json
    assert (made["properties"], made["appProperties"]) == (most["properties"], most["appProperties"])
    # When they are changed, then by key; null removes
    changed = patch(drive, made["id"], {"appProperties": {"k1": None, "k2": "w"}})
    assert len(changed["appProperties"]) == 29
    assert (changed["appProperties"]["k2"], changed["properties"]) == ("w", most["properties"])
    # And what is too much is refused whole
    too_long = "Properties and app properties are limited to 124 bytes in UTF-8 encoding, counting both the key and the value."
    answer = create(drive, {"name": "no", "properties": {"k": "ü" * 62}})
    assert refusal(answer) == (403, "propertyLengthLimitExceeded", too_long, "global")
    more = {"appProperties": {f"n{number}": "v" for number in range(2)}}
    assert patch(drive, made["id"], more).reason == "propertyCountLimitExceeded"
    assert search(drive, "name = 'no'") == []


def test_only_what_is_writable_is_written(drive: DriveServer) -> None:
    file_id = drive.put("k", b"x", description="d", starred=True)
    for body in ({"md5Checksum": "x"}, {"size": "1"}, {"version": "9"}, {"id": file_id}, {"parents": ["root"]}):
        assert patch(drive, file_id, body).reason == "fieldNotWritable"
    assert refusal(create(drive, {"headRevisionId": "x"})).reason == "fieldNotWritable"
    changed = patch(drive, file_id, {"name": "l", "description": None, "mimeType": "image/png"})
    assert (changed["name"], "description" in changed, changed["mimeType"]) == ("l", False, "application/octet-stream")
    assert (changed["originalFilename"], changed["starred"]) == ("l", True)


def test_moving(drive: DriveServer) -> None:
    # Given a tree of three folders and a file
    one, two = drive.folder("1"), drive.folder("2")
    below = drive.folder("below", parent=one)
    file_id = drive.put("k", b"x", parent=below)
    # When the file moves, then it is in the other folder only
    assert patch(drive, file_id, {}, addParents=two, removeParents=below)["parents"] == [two]
    assert (search(drive, f"'{two}' in parents"), search(drive, f"'{below}' in parents")) == (["k"], [])
    # And a second parent, a loop, or a file as a folder are refused
    assert patch(drive, file_id, {}, addParents=one).reason == "cannotAddParent"
    assert patch(drive, one, {}, addParents=below, removeParents="root").reason == "cyclicParent"
    assert patch(drive, below, {}, addParents=file_id, removeParents=one).reason == "parentNotAFolder"
    assert patch(drive, file_id, {}, addParents=two)["parents"] == [two]


def test_the_trash_takes_what_is_below_along(drive: DriveServer) -> None:
    folder = drive.folder("F")
    file_id = drive.put("k", b"x", parent=folder)
    before = get(drive, f"{FILES}/{folder}", fields="modifiedTime").json["modifiedTime"]
    assert patch(drive, folder, {"trashed": True})["modifiedTime"] == before
    seen = get(drive, f"{FILES}/{file_id}", fields="trashed,explicitlyTrashed").json
    assert seen == {"trashed": True, "explicitlyTrashed": False}
    assert search(drive, "trashed = true") == ["F", "k"]
    patch(drive, folder, {"trashed": False})
    assert search(drive, "trashed = false") == ["F", "k"]
    assert send(drive, "DELETE", f"{FILES}/{folder}").status == 204
    assert refusal(get(drive, f"{FILES}/{file_id}")).status == 404
    assert drive.stats()["bytes"] == 0


def test_shortcuts(drive: DriveServer) -> None:
    folder = drive.folder("F")
    body = {"name": "S", "mimeType": SHORTCUT, "shortcutDetails": {"targetId": folder}}
    made = create(drive, body).json
    assert made["shortcutDetails"] == {"targetId": folder, "targetMimeType": FOLDER}
    assert not made.keys() & {"size", "md5Checksum", "headRevisionId"}
    assert refusal(create(drive, {"name": "S", "mimeType": SHORTCUT})).status == 400
    assert refusal(create(drive, {**body, "shortcutDetails": {"targetId": "nowhere"}})).status == 404
    send(drive, "DELETE", f"{FILES}/{folder}")  # the shortcut stays, and leads nowhere
    assert get(drive, f"{FILES}/{made['id']}", fields="shortcutDetails").json == {"shortcutDetails": {"targetId": folder}}


def test_copies(drive: DriveServer) -> None:
    file_id = drive.put("k", b"bytes", properties={"a": "1"}, appProperties={"b": "2"})
    made = send(drive, "POST", f"{FILES}/{file_id}/copy", {"name": "c"}, fields="*").json
    assert (made["name"], made["properties"], "appProperties" in made) == ("c", {"a": "1"}, False)
    assert drive.data(made["id"]) == b"bytes"
    assert refusal(send(drive, "POST", f"{FILES}/{drive.folder('F')}/copy", {})).reason == "cannotCopyFile"


def test_who_may_only_read(drive: DriveServer) -> None:
    # Given a folder that somebody may read, another may not see, and the rest may write
    reader, stranger = drive.add_user("reader@example.com")["token"], drive.add_user("stranger@example.com")["token"]
    folder = drive.folder("F", access={"reader@example.com": "reader", "stranger@example.com": "none"})
    file_id = drive.put("k", b"x", parent=folder)
    path, inside = f"{FILES}/{file_id}", {"name": "l", "parents": [folder]}
    # When the reader reads, and tries to write
    assert get(drive, path, token=reader, alt="media").body == b"x"
    refused = patch(drive, file_id, {"name": "no"}, token=reader)
    assert refused[:3] == (
        403,
        "insufficientFilePermissions",
        f"The user does not have sufficient permissions for file {file_id}.",
    )
    answer = create(drive, inside, token=reader)
    assert refusal(answer)[1:3] == ("insufficientParentPermissions", "Insufficient permissions for the specified parent.")
    assert refusal(send(drive, "DELETE", path, token=reader)).reason == "insufficientFilePermissions"
    assert get(drive, path, token=reader, fields="capabilities/canEdit").json == {"capabilities": {"canEdit": False}}
    # Then to the stranger nothing is there at all
    assert refusal(get(drive, path, token=stranger)).status == 404
    assert search(drive, "", token=stranger) == []
    assert refusal(create(drive, inside, token=stranger)).status == 404
    # And who is given permission has it
    grant = {"type": "user", "role": "writer", "emailAddress": "stranger@example.com"}
    granted = send(drive, "POST", f"{FILES}/{folder}/permissions", grant).json
    assert create(drive, inside, token=stranger).status == 200
    listed = get(drive, f"{FILES}/{folder}/permissions").json["permissions"]
    assert sorted(each["role"] for each in listed) == ["owner", "reader", "writer"]
    assert send(drive, "DELETE", f"{FILES}/{folder}/permissions/{granted['id']}").status == 204


def test_how_much_fits(drive: DriveServer) -> None:
    team = drive.drive("Team")["id"]
    drive.settings.children_limit, drive.settings.depth_limit, drive.settings.items_limit = 2, 2, 3
    drive.folder("1")
    deep = drive.folder("2")
    assert refusal(create(drive, {})).reason == "numChildrenInNonRootLimitExceeded"
    deeper = drive.folder("3", parent=deep)
    folder = {"name": "4", "mimeType": FOLDER}
    assert refusal(create(drive, {**folder, "parents": [deeper]})).reason == "myDriveHierarchyDepthLimitExceeded"
    assert create(drive, {"name": "k", "parents": [deeper]}).status == 200
    below = drive.folder("below", parent=drive.folder("in", parent=team))
    assert refusal(create(drive, {**folder, "parents": [below]})).reason == "teamDriveHierarchyTooDeep"
    drive.put("k", b"x", parent=below)
    assert refusal(create(drive, {"name": "l", "parents": [below]})).reason == "teamDriveFileLimitExceeded"


def test_the_feed_of_changes(drive: DriveServer) -> None:
    # Given files and a token
    kept, moved, deleted = (drive.put(name, b"x") for name in ("kept", "moved", "deleted"))
    folder, team = drive.folder("F"), drive.drive("Team")["id"]
    token = get(drive, "/drive/v3/changes/startPageToken").json["startPageToken"]
    # When files change, one of them twice
    patch(drive, kept, {"name": "once"})
    patch(drive, moved, {}, addParents=folder, removeParents="root")
    patch(drive, kept, {"name": "twice"})
    send(drive, "DELETE", f"{FILES}/{deleted}")
    ours = drive.put("ours", b"x", parent=team)
    # Then each is named once, in pages, in the order of its last change
    page = get(drive, "/drive/v3/changes", pageToken=token, pageSize="2").json
    rest = get(drive, "/drive/v3/changes", pageToken=page["nextPageToken"]).json
    seen = [(each["fileId"], each["removed"], each.get("file", {}).get("name")) for each in page["changes"] + rest["changes"]]
    assert seen == [(moved, False, "moved"), (kept, False, "twice"), (deleted, True, None)]
    assert ("newStartPageToken" in page, "nextPageToken" in rest) == (False, False)
    # And a shared drive has a feed of its own, which is in the whole one only for those who ask
    query = {"pageToken": token, "supportsAllDrives": "true", "includeItemsFromAllDrives": "true"}
    only = get(drive, "/drive/v3/changes", **query, driveId=team).json["changes"]
    assert [each["fileId"] for each in only] == [ours]
    assert len(get(drive, "/drive/v3/changes", **query).json["changes"]) == 4
    assert get(drive, "/drive/v3/changes", pageToken=rest["newStartPageToken"]).json["changes"] == []
    assert refusal(get(drive, "/drive/v3/changes")).reason == "required"
    assert refusal(get(drive, "/drive/v3/changes", pageToken="x")).reason == "invalid"
    assert refusal(get(drive, "/drive/v3/changes", pageToken="1", driveId=team)).reason == "supportsTeamDrivesRequired"
