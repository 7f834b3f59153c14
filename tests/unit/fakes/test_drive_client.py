"""google-api-python-client, unmodified, against the stand-in: what the real client relies on is there."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Any

import pytest
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload

from tests.fakes.drive import Fault, Kind
from tests.unit.fakes.drive import FOLDER, official_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.drive import DriveServer

QUARTER = 256 * 1024


@pytest.fixture
def files(drive: DriveServer) -> Iterator[Any]:
    with official_client(drive.url) as service:
        yield service.files()


def media(data: bytes, *, resumable: bool = False, kind: str = "text/x-test") -> MediaIoBaseUpload:
    return MediaIoBaseUpload(io.BytesIO(data), kind, chunksize=QUARTER, resumable=resumable)


def download(request: Any) -> bytes:
    out = io.BytesIO()
    reader, done = MediaIoBaseDownload(out, request, chunksize=QUARTER), False
    while not done:
        _, done = reader.next_chunk(num_retries=3)
    return out.getvalue()


def test_metadata_calls_need_no_more_than_the_endpoint_option(drive: DriveServer) -> None:
    # Given a client that was only told another address
    with build("drive", "v3", credentials=Credentials("t"), client_options={"api_endpoint": f"{drive.url}/drive/v3"}) as service:
        # When it makes a folder
        made = service.files().create(body={"name": "F", "mimeType": FOLDER}).execute()
    # Then the folder is there
    assert drive.resource(made["id"])["name"] == "F"


@pytest.mark.parametrize("data", [b"", b"hello", b"\n--x\r\n\r\n", b"text\r"])
def test_a_small_file_in_one_request(drive: DriveServer, files: Any, data: bytes) -> None:
    # When a file goes up under an id of our choice
    (file_id,) = files.generateIds(count=1).execute()["ids"]
    body = {"id": file_id, "name": "a.tar.gz", "description": "d", "properties": {"k": "ü"}}
    made = files.create(body=body, media_body=media(data), fields="*").execute()
    # Then client and server agree about it
    assert (made["id"], made["size"], made["mimeType"], made["description"]) == (file_id, str(len(data)), "text/x-test", "d")
    assert (made["fileExtension"], made["fullFileExtension"], made["properties"]) == ("gz", "tar.gz", {"k": "ü"})
    assert drive.data(file_id) == data
    assert download(files.get_media(fileId=file_id)) == data


@pytest.mark.parametrize("size", [0, 1, QUARTER - 1, QUARTER, QUARTER + 1, 2 * QUARTER + 17])
def test_a_resumable_upload_in_chunks(drive: DriveServer, files: Any, size: int) -> None:
    data = random.Random(size).randbytes(size)
    made = files.create(body={"name": "big"}, media_body=media(data, resumable=True), fields="id,md5Checksum").execute()
    assert drive.data(made["id"]) == data
    assert download(files.get_media(fileId=made["id"])) == data
    assert drive.requests["create.resumable.begin"] == 1


def test_an_update_makes_a_new_revision_of_the_same_file(drive: DriveServer, files: Any) -> None:
    # Given a file
    wanted = "id,headRevisionId,version,modifiedTime,md5Checksum,name"
    first = files.create(body={"name": "k"}, media_body=media(b"one"), fields=wanted).execute()
    # When its bytes are replaced, in one request and then resumably, with a date
    second = files.update(fileId=first["id"], media_body=media(b"two"), fields=wanted).execute()
    date = "2001-02-03T04:05:06.789Z"
    third = files.update(
        fileId=first["id"], body={"modifiedTime": date}, media_body=media(b"three", resumable=True), fields=wanted
    ).execute()
    # Then it is the same file with other bytes, revisions and versions
    assert len({each["headRevisionId"] for each in (first, second, third)}) == 3
    assert int(first["version"]) < int(second["version"]) < int(third["version"])
    assert (third["id"], third["name"], third["modifiedTime"]) == (first["id"], "k", date)
    assert drive.data(first["id"]) == b"three"
    (listed,) = drive.files()
    assert (listed["creates"], listed["contents"], listed["updates"]) == (1, 2, 2)


def test_listing_pages(drive: DriveServer, files: Any) -> None:
    folder = drive.folder("F")
    for number in range(25):
        drive.put(f"{number:02}", b"x", parent=folder)
    names, request = [], files.list(q=f"'{folder}' in parents", pageSize=10, fields="nextPageToken,files/name")
    while request is not None:
        page = request.execute()
        assert all(each.keys() == {"name"} for each in page["files"])
        names.append([each["name"] for each in page["files"]])
        request = files.list_next(request, page)
    assert [len(page) for page in names] == [10, 10, 5]
    assert [name for page in names for name in page] == [f"{number:02}" for number in range(25)]


def test_a_long_query_comes_as_a_post(drive: DriveServer, files: Any) -> None:
    drive.put("here", b"x")
    wanted = " or ".join([f"name = 'no-{number}'" for number in range(200)] + ["name = 'here'"])
    assert [each["name"] for each in files.list(q=wanted).execute()["files"]] == ["here"]
    assert drive.requests["files.list"] == 1


def test_export_changes_about_and_drives(drive: DriveServer) -> None:
    with official_client(drive.url) as service:
        token = service.changes().getStartPageToken().execute()["startPageToken"]
        file_id = drive.document("D", {"text/plain": b"words"})
        assert service.files().export(fileId=file_id, mimeType="text/plain").execute() == b"words"
        changed = service.changes().list(pageToken=token).execute()
        assert [each["fileId"] for each in changed["changes"]] == [file_id]
        assert service.about().get(fields="user(emailAddress)").execute() == {"user": {"emailAddress": "me@example.com"}}
        made = drive.drive("Team")
        assert [each["id"] for each in service.drives().list().execute()["drives"]] == [made["id"]]
        assert service.drives().get(driveId=made["id"]).execute()["name"] == "Team"


def test_the_client_retries_what_it_should_and_no_more(drive: DriveServer, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a service that has bad moments (not with a chunk: the client would send its second try without a body, and wait)
    monkeypatch.setattr("time.sleep", lambda _: None)
    data = random.Random(1).randbytes(3 * QUARTER)
    planned = [
        Fault(Kind.STATUS, operation="files.generateIds", reason="userRateLimitExceeded"),
        Fault(Kind.STATUS, operation="create.resumable.begin", status=503),
        Fault(Kind.STATUS, operation="files.get.media", status=429),
        Fault(Kind.STATUS, operation="files.get", reason="dailyLimitExceeded", times=0),
    ]
    drive.faults.add(*planned)
    # When the client works with retries
    files.generateIds().execute(num_retries=2)
    made = files.create(body={"name": "k"}, media_body=media(data, resumable=True)).execute(num_retries=2)
    assert download(files.get_media(fileId=made["id"])) == data
    with pytest.raises(HttpError) as refused:
        files.get(fileId=made["id"]).execute(num_retries=2)
    # Then what passes has passed, and the limit of the day was not tried again
    assert refused.value.reason == "Daily Limit Exceeded"
    assert [fault.fired for fault in planned] == [1, 1, 1, 1]
