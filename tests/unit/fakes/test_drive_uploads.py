"""Resumable uploads below the level of any client, the limit of the day, and quota."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest

from tests.fakes.drive import Clock, DriveServer, Fault, Kind, Settings
from tests.fakes.drive.settings import DAY
from tests.unit.fakes.drive import FILES, FOLDER, UPLOAD, create, get, refusal, send
from tests.unit.fakes.wire import Answer, ask, raw

QUARTER = 256 * 1024
DATA = random.Random(0).randbytes(3 * QUARTER + 100)
TOTAL = len(DATA)
ROBOT = "robot@project.iam.gserviceaccount.com"


def begin(drive: DriveServer, body: dict[str, Any], *, token: str = "t", file_id: str = "", size: int | None = TOTAL) -> Answer:
    method, path = ("PATCH", f"{UPLOAD}/{file_id}") if file_id else ("POST", UPLOAD)
    headers = {"X_Upload_Content_Type": "text/x", "Authorization": f"Bearer {token}"}
    headers |= {"X_Upload_Content_Length": str(size)} if size is not None else {}
    return ask(drive, method, f"{path}?uploadType=resumable&fields=*&supportsAllDrives=true", body, **headers)


def session(drive: DriveServer, body: dict[str, Any] | None = None, **how: Any) -> str:
    answer = begin(drive, {"name": "k"} if body is None else body, **how)
    assert (answer.status, answer.body) == (200, b"")
    return answer.headers["location"]


def put(drive: DriveServer, address: str, start: int, end: int, total: int | str = TOTAL) -> Answer:
    return ask(drive, "PUT", address, DATA[start:end], Content_Range=f"bytes {start}-{end - 1}/{total}")


def question(drive: DriveServer, address: str, total: int | str = "*") -> Answer:
    return ask(drive, "PUT", address, b"", Content_Range=f"bytes */{total}")


def progress(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.headers.get("range")


def once(drive: DriveServer, data: bytes, *, token: str = "t", file_id: str = "") -> Answer:
    method, path = ("PATCH", f"{UPLOAD}/{file_id}") if file_id else ("POST", UPLOAD)
    return send(drive, method, path, data, token=token, uploadType="media")


@pytest.fixture
def clock(drive: DriveServer) -> Clock:
    assert isinstance(drive.clock, Clock)
    return drive.clock


def test_chunk_by_chunk(drive: DriveServer) -> None:
    # Given a session; its address needs no token
    drive.settings.require_token = "t"
    address = session(drive, {"name": "k", "modifiedTime": "2000-01-01T00:00:00Z"})
    # When chunks arrive, then each answer says what is there
    assert progress(question(drive, address)) == (308, None)
    assert progress(put(drive, address, 0, QUARTER)) == (308, f"bytes=0-{QUARTER - 1}")
    assert progress(put(drive, address, QUARTER, 3 * QUARTER)) == (308, f"bytes=0-{3 * QUARTER - 1}")
    assert progress(question(drive, address, TOTAL)) == (308, f"bytes=0-{3 * QUARTER - 1}")
    assert drive.files() == []
    done = put(drive, address, 3 * QUARTER, TOTAL).json
    # And the last byte makes the file, of which the session still knows
    assert (done["size"], done["mimeType"], done["modifiedTime"]) == (str(TOTAL), "text/x", "2000-01-01T00:00:00.000Z")
    assert (done["md5Checksum"], done["sha256Checksum"]) == (hashlib.md5(DATA).hexdigest(), hashlib.sha256(DATA).hexdigest())
    assert done["sha1Checksum"] == hashlib.sha1(DATA).hexdigest()
    assert drive.data(done["id"]) == DATA
    assert question(drive, address).json["id"] == put(drive, address, 0, TOTAL).json["id"] == done["id"]
    assert len(drive.files()) == 1


def test_a_size_that_is_known_at_the_end(drive: DriveServer) -> None:
    address = session(drive, size=None)
    assert put(drive, address, 0, 2 * QUARTER, "*").status == 308
    assert put(drive, address, 2 * QUARTER, TOTAL).json["size"] == str(TOTAL)
    address = session(drive, size=None)
    put(drive, address, 0, 2 * QUARTER, "*")
    assert question(drive, address, 2 * QUARTER).json["size"] == str(2 * QUARTER)
    assert ask(drive, "PUT", session(drive, size=0), b"").json["size"] == "0"


def test_a_chunk_sent_again_or_too_early(drive: DriveServer) -> None:
    address = session(drive)
    put(drive, address, 0, 2 * QUARTER)
    assert progress(put(drive, address, QUARTER, 3 * QUARTER)) == (308, f"bytes=0-{3 * QUARTER - 1}")
    assert put(drive, session(drive), QUARTER, 2 * QUARTER).status == 503
    assert put(drive, address, 3 * QUARTER, TOTAL).json["md5Checksum"] == hashlib.md5(DATA).hexdigest()


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (f"bytes 0-{QUARTER - 2}/{TOTAL}", QUARTER - 1),
        (f"bytes 0-{QUARTER}/{TOTAL}", QUARTER + 1),
        ("bytes 0-99/1000", 100),
        ("bytes 5-3/9", 0),
        ("bytes 0-9/5", 10),
        ("0-9/10", 10),
        (f"bytes 0-{2 * QUARTER - 1}/{TOTAL}", QUARTER),
    ],
)
def test_chunks_that_break_the_protocol(drive: DriveServer, spec: str, size: int) -> None:
    address = session(drive)
    answer = ask(drive, "PUT", address, DATA[:size], Content_Range=spec)
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert progress(question(drive, address)) == (308, None)


def test_a_new_revision_resumably(drive: DriveServer) -> None:
    file_id = drive.put("k", b"old", properties={"a": "1"})
    before = drive.resource(file_id)
    address = session(drive, {"properties": {"b": "2"}}, file_id=file_id)
    put(drive, address, 0, QUARTER)
    assert drive.data(file_id) == b"old"
    done = put(drive, address, QUARTER, TOTAL).json
    assert (done["id"], done["name"], done["properties"]) == (file_id, "k", {"a": "1", "b": "2"})
    assert (done["headRevisionId"] != before["headRevisionId"], int(done["version"]) > int(before["version"])) == (True, True)
    assert drive.data(file_id) == DATA
    assert refusal(begin(drive, {}, file_id="nowhere")).status == 404


def test_two_sessions_for_one_id(drive: DriveServer) -> None:
    # Given two uploads under one id
    (file_id,) = get(drive, f"{FILES}/generateIds", count="1").json["ids"]
    first, second = (session(drive, {"id": file_id, "name": "k"}) for _ in range(2))
    # When both end
    assert put(drive, first, 0, TOTAL).json["id"] == file_id
    late = put(drive, second, 0, TOTAL)
    # Then there is one file, and the second session and any later one are over
    assert refusal(late)[:2] == (409, "fileIdInUse")
    assert question(drive, second).status == 410
    assert refusal(begin(drive, {"id": file_id}))[:2] == (409, "fileIdInUse")
    assert [each["creates"] for each in drive.files()] == [1]


def test_sessions_end(drive: DriveServer, clock: Clock) -> None:
    old, lost, cancelled = session(drive), session(drive), session(drive)
    assert ask(drive, "DELETE", cancelled).status == 499
    assert put(drive, cancelled, 0, QUARTER).status == 499
    clock.advance(7 * DAY - 1)
    assert put(drive, old, 0, QUARTER).status == 308
    clock.advance(1)
    assert put(drive, old, QUARTER, 2 * QUARTER).status == 404
    lost = session(drive)
    assert drive.sessions.lose_all(410) == 2
    assert question(drive, lost).status == 410
    assert question(drive, f"{UPLOAD}?uploadType=resumable&upload_id=none").status == 404


def test_what_came_before_a_break_is_kept(drive: DriveServer) -> None:
    address = session(drive)
    path = address.removeprefix(drive.url)
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {TOTAL}\r\nContent-Range: bytes 0-{TOTAL - 1}/{TOTAL}\r\n\r\n"
    drive.faults.add(Fault(Kind.RESET, operation="resumable.chunk", after_bytes=QUARTER + 1000))
    with pytest.raises(ConnectionError):
        raw(drive, head.encode() + DATA)
    assert progress(question(drive, address)) == (308, f"bytes=0-{QUARTER - 1}")
    assert put(drive, address, QUARTER, TOTAL).status == 200


def test_files_too_large_to_keep_are_hashed_only() -> None:
    with DriveServer(settings=Settings(discard_above=1000)) as drive:
        address = session(drive)
        assert progress(put(drive, address, 0, QUARTER)) == (308, f"bytes=0-{QUARTER - 1}")
        assert progress(put(drive, address, 0, 2 * QUARTER)) == (308, f"bytes=0-{2 * QUARTER - 1}")
        done = put(drive, address, 2 * QUARTER, TOTAL).json
        assert (done["size"], done["md5Checksum"]) == (str(TOTAL), hashlib.md5(DATA).hexdigest())
        assert get(drive, f"{FILES}/{done['id']}", alt="media").status == 500


def test_large_files_are_kept_outside_the_memory() -> None:
    # Given an upload above the limit that begins with a hole, of which a part comes twice
    data = bytes(QUARTER) + DATA[QUARTER:]
    with DriveServer(settings=Settings(spool_above=1000)) as drive:
        address = session(drive)
        for start, end in ((0, QUARTER), (0, 2 * QUARTER), (2 * QUARTER, TOTAL)):
            done = ask(drive, "PUT", address, data[start:end], Content_Range=f"bytes {start}-{end - 1}/{TOTAL}")
        # Then it can be read like any other, whole and in parts
        assert done.json["md5Checksum"] == hashlib.md5(data).hexdigest()
        path = f"{FILES}/{done.json['id']}?alt=media"
        span = ask(drive, "GET", path, Authorization="Bearer t", Range=f"bytes={QUARTER - 2}-{QUARTER + 2}")
        assert (span.status, span.body) == (206, data[QUARTER - 2 : QUARTER + 3])
        assert ask(drive, "GET", path, Authorization="Bearer t").body == drive.data(done.json["id"]) == data
        # And every byte of a body is counted, coming and going
        stats = drive.stats()
        assert 0 <= stats["received"] - TOTAL - QUARTER < 1000
        assert 0 <= stats["sent"] - TOTAL - 5 < 10_000


@pytest.fixture
def limited(drive: DriveServer) -> DriveServer:
    drive.settings.upload_limit = TOTAL
    return drive


def test_the_limit_of_the_day(limited: DriveServer, clock: Clock) -> None:
    # Given a user who has uploaded most of what a day allows, with another upload under way
    once(limited, b"x" * (TOTAL - 1))
    file_id, running = limited.put("k", b""), session(limited)
    # When the limit is reached
    once(limited, b"x")
    # Then nothing new begins, by any way of uploading, with the words of the real service
    expected = (403, "userRateLimitExceeded", "User rate limit exceeded.", "usageLimits")
    assert refusal(once(limited, b"x")) == expected
    assert refusal(once(limited, b"x", file_id=file_id)) == expected
    assert refusal(begin(limited, {})) == expected
    assert refusal(begin(limited, {}, file_id=file_id)) == expected
    # But what is under way ends well, folders can be made, and others are not concerned
    assert put(limited, running, 0, TOTAL).status == 200
    assert create(limited, {"mimeType": FOLDER}).status == 200
    assert once(limited, b"x", token=limited.add_user("other@example.com")["token"]).status == 200
    assert limited.stats()["uploaded"] == {"me@example.com": 2 * TOTAL, "other@example.com": 1}
    # And 24 hours after the first byte it goes on
    clock.advance(DAY - 60)
    assert refusal(begin(limited, {})) == expected
    clock.advance(60)
    assert once(limited, b"x").status == 200


def test_service_accounts_own_nothing(drive: DriveServer) -> None:
    # Given a service account, a folder shared with it, and a shared drive
    token, team = drive.add_user(ROBOT)["token"], drive.drive("Team")["id"]
    file_id = drive.put("k", b"x", parent=drive.folder("F"))
    # When it creates a file in My Drive, it has no room; folders cost none, and what others own is theirs
    for answer in (once(drive, b"x", token=token), begin(drive, {}, token=token), create(drive, {}, token=token)):
        refused = refusal(answer)
        assert refused[:2] == (403, "storageQuotaExceeded")
        assert refused.message.startswith("Service Accounts do not have storage quota. Leverage shared drives")
    assert create(drive, {"mimeType": FOLDER}, token=token).status == 200
    assert once(drive, b"more", token=token, file_id=file_id).status == 200
    # Then in a shared drive it may
    assert put(drive, session(drive, {"parents": [team]}, token=token), 0, TOTAL).status == 200
    about = get(drive, "/drive/v3/about", token=token, fields="storageQuota/limit,user(emailAddress)").json
    assert about == {"storageQuota": {"limit": "0"}, "user": {"emailAddress": ROBOT}}


def test_a_full_drive(drive: DriveServer) -> None:
    drive.settings.storage_limit = TOTAL
    file_id = drive.put("k", DATA[:10])
    expected = (403, "storageQuotaExceeded", "The user's Drive storage quota has been exceeded.", "global")
    assert refusal(begin(drive, {})) == expected
    assert refusal(once(drive, DATA)) == expected
    assert put(drive, session(drive, {}, file_id=file_id), 0, TOTAL).status == 200
    quota = get(drive, "/drive/v3/about", fields="storageQuota").json["storageQuota"]
    assert quota == {"limit": str(TOTAL), "usage": str(TOTAL), "usageInDrive": str(TOTAL), "usageInDriveTrash": "0"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/related; boundary=b", b"--b\r\n\r\n{}\r\n--b--"),
        ("multipart/related", b"x"),
        ("text/plain", b"x"),
        ("multipart/related; boundary=b", b"--b\r\n\r\n{\r\n--b\r\n\r\nx\r\n--b--"),
    ],
)
def test_malformed_multipart(drive: DriveServer, content_type: str, body: bytes) -> None:
    assert refusal(ask(drive, "POST", f"{UPLOAD}?uploadType=multipart", body, Content_Type=content_type)).status == 400
    assert ask(drive, "POST", f"{UPLOAD}?uploadType=strange", body).status == 400


def test_multipart_as_others_write_it(drive: DriveServer) -> None:
    body = b'--b\r\nContent-Type: application/json\r\n\r\n{"name": "k"}\r\n--b\r\nContent-Type: a/b\r\n\r\nx\r\n\r\n--b--\r\n'
    made = ask(drive, "POST", f"{UPLOAD}?uploadType=multipart", body, Content_Type='multipart/related; boundary="b"').json
    assert (made["name"], made["mimeType"], drive.data(made["id"])) == ("k", "a/b", b"x\r\n")
    assert refusal(once(drive, b"x", file_id=drive.folder("F"))).reason == "badRequest"


def test_what_is_imported_into_a_document_can_be_exported(drive: DriveServer) -> None:
    file_id = drive.document("D", {"text/plain": b"old"})
    ask(drive, "PATCH", f"{UPLOAD}/{file_id}?uploadType=media", b"new", Content_Type="text/plain")
    assert get(drive, f"{FILES}/{file_id}/export", mimeType="text/plain").body == b"new"
    assert drive.resource(file_id)["mimeType"] == "application/vnd.google-apps.document"
