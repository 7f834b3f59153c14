"""Faults on request, in Drive's words: what the mechanics of the GCS stand-in do not show by themselves."""

from __future__ import annotations

import hashlib
import http.client

import pytest

from tests.fakes.drive import DriveServer, Fault, Kind
from tests.fakes.http import Framing
from tests.unit.fakes.drive import FILES, create, get, refusal, send
from tests.unit.fakes.test_drive_uploads import DATA, QUARTER, TOTAL, progress, put, question, session
from tests.unit.fakes.wire import ask


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(Kind.STATUS), (503, "backendError", "Backend Error", "global")),
        (Fault(Kind.STATUS, status=500), (500, "internalError", "Internal Error", "global")),
        (Fault(Kind.STATUS, status=429), (429, "rateLimitExceeded", "Rate Limit Exceeded", "usageLimits")),
        (Fault(Kind.STATUS, status=401), (401, "authError", "Invalid Credentials", "global")),
        (
            Fault(Kind.STATUS, reason="userRateLimitExceeded"),
            (403, "userRateLimitExceeded", "User Rate Limit Exceeded", "usageLimits"),
        ),
        (Fault(Kind.STATUS, reason="dailyLimitExceeded"), (403, "dailyLimitExceeded", "Daily Limit Exceeded", "usageLimits")),
        (
            Fault(Kind.STATUS, reason="userRateLimitExceeded", message="User rate limit exceeded."),
            (403, "userRateLimitExceeded", "User rate limit exceeded.", "usageLimits"),
        ),
        (
            Fault(Kind.STATUS, reason="downloadQuotaExceeded"),
            (403, "downloadQuotaExceeded", "The download quota for this file has been exceeded.", "usageLimits"),
        ),
        (Fault(Kind.STATUS, status=418, reason="new", message="words"), (418, "new", "words", "global")),
    ],
)
def test_a_reason_or_a_status_is_enough(drive: DriveServer, fault: Fault, expected: tuple[int, str, str, str]) -> None:
    drive.faults.add(fault)
    assert refusal(get(drive, FILES)) == expected
    assert get(drive, FILES).status == 200


def test_a_fault_finds_its_file_by_any_name(drive: DriveServer) -> None:
    # Given a file, a session and a fault for their name
    file_id, address = drive.put("wanted", b"x"), session(drive, {"name": "also wanted"})
    fault = drive.faults.add(Fault(Kind.STATUS, key="wanted", times=0))
    # When requests name it by id, by session, or in their bodies
    statuses = [
        get(drive, f"{FILES}/{file_id}").status,
        question(drive, address).status,
        create(drive, {"name": "wanted"}).status,
        create(drive, {"name": "other"}).status,
        send(drive, "PATCH", f"{FILES}/{drive.put('other', b'x')}", {}).status,
    ]
    # Then those are hit, and no others
    assert statuses == [503, 503, 503, 200, 200]
    assert fault.fired == 3


def test_a_lost_answer_is_a_done_deed(drive: DriveServer) -> None:
    (file_id,) = get(drive, f"{FILES}/generateIds", count="1").json["ids"]
    fault = drive.faults.add(Fault(Kind.LOSE_REPLY, operation="files.create"))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        create(drive, {"id": file_id, "name": "k"})
    assert (fault.fired, refusal(create(drive, {"id": file_id, "name": "k"})).reason) == (1, "fileIdInUse")


def test_downloads_that_go_wrong(drive: DriveServer) -> None:
    file_id = drive.put("k", DATA)
    path = f"{FILES}/{file_id}?alt=media"
    # A wrong byte under the true checksum
    drive.faults.add(Fault(Kind.CORRUPT, operation="files.get.media"))
    answer = ask(drive, "GET", path)
    assert (answer.status, len(answer.body), answer.body == DATA) == (200, TOTAL, False)
    assert drive.resource(file_id)["md5Checksum"] == hashlib.md5(DATA).hexdigest()
    # An end that comes too early, and looks like one or does not
    drive.faults.add(Fault(Kind.TRUNCATE, operation="files.get.media", after_bytes=1000, framing=Framing.CLOSE))
    assert ask(drive, "GET", path).body == DATA[:1000]
    drive.faults.add(Fault(Kind.TRUNCATE, operation="files.get.media", after_bytes=1000))
    with pytest.raises(http.client.IncompleteRead):
        ask(drive, "GET", path)
    assert ask(drive, "GET", path).body == DATA


def test_uploads_that_go_wrong(drive: DriveServer) -> None:
    # Given a session that meets trouble with every chunk
    address = session(drive)
    planned = [
        Fault(Kind.COMMIT_LESS, operation="resumable.chunk", keep_bytes=QUARTER),
        Fault(Kind.STATUS, operation="resumable.chunk", nth=2, after_bytes=QUARTER),
        Fault(Kind.STALL, operation="resumable.chunk", nth=3, seconds=0.01),
        Fault(Kind.LOSE_SESSION, operation="resumable.chunk", nth=4, status=410),
    ]
    drive.faults.add(*planned)
    # When chunks arrive
    assert progress(put(drive, address, 0, 2 * QUARTER)) == (308, f"bytes=0-{QUARTER - 1}")
    assert put(drive, address, QUARTER, TOTAL).status == 503
    assert progress(question(drive, address)) == (308, f"bytes=0-{2 * QUARTER - 1}")
    assert progress(put(drive, address, 2 * QUARTER, 3 * QUARTER)) == (308, f"bytes=0-{3 * QUARTER - 1}")
    assert put(drive, address, 3 * QUARTER, TOTAL).status == 410
    # Then every fault has happened, and nothing was made
    assert [fault.fired for fault in planned] == [1, 1, 1, 1]
    assert drive.files() == []
