"""Large files on Drive: resumed where they stopped, in this process and another, and proven in either case."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Any

import pytest

from common.checksums import crc32c
from common.errors import ChecksumMismatch, Parked, PreconditionFailed, RateLimited, Unavailable, UploadLost
from common.objects import Headers
from common.storage.base import Absent, Matches
from common.storage.gdrive.upload import DriveUpload
from common.storage.shared import Alone
from tests.fakes.drive import DriveServer, Fault, Kind
from tests.unit.storage.drive_writing import PART, body, made_from, send_parts, writing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOISE = random.Random(3).randbytes(5 * PART + 777)
HEADERS = Headers("video/mp4", metadata={**made_from("v1", NOISE), "camera": "X100", "mtime": "1000000000"})
KEY = "films/fire.mp4"


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as server:
        yield server
        assert server.failures == []


def only(server: DriveServer) -> dict[str, Any]:
    (found,) = [each for each in server.files() if each["name"] == "fire.mp4"]
    return found


async def test_a_large_file_arrives_whole_and_says_where_it_is_from(server: DriveServer) -> None:
    # Given an upload in parts
    async with writing(server, "root") as writer:
        upload = await writer.begin(KEY, len(NOISE), HEADERS, Absent())

        # When all parts are sent and the upload is completed
        done = await upload.complete(await send_parts(upload, NOISE), crc32c(NOISE))

        # Then what Drive holds was compared with what was sent, and it says what its source said
        assert done == await writer.stat(KEY)
    assert done.crc32c == crc32c(NOISE)
    assert done.headers.metadata.items() >= HEADERS.metadata.items()
    found = only(server)
    assert server.data(found["id"]) == NOISE
    assert found["appProperties"]["brigade-md5"] == hashlib.md5(NOISE).hexdigest() == found["md5Checksum"]
    assert found["modifiedTime"] == "2001-09-09T01:46:40.000Z"
    assert not server.requests["files.get.media"]


async def test_a_new_large_revision_says_nothing_of_the_old_one(server: DriveServer) -> None:
    # Given a file
    async with writing(server, "root") as writer:
        first = await writer.put(
            KEY, body(b"small", {"old": "x", **made_from("v0", b"small")}, cache_control="no-store"), Absent()
        )

        # When a large version replaces it
        upload = await writer.begin(KEY, len(NOISE), HEADERS, Matches(first.version))
        receipts = await send_parts(upload, NOISE)
        assert server.data(only(server)["id"]) == b"small"
        done = await upload.complete(receipts, crc32c(NOISE))

    # Then it is the same file
    found = only(server)
    assert done.version.id == first.version.id == found["id"]
    assert found["properties"] == {"camera": "X100", "mtime": "1000000000"}
    assert (found["creates"], found["contents"]) == (1, 1)


async def test_another_process_goes_on_where_one_died_and_proves_it_all(server: DriveServer) -> None:
    # Given an upload of which three parts have arrived, and a process that is no more
    shared = Alone()
    async with writing(server, "root", shared) as dead:
        upload = await dead.begin(KEY, len(NOISE), HEADERS, Absent())
        token, receipts = upload.token, await send_parts(upload, NOISE, until=3)
    server.requests.clear()

    # When another goes on with it
    async with writing(server, "root", shared) as writer:
        upload = await writer.begin(KEY, len(NOISE), HEADERS, Absent(), token)
        receipts += await send_parts(upload, NOISE, first=3)
        done = await upload.complete(receipts, crc32c(NOISE))

    # Then no part was sent twice, and all bytes, also those that another has sent, were read back and compared
    assert server.data(only(server)["id"]) == NOISE
    assert server.requests["resumable.chunk"] == 3
    assert server.requests["files.get.media"] == 1
    assert done.crc32c == crc32c(NOISE)
    assert done.headers.metadata["brigade-source-version"] == "v1"


async def test_what_another_process_has_sent_wrongly_is_noticed(server: DriveServer) -> None:
    # Given an upload whose first part arrived damaged, and a process that died before it could know
    async with writing(server, "root") as dead:
        upload = await dead.begin(KEY, len(NOISE), HEADERS, Absent())
        wrong = b"!" + NOISE[1:]
        token = upload.token
        receipts = await send_parts(upload, wrong, until=2)
    receipts = [
        type(each)(each.number, each.size, crc32c(NOISE[at : at + PART])) for at, each in zip((0, PART), receipts, strict=True)
    ]

    # When another completes it
    async with writing(server, "root") as writer:
        upload = await writer.begin(KEY, len(NOISE), HEADERS, Absent(), token)
        receipts += await send_parts(upload, NOISE, first=2)
        with pytest.raises(ChecksumMismatch, match="CRC32C"):
            await upload.complete(receipts, crc32c(NOISE))

        # Then nobody takes the file for the object
        found = await writer.stat(KEY)
    assert found is not None
    assert "brigade-source-version" not in found.headers.metadata


async def test_wrong_bytes_of_its_own_are_noticed_by_md5(server: DriveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a line that damages a part
    async with writing(server, "root") as writer:
        upload = await writer.begin(KEY, len(NOISE), HEADERS, Absent())
        assert isinstance(upload, DriveUpload)
        send = upload._drive.send

        async def damaging(method: str, url: str, headers: Any = (), data: bytes = b"", **more: Any) -> Any:
            return await send(method, url, headers, data[:-1] + b"!" if method == "PUT" and data else data, **more)

        monkeypatch.setattr(upload._drive, "send", damaging)
        receipts = await send_parts(upload, NOISE)

        # When the upload is completed
        with pytest.raises(ChecksumMismatch, match="MD5"):
            await upload.complete(receipts, crc32c(NOISE))

        # Then nobody takes the file for the object
        found = await writer.stat(KEY)
    assert found is not None
    assert "brigade-source-version" not in found.headers.metadata


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.LOSE_REPLY, "resumable.chunk", nth=2),
        Fault(Kind.LOSE_REPLY, "resumable.chunk", nth=6),
        Fault(Kind.RESET, "resumable.chunk", nth=3, after_bytes=100_000),
        Fault(Kind.STATUS, "resumable.chunk", nth=4, status=503),
        Fault(Kind.STATUS, "resumable.chunk", nth=6, status=500),
        Fault(Kind.LOSE_REPLY, "files.update"),
        Fault(Kind.STATUS, "files.update", status=503),
        Fault(Kind.COMMIT_LESS, "resumable.chunk", nth=2, keep_bytes=0, times=1),
    ],
    ids=lambda fault: f"{fault.kind} {fault.operation} {fault.nth}",
)
async def test_a_passing_fault_costs_a_part_at_most(server: DriveServer, fault: Fault) -> None:
    # Given a service that stumbles once
    planned = server.faults.add(fault)
    async with writing(server, "root") as writer:
        upload = await writer.begin(KEY, len(NOISE), HEADERS, Absent())

        # When what fails is done again
        receipts = []
        for number in range(6):
            for _ in range(2):
                try:
                    receipts += await send_parts(upload, NOISE, first=number, until=number + 1)
                    break
                except Unavailable:
                    continue
        try:
            done = await upload.complete(receipts, crc32c(NOISE))
        except Unavailable:
            done = await upload.complete(receipts, crc32c(NOISE))

    # Then the file is whole, and was made once
    assert planned.fired == 1
    assert done.headers.metadata["brigade-source-version"] == "v1"
    assert server.data(only(server)["id"]) == NOISE
    assert (only(server)["creates"], only(server)["contents"]) == (1, 0)


async def test_a_lost_session_is_begun_again_under_the_same_id(server: DriveServer) -> None:
    # Given an upload whose session the service forgets
    async with writing(server, "root") as writer:
        upload = await writer.begin(KEY, len(NOISE), HEADERS, Absent())
        await send_parts(upload, NOISE, until=2)
        server.sessions.lose_all(404)

        # When the next part is sent
        with pytest.raises(UploadLost):
            await send_parts(upload, NOISE, first=2)

        # Then another upload can be begun, and is of the file that was agreed on
        again = await writer.begin(KEY, len(NOISE), HEADERS, Absent())
        assert again.token.split(" ")[0] == upload.token.split(" ")[0]
        assert again.token != upload.token
        await again.complete(await send_parts(again, NOISE), crc32c(NOISE))
    assert server.data(only(server)["id"]) == NOISE


async def test_what_came_meanwhile_is_not_written_over(server: DriveServer) -> None:
    # Given an upload to where nothing is, and one over a version
    async with writing(server, "root") as writer:
        upload = await writer.begin(KEY, len(NOISE), HEADERS, Absent())
        receipts = await send_parts(upload, NOISE)

        # When somebody is faster
        first = await writer.put(KEY, body(b"faster"), Absent())
        with pytest.raises(PreconditionFailed):
            await upload.complete(receipts, crc32c(NOISE))
        update = await writer.begin(KEY, len(NOISE), HEADERS, Matches(first.version))
        receipts = await send_parts(update, NOISE)
        await writer.put(KEY, body(b"faster again"), Matches(first.version))
        with pytest.raises(PreconditionFailed):
            await update.complete(receipts, crc32c(NOISE))

    # Then it stays
    assert server.data(only(server)["id"]) == b"faster again"


async def test_the_limit_of_the_day_keeps_the_upload(server: DriveServer) -> None:
    # Given an upload under way when the day's bytes are used up
    async with writing(server, "root") as writer:
        upload = await writer.begin(KEY, len(NOISE), HEADERS, Absent())
        receipts = await send_parts(upload, NOISE, until=2)
        server.faults.add(
            Fault(Kind.STATUS, "resumable.chunk", reason="userRateLimitExceeded", message="User rate limit exceeded.", status=403)
        )
        with pytest.raises(Parked):
            await send_parts(upload, NOISE, first=2, until=3)

        # When the day is over, another process goes on
    async with writing(server, "root") as writer:
        resumed = await writer.begin(KEY, len(NOISE), HEADERS, Absent(), upload.token)
        receipts += await send_parts(resumed, NOISE, first=2)
        await resumed.complete(receipts, crc32c(NOISE))
    assert server.data(only(server)["id"]) == NOISE


async def test_too_many_requests_are_told_from_the_end_of_the_day(server: DriveServer) -> None:
    # Given the other refusal of that reason
    server.faults.add(Fault(Kind.STATUS, "create.resumable.begin", reason="userRateLimitExceeded"))
    async with writing(server, "root") as writer:
        with pytest.raises(RateLimited):
            await writer.begin(KEY, len(NOISE), HEADERS, Absent())
