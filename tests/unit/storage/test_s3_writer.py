"""S3 as a destination, against the strict stand-in: what is sent, what is believed, and what its answers mean."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest

from common.errors import (
    ChecksumMismatch,
    DestinationConflict,
    LocationMissing,
    PreconditionFailed,
    RateLimited,
    Refused,
    Unavailable,
    UploadLost,
)
from common.objects import Headers, Version
from common.storage.base import MIB, Absent, Body, Matches
from common.transport.http import Transport
from tests.fakes.s3 import Fault, Kind, S3Server
from tests.fakes.s3.store import Versioning
from tests.unit.storage.s3_ends import Ends

if TYPE_CHECKING:
    from common.storage.base import PartReceipt, Precondition, Upload, Writer
    from common.transport.http import Response

PLAIN = Headers()
LARGE = bytes(range(256)) * (4096 * 6)
"""Six MiB: two parts."""
PART = 5 * MIB


def body(data: bytes, headers: Headers = PLAIN) -> Body:
    return Body(data, google_crc32c.value(data), headers)


async def parts(upload: Upload, data: bytes = LARGE) -> list[PartReceipt]:
    pieces = [data[start : start + PART] for start in range(0, len(data), PART)]
    return [await upload.part(number, number * PART, piece, google_crc32c.value(piece)) for number, piece in enumerate(pieces)]


async def begin(writer: Writer, precondition: Precondition | None = None, headers: Headers = PLAIN) -> Upload:
    return await writer.begin("k", len(LARGE), headers, precondition or Absent())


def crc(data: bytes) -> int:
    value: int = google_crc32c.value(data)
    return value


async def test_objects_are_stored_as_the_route_says(ends: Ends) -> None:
    # Given a destination with a class, a key and tags of its own
    writer = ends.writer(
        storage_class="STANDARD_IA", encryption="aws:kms", kms_key_id="key-1", tags={"team": "a b&c=d", "\u00e9": ""}
    )
    # When objects are put whole and in parts
    await writer.put("small", body(b"bytes"), Absent())
    upload = await begin(writer)
    await upload.complete(await parts(upload), crc(LARGE))
    # Then they are stored like that, and what the source said of them is there too
    for key in ("small", "k"):
        fields = ends.server.blob("demo", key).fields
        assert (fields.storage_class, fields.encryption.algorithm, fields.encryption.kms_key_id) == (
            "STANDARD_IA",
            "aws:kms",
            "key-1",
        )
        assert fields.tags == (("team", "a b&c=d"), ("\u00e9", ""))
    found = await writer.stat("small")
    assert found is not None
    assert found.storage_class == "STANDARD_IA"


async def test_what_the_bucket_decides_is_left_to_it(ends: Ends) -> None:
    # Given a bucket with a key of its own
    ends.server.bucket("demo").encryption = ("aws:kms", "of-the-bucket")
    # When an object is put by a route that says nothing of it
    await ends.writer().put("k", body(b"bytes"), Absent())
    # Then the bucket's key is used
    assert ends.server.blob("demo", "k").fields.encryption.kms_key_id == "of-the-bucket"


async def test_the_answer_of_aws_is_proof_enough(ends: Ends) -> None:
    # Given a service that is believed
    writer = ends.writer()
    # When objects are put whole and in parts
    put = await writer.put("small", body(b"bytes"), Absent())
    upload = await begin(writer)
    done = await upload.complete(await parts(upload), crc(LARGE))
    # Then S3's own CRC32C came back with the answer, and nobody had to look
    assert (put.crc32c, done.crc32c) == (crc(b"bytes"), crc(LARGE))
    assert ends.server.requests["HeadObject"] == 0
    # And a later look finds the same, of the whole object
    found = await writer.stat("k")
    assert found is not None
    assert (found.crc32c, found.version, found.size) == (crc(LARGE), done.version, len(LARGE))
    assert ends.server.blob("demo", "k").checksum is not None


async def test_versions_of_the_destination_are_told(ends: Ends) -> None:
    ends.server.bucket("demo").versioning = Versioning.ENABLED
    writer = ends.writer()
    put = await writer.put("small", body(b"bytes"), Absent())
    upload = await begin(writer)
    done = await upload.complete(await parts(upload), crc(LARGE))
    for key, said in (("small", put), ("k", done)):
        assert said.version.id == ends.server.blob("demo", key).version_id != "null"


async def test_what_was_seen_and_is_gone_is_a_condition_that_does_not_hold(ends: Ends) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: 404 where If-Match finds nothing."""
    writer = ends.writer()
    gone = Matches(Version("0" * 32))
    with pytest.raises(PreconditionFailed):
        await writer.put("k", body(b"bytes"), gone)
    upload = await begin(writer, gone)
    receipts = await parts(upload)
    with pytest.raises(PreconditionFailed):
        await upload.complete(receipts, crc(LARGE))
    await upload.abort()
    assert (ends.server.keys("demo"), ends.server.uploads.open) == ([], {})


