"""Downloads and exports: ranges, what cannot be read, and what a kind of file does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.fakes.drive import FILES, get, refusal
from tests.unit.fakes.wire import ask

if TYPE_CHECKING:
    from tests.fakes.drive import DriveServer
    from tests.unit.fakes.wire import Answer

DATA = bytes(range(100))


def read(drive: DriveServer, file_id: str, range_: str = "", *, token: str = "t", **query: str) -> Answer:
    headers = {"Range": range_} if range_ else {}
    path = f"{FILES}/{file_id}?alt=media&" + "&".join(f"{name}={value}" for name, value in query.items())
    return ask(drive, "GET", path, None, Authorization=f"Bearer {token}", **headers)


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        ("", 200, DATA, None),
        ("bytes=0-", 206, DATA, "bytes 0-99/100"),
        ("bytes=10-19", 206, DATA[10:20], "bytes 10-19/100"),
        ("bytes=90-500", 206, DATA[90:], "bytes 90-99/100"),
        ("bytes=-5", 206, DATA[95:], "bytes 95-99/100"),
        ("bytes=nonsense", 200, DATA, None),
        ("bytes=9-3", 200, DATA, None),
    ],
)
def test_ranges(drive: DriveServer, asked: str, status: int, body: bytes, told: str | None) -> None:
    answer = read(drive, drive.put("k", DATA, mimeType="image/png"), asked)
    assert (answer.status, answer.body, answer.headers.get("content-range")) == (status, body, told)
    assert answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize("data", [DATA, b""])
def test_a_range_behind_the_end(drive: DriveServer, data: bytes) -> None:
    answer = read(drive, drive.put("k", data), f"bytes={len(data)}-")
    assert refusal(answer)[:2] == (416, "requestedRangeNotSatisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(data)}"


def test_an_abusive_file_is_for_its_owner_and_on_request_only(drive: DriveServer) -> None:
    file_id, other = drive.put("k", DATA, abusive=True), drive.add_user("other@example.com")["token"]
    words = "This file has been identified as malware or spam and cannot be downloaded."
    assert refusal(read(drive, file_id)) == (403, "cannotDownloadAbusiveFile", words, "global")
    assert read(drive, file_id, acknowledgeAbuse="true").body == DATA
    assert refusal(read(drive, file_id, token=other, acknowledgeAbuse="true")).reason == "cannotDownloadAbusiveFile"
    refused = refusal(get(drive, f"{FILES}/{file_id}", acknowledgeAbuse="true"))
    assert refused.reason == "invalidAbuseAcknowledgment"


def test_a_file_that_readers_may_not_download(drive: DriveServer) -> None:
    file_id = drive.put("k", DATA, downloadable=False, access={"reader@example.com": "reader"})
    assert refusal(read(drive, file_id, token=drive.add_user("reader@example.com")["token"])).reason == "cannotDownloadFile"
    assert get(drive, f"{FILES}/{file_id}", fields="capabilities/canDownload").json == {"capabilities": {"canDownload": False}}
    assert read(drive, file_id).body == DATA


def test_a_document_has_no_bytes_but_exports(drive: DriveServer) -> None:
    # Given a document
    file_id = drive.document("D", {"text/plain": b"words", "application/pdf": b"%PDF"})
    seen = drive.resource(file_id)
    # Then it has none of what a blob has, and a size that says nothing
    assert not seen.keys() & {"md5Checksum", "sha1Checksum", "sha256Checksum", "headRevisionId", "webContentLink"}
    assert (seen["mimeType"], seen["size"]) == ("application/vnd.google-apps.document", "1024")
    assert seen["exportLinks"].keys() == {"text/plain", "application/pdf"}
    words = "Only files with binary content can be downloaded. Use Export with Docs Editors files."
    assert refusal(read(drive, file_id)) == (403, "fileNotDownloadable", words, "global")
    # And it comes whole, in the formats that it has, up to a size
    path = f"{FILES}/{file_id}/export"
    answer = ask(drive, "GET", f"{path}?mimeType=application/pdf", None, Range="bytes=0-1")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"%PDF", "application/pdf")
    assert refusal(get(drive, path, mimeType="image/png")).message == "The requested conversion is not supported."
    assert refusal(get(drive, path)).reason == "required"
    drive.settings.export_limit = 4
    words = "This file is too large to be exported."
    assert refusal(get(drive, path, mimeType="text/plain")) == (403, "exportSizeLimitExceeded", words, "global")
    # And when somebody edits it, its version says so
    drive.seed.change(drive.store.get(file_id), {"exports": {"text/plain": "other"}})
    assert int(drive.resource(file_id)["version"]) > int(seen["version"])


def test_what_is_no_document_cannot_be_exported(drive: DriveServer) -> None:
    for file_id in (drive.put("k", DATA), drive.folder("F"), drive.shortcut("S", drive.folder("G"))):
        assert refusal(get(drive, f"{FILES}/{file_id}/export", mimeType="text/plain"))[:2] == (403, "fileNotExportable")
    folder = drive.folder("H")
    assert refusal(read(drive, folder)).reason == "fileNotDownloadable"
    assert not drive.resource(folder).keys() & {"size", "md5Checksum", "headRevisionId"}


def test_pages_that_are_none(drive: DriveServer) -> None:
    for method, path in (
        ("GET", "/drive/v2/files"),
        ("PUT", FILES),
        ("POST", "/drive/v3/about"),
        ("GET", "/upload/drive/v3/files"),
    ):
        assert ask(drive, method, path).status == 404
    assert refusal(ask(drive, "POST", FILES, b"{")).reason == "parseError"
    assert refusal(ask(drive, "POST", FILES, b"[]")).reason == "parseError"
    assert refusal(get(drive, "/drive/v3/about")).reason == "required"
