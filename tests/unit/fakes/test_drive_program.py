"""The stand-in as a program, and what tests ask of it over HTTP beside the API."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

from tests.fakes.drive import DriveServer
from tests.servers import drive_server
from tests.unit.fakes.drive import FILES, create, get, official_client
from tests.unit.fakes.wire import ask


def test_the_program_serves_until_it_is_ended() -> None:
    # Given the stand-in as a child
    with drive_server("--discard-above", "10") as server:
        # When files are put there and asked for, through the client and beside it
        body = json.dumps({"name": "k", "text": "bytes"}).encode()
        with urlopen(Request(f"{server.url}/_files", body)) as answer:
            made = json.load(answer)
        with official_client(server.url) as service:
            assert service.files().get_media(fileId=made["id"]).execute() == b"bytes"
        # Then it says what there is
        with urlopen(f"{server.url}/_stats") as answer:
            stats = json.load(answer)
    assert (stats["files"], stats["bytes"], stats["requests"]) == (1, 5, {"files.get.media": 1})


async def test_in_the_loop_of_a_test() -> None:
    async with DriveServer() as server:
        assert server.port > 0


def told(drive: DriveServer, method: str, path: str, body: Any = None) -> Any:
    answer = ask(drive, method, path, body)
    assert answer.status == 200, answer.body
    return answer.json


def test_files_beside_the_api(drive: DriveServer) -> None:
    # Given files of all kinds
    folder = told(drive, "POST", "/_files", {"name": "F", "mimeType": "application/vnd.google-apps.folder"})["id"]
    given = {"name": "k", "parents": [folder], "base64": "AAE=", "createdTime": "2000-01-01T00:00:00Z", "properties": {"a": "1"}}
    blob = told(drive, "POST", "/_files", given)
    document = told(drive, "POST", "/_files", {"name": "D", "exports": {"text/plain": "words"}, "trashed": True})
    shortcut = {"mimeType": "application/vnd.google-apps.shortcut", "shortcutDetails": {"targetId": folder}}
    told(drive, "POST", "/_files", {"name": "S", **shortcut})
    # Then they are as they were given
    assert ask(drive, "GET", f"/_files/{blob['id']}/content").body == b"\x00\x01"
    assert (blob["createdTime"], blob["properties"], document["trashed"]) == ("2000-01-01T00:00:00.000Z", {"a": "1"}, True)
    # When one is changed, past every check
    changed = told(
        drive, "PATCH", f"/_files/{blob['id']}", {"text": "new", "abusive": True, "createdTime": "2001-01-01T00:00:00Z"}
    )
    # Then the change is seen, and counted as one
    assert (changed["headRevisionId"] != blob["headRevisionId"], changed["createdTime"]) == (True, "2001-01-01T00:00:00.000Z")
    listed = told(drive, "GET", "/_files")["files"]
    assert [each["path"] for each in listed] == ["root/F", "root/F/k", "root/D", "root/S"]
    assert [(each["creates"], each["contents"], each["updates"]) for each in listed[:2]] == [(1, 0, 0), (1, 1, 0)]
    assert ask(drive, "GET", "/_files/nowhere/content").status == 404


def test_everything_else_beside_the_api(drive: DriveServer) -> None:
    # Given users, a drive, settings, a clock and faults, all set over HTTP
    token = told(drive, "POST", "/_users", {"email": "ann@example.com"})["token"]
    team = told(drive, "POST", "/_drives", {"name": "Team", "id": "0ATEAM", "access": {"ann@example.com": "reader"}})
    assert told(drive, "POST", "/_settings", {"upload_limit": 5, "page_limit": 1})["upload_limit"] == 5
    now = told(drive, "POST", "/_clock", {"now": 1000.0, "advance": 5})["now"]
    told(drive, "POST", "/_faults", [{"kind": "status", "operation": "files.get", "reason": "dailyLimitExceeded"}])
    # When requests meet them
    assert get(drive, f"{FILES}/root").status == 403
    made = create(drive, {"name": "k"}).json
    # Then they hold
    assert (team["id"], get(drive, f"{FILES}/root", token=token).status, 1005 <= now < 1010) == ("0ATEAM", 200, True)
    assert create(drive, {"parents": ["0ATEAM"]}, token=token).status == 403
    assert made["createdTime"].startswith("1970-01-01T00:1")
    assert told(drive, "GET", "/_faults")["faults"][0]["fired"] == 1
    assert told(drive, "DELETE", "/_faults") == {"faults": []}
    stats = told(drive, "DELETE", "/_stats")
    assert (stats["requests"], stats["writes"], stats["files"]) == ({}, {}, 1)
    assert told(drive, "DELETE", "/_sessions?status=410") == {"lost": 0}
    # And what is not understood is said to be so
    for path, body in (("/_settings", {"nonsense": 1}), ("/_faults", {"kind": "status", "nonsense": 1}), ("/_users", {})):
        assert ask(drive, "POST", path, body).status == 400
    assert ask(drive, "GET", "/_nonsense").status == 404


def test_a_clock_of_the_tests_own() -> None:
    with DriveServer(clock=lambda: 1_000_000_000.0) as drive:
        assert create(drive, {"name": "k"}).json["createdTime"] == "2001-09-09T01:46:40.000Z"
        assert ask(drive, "POST", "/_clock", {"advance": 1}).status == 400