async def test_a_conflict_is_no_condition(ends: Ends) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: after a 409 a put is tried again, an upload
    in parts begun anew.
    """
    # Given a service in which others are busy with the key
    ends.server.faults.add(Fault(Kind.CONFLICT, "PutObject"), Fault(Kind.CONFLICT, "CompleteMultipartUpload"))
    writer = ends.writer()
    # When it is written, whole and in parts
    with pytest.raises(DestinationConflict) as put:
        await writer.put("small", body(b"bytes"), Absent())
    upload = await begin(writer)
    receipts = await parts(upload)
    with pytest.raises(DestinationConflict) as completed:
        await upload.complete(receipts, crc(LARGE))
    # Then both may be tried again, the same put and another upload
    assert put.value.retryable
    assert completed.value.retryable
    await writer.put("small", body(b"bytes"), Absent())
    with pytest.raises(DestinationConflict):
        await upload.complete(receipts, crc(LARGE))
    await upload.abort()
    again = await begin(writer)
    await again.complete(await parts(again), crc(LARGE))
    assert (ends.server.keys("demo"), ends.server.uploads.open) == (["k", "small"], {})


async def test_of_ten_that_write_where_nothing_is_one_does(ends: Ends) -> None:
    writer = ends.writer()
    bodies = [body(b"%d" % number * 1000) for number in range(10)]
    answers = await asyncio.gather(*(writer.put("k", each, Absent()) for each in bodies), return_exceptions=True)
    won = [each for each, answer in zip(bodies, answers, strict=True) if not isinstance(answer, BaseException)]
    assert len(won) == 1
    assert ends.server.data("demo", "k") == won[0].data
    assert all(isinstance(answer, PreconditionFailed) for answer in answers if isinstance(answer, BaseException))


async def test_bytes_that_change_on_the_way_are_no_object(ends: Ends, old: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a line that swaps two bytes
    send = Transport.send

    async def swapping(self: Transport, request: Any) -> Response:
        swapped = bytes([request.body[1], request.body[0]]) + request.body[2:] if len(request.body) > 1000 else request.body
        return await send(self, replace(request, body=swapped))

    monkeypatch.setattr(Transport, "send", swapping)
    data = bytes(range(250)) * 10
    # When an object goes over it: to AWS, which compares the CRC32C, and to those that know MD5 only
    for service, compat in ((ends, "aws"), (ends, "auto"), (old, "auto"), (old, "basic")):
        writer = service.writer(compat=compat)
        with pytest.raises(ChecksumMismatch):
            await writer.put("k", body(data), Absent())
        upload = await writer.begin("k", len(data), PLAIN, Absent())
        with pytest.raises(ChecksumMismatch):
            await upload.part(0, 0, data, crc(data))
        # Then nothing is there
        assert service.server.keys("demo") == []


async def test_parts_that_are_not_the_object_are_not_completed(ends: Ends) -> None:
    # Given an upload of which a part was written again by somebody
    writer = ends.writer()
    upload = await begin(writer)
    receipts = await parts(upload)
    # When it is completed under the checksum of other bytes, or with a part that is another now
    with pytest.raises(ChecksumMismatch):
        await upload.complete(receipts, crc(b"other"))
    await upload.part(0, 0, LARGE[1 : PART + 1], crc(LARGE[1 : PART + 1]))
    with pytest.raises(UploadLost):
        await upload.complete(receipts, crc(LARGE))
    # Then there is no object
    assert ends.server.keys("demo") == []


@pytest.mark.parametrize("compat", ["auto", "basic"])
async def test_a_service_of_years_ago(old: Ends, compat: str) -> None:
    """MinIO and Ceph as they were: conditions and checksums are ignored, and nobody says so."""
    # Given one, and a route that does not believe it
    writer = old.writer(compat=compat)
    assert not writer.limits.preconditions
    # When objects are put whole and in parts
    headers = Headers(metadata={"brigade-source-version": "v1"})
    put = await writer.put("small", body(b"bytes", headers), Absent())
    upload = await begin(writer, headers=headers)
    done = await upload.complete(await parts(upload), crc(LARGE))
    # Then they were looked at afterwards, because no answer said what was stored
    # (the upload before it was completed, too); and once more after the question whether a second write would be refused
    assert old.server.requests["HeadObject"] == (4 if compat == "auto" else 3)
    assert (put.size, done.size) == (5, len(LARGE))
    assert (old.server.data("demo", "small"), old.server.data("demo", "k")) == (b"bytes", LARGE)
    assert done.headers.metadata["brigade-source-version"] == "v1"


async def test_what_is_sent_to_whom(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the headers of every request
    sent: list[tuple[str, set[str]]] = []
    send = Transport.send

    async def noting(self: Transport, request: Any) -> Response:
        sent.append((request.method, {name.lower() for name, _ in request.headers}))
        return await send(self, request)

    monkeypatch.setattr(Transport, "send", noting)
    # When an object is written under each setting
    for compat in ("aws", "auto", "basic"):
        sent.clear()
        writer = ends.writer(compat=compat)
        await writer.put(compat, body(b"bytes"), Absent())
        upload = await writer.begin(f"{compat}-parts", len(LARGE), PLAIN, Absent())
        await upload.complete(await parts(upload), crc(LARGE))
        names = set().union(*(headers for method, headers in sent if method in {"PUT", "POST"}))
        # Then conditions and checksums go to those that may know them, and MD5 to those that are not believed
        assert ("if-none-match" in names) == (compat != "basic")
        assert any("checksum" in name for name in names) == (compat != "basic")
        assert ("content-md5" in names) == (compat != "aws")
        assert not any("acl" in name or "grant" in name for name in names)


async def test_a_service_that_refuses_what_it_does_not_know_is_given_advice(ends: Ends) -> None:
    for status, code in ((501, "NotImplemented"), (400, "Unsupported header 'x-amz-checksum-crc32c'")):
        ends.server.faults.add(Fault(Kind.STATUS, "PutObject", status=status, code=code))
        with pytest.raises(Refused, match=r'compat = "basic" .*--destination-option'):
            await ends.writer(compat="aws").put("k", body(b"bytes"), Absent())


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"k": "v" * 2048}, "2049 bytes, S3 keeps 2048; the largest is 'k'"),
        ({"long": "\u00e9" * 800}, "S3 keeps 2048; the largest is 'long'"),
        ({"two words": "v"}, "'two words' cannot be named in an HTTP header"),
        ({"line\r\nx-amz-acl": "public-read"}, "cannot be named in an HTTP header"),
        ({"": "v"}, "'' cannot be named"),
        ({"Owner": "one", "owner": "other"}, "differ in their case alone"),
    ],
)
async def test_metadata_that_s3_cannot_hold_are_an_error_not_a_loss(ends: Ends, metadata: dict[str, str], said: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html: 2 KB."""
    headers = Headers(metadata=metadata)
    # When an object with them is written
    for attempt in (ends.writer().put("k", body(b"bytes", headers), Absent()), begin(ends.writer(), headers=headers)):
        with pytest.raises(Refused, match="cannot write 's3://demo/k': its metadata") as error:
            await attempt
        # Then it says which they are, is not tried again, and nothing was sent
        assert said in str(error.value)
        assert not error.value.retryable
    assert ends.server.requests == {}


async def test_two_kilobytes_of_metadata_are_metadata(ends: Ends) -> None:
    metadata = {"k": "v" * 1960, "e": "", "s": " x ", "f": "=?UTF-8?B?eA==?=", "n": "a\nb"}
    headers = Headers(content_type=" text/x ", cache_control="", content_language=" ", metadata=metadata)
    put = await ends.writer().put("k", body(b"bytes", headers), Absent())
    content = await ends.reader().read("k", None, put.version)
    assert content.object.headers == Headers(content_type="text/x", metadata=metadata)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(Kind.STATUS, "CompleteMultipartUpload", retry_after=3), RateLimited),
        (Fault(Kind.ERROR_IN_200, "CompleteMultipartUpload", status=500), Unavailable),
        (Fault(Kind.ERROR_IN_200, "CompleteMultipartUpload", status=503), RateLimited),
        (Fault(Kind.STATUS, "CompleteMultipartUpload", status=409), Unavailable),
    ],
    ids=["503", "500 in a 200", "503 in a 200", "OperationAborted"],
)
async def test_a_completion_that_failed_may_be_repeated(ends: Ends, fault: Fault, error: type[Exception]) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html: a 200 may hold an error."""
    fault = ends.server.faults.add(Fault(fault.kind, fault.operation, status=fault.status, retry_after=fault.retry_after))
    upload = await begin(ends.writer())
    receipts = await parts(upload)
    with pytest.raises(error):
        await upload.complete(receipts, crc(LARGE))
    await upload.complete(receipts, crc(LARGE))
    assert (fault.fired, ends.server.data("demo", "k")) == (1, LARGE)


async def test_a_completion_whose_answer_was_lost(ends: Ends) -> None:
    # Given an upload whose completion worked, which nobody heard of
    ends.server.faults.add(Fault(Kind.LOSE_REPLY, "CompleteMultipartUpload"))
    upload = await begin(ends.writer())
    receipts = await parts(upload)
    # When it is repeated, by the transport or by us, and the upload given up
    with pytest.raises((Unavailable, UploadLost, PreconditionFailed)):
        await upload.complete(receipts, crc(LARGE))
    with pytest.raises((UploadLost, PreconditionFailed)):
        await upload.complete(receipts, crc(LARGE))
    await upload.abort()
    # Then the object is there, once
    assert ends.server.data("demo", "k") == LARGE
    assert len(ends.server.writes) == 1


async def test_an_upload_goes_on_in_another_process(ends: Ends) -> None:
    # Given an upload with its first part, and a token that survived
    first = await begin(ends.writer())
    receipt = await first.part(0, 0, LARGE[:PART], crc(LARGE[:PART]))
    # When somebody else goes on with it
    second = await ends.writer().begin("k", len(LARGE), PLAIN, Absent(), first.token)
    other = await second.part(1, PART, LARGE[PART:], crc(LARGE[PART:]))
    done = await second.complete([other, receipt], crc(LARGE))
    # Then the object is whole, and no part was sent twice
    assert (done.crc32c, ends.server.data("demo", "k")) == (crc(LARGE), LARGE)
    assert ends.server.requests["UploadPart"] == 2


async def test_a_requester_that_pays(ends: Ends) -> None:
    # Given a bucket whose requester pays
    ends.server.bucket("demo").requester_pays = True
    # When it is written, read, looked at and listed by a route that says so
    writer, reader = ends.writer(requester_pays=True), ends.reader(requester_pays=True)
    put = await writer.put("small", body(b"bytes"), Absent())
    upload = await begin(writer)
    await upload.complete(await parts(upload), crc(LARGE))
    assert (await reader.read("small", None, put.version)).data == b"bytes"
    assert await reader.stat("small")
    assert [stored.key async for page in reader.list() for stored in page.objects] == ["k", "small"]
    # Then it all works, and without it nothing does
    with pytest.raises(Exception, match="403 AccessDenied"):
        await ends.writer().put("other", body(b"bytes"), Absent())
    with pytest.raises(Exception, match="403"):
        await ends.reader().stat("small")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"kms_key_id": "no-such-key"}, "KMS.NotFoundException"), ({"storage_class": "COLD"}, "InvalidStorageClass")],
)
async def test_what_the_service_refuses_is_refused_for_good(options: dict[str, Any], said: str) -> None:
    async with S3Server(buckets=["demo"], kms_keys=["key-1"]) as server:
        transport = Transport()
        writer = Ends(server, transport).writer(encryption="aws:kms", **options)
        for attempt in (writer.put("k", body(b"bytes"), Absent()), begin(writer)):
            with pytest.raises(Refused, match=said):
                await attempt
        await transport.close()


async def test_a_bucket_in_another_region_is_named_with_it(ends: Ends) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html"""
    ends.server.store.create_bucket("far-away", "eu-central-1")
    far = ends.writer("far-away")
    with pytest.raises(LocationMissing, match="the bucket is in eu-central-1, this route asks us-east-1"):
        await far.put("k", body(b"bytes"), Absent())
    # A wrong region in the settings is only how requests are signed: the service names the right one, and that is taken.
    elsewhere = ends.writer(region="eu-west-1")
    assert (await elsewhere.put("k", body(b"bytes"), Absent())).size == 5
