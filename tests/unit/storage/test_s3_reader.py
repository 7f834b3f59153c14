"""S3 as a source, against the strict stand-in: what changes, what is archived, what arrives broken, who pays."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import google_crc32c
import pytest

from common.config import StoreOptions
from common.errors import (
    Archived,
    ChecksumMismatch,
    Forbidden,
    RateLimited,
    Refused,
    SourceChanged,
    SourceMissing,
    Unauthenticated,
    Unavailable,
)
from common.location import Location
from common.objects import Headers, Span
from common.storage import s3
from common.storage.base import MIB, Absent, Body
from common.storage.s3_headers import from_wire
from common.transport.http import Response
from tests.fakes.http import Framing
from tests.fakes.s3 import Fault, Identity, Kind, S3Server
from tests.fakes.s3.fields import Encryption
from tests.fakes.s3.store import Versioning
from tests.unit.fakes.wire import ask
from tests.unit.storage.s3_ends import SETTINGS, Ends

if TYPE_CHECKING:
    from common.transport.http import Request, Transport

DATA = bytes(range(200))


async def test_a_source_that_changes_between_two_spans(ends: Ends) -> None:
    # Given an object that is written anew once its first span has been read
    ends.server.put("demo", "k", DATA)
    fault = ends.server.faults.add(Fault(Kind.CHANGE, "GetObject"))
    reader = ends.reader()
    first = await reader.read("k", Span(0, 100), None)
    # When the second is read of the same version
    # Then no byte of another one comes
    with pytest.raises(SourceChanged):
        await reader.read("k", Span(100, 200), first.object.version)
    assert fault.fired == 1


@pytest.mark.parametrize("span", [None, Span(0, 100)])
async def test_a_version_that_is_no_longer_the_current_one_is_not_read(ends: Ends, span: Span | None) -> None:
    # Given a bucket that keeps versions, and an object that was replaced
    ends.server.bucket("demo").versioning = Versioning.ENABLED
    reader = ends.reader()
    ends.server.put("demo", "k", DATA)
    first = await reader.stat("k")
    assert first is not None
    assert first.version.id is not None
    ends.server.put("demo", "k", b"other" * 100)
    # When its first version is read, which the bucket still has
    # Then no byte of it comes
    with pytest.raises(SourceChanged):
        await reader.read("k", span, first.version)
    # And once the key is deleted, there is nothing
    ends.server.store.delete("demo", "k")
    assert await reader.stat("k") is None
    with pytest.raises(SourceMissing):
        await reader.read("k", span, first.version)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(Kind.STATUS, "GetObject", retry_after=2), RateLimited),
        (Fault(Kind.STATUS, "GetObject", status=500), Unavailable),
        (Fault(Kind.STATUS, "GetObject", status=403), Forbidden),
        (Fault(Kind.CORRUPT, "GetObject"), ChecksumMismatch),
        (Fault(Kind.TRUNCATE, "GetObject", after_bytes=50), Unavailable),
        (Fault(Kind.TRUNCATE, "GetObject", after_bytes=50, framing=Framing.CLOSE), ChecksumMismatch),
        (Fault(Kind.RESET, "GetObject", after_bytes=50), Unavailable),
    ],
    ids=["503", "500", "403", "a wrong byte", "cut short", "cut short without a length", "reset in the middle"],
)
async def test_what_can_go_wrong_on_the_way(ends: Ends, fault: Fault, error: type[Exception]) -> None:
    # Given an object with a CRC32C, and trouble
    await ends.writer().put("k", Body(DATA, google_crc32c.value(DATA), Headers()), Absent())
    ends.server.faults.add(fault)
    # When it is read
    with pytest.raises(error) as raised:
        await ends.reader().read("k", None, None)
    # Then it is told for what it is, and the next attempt works
    assert fault.fired == 1
    assert getattr(raised.value, "retry_after", None) == fault.retry_after
    assert (await ends.reader().read("k", None, None)).data == DATA


@pytest.mark.parametrize("checksum", ["CRC32C", "CRC32", "SHA1", "SHA256", None])
async def test_whichever_checksum_the_uploader_chose_is_compared(ends: Ends, checksum: str | None) -> None:
    # Given an object as boto3 (CRC32), somebody careful (SHA256) or somebody careless (S3 added CRC64NVME) uploaded it
    ends.server.put("demo", "k", DATA, checksum=checksum)
    ends.server.faults.add(Fault(Kind.CORRUPT, "GetObject"))
    # When it is read with a wrong byte
    # Then it is noticed
    with pytest.raises(ChecksumMismatch):
        await ends.reader().read("k", None, None)
    assert (await ends.reader().read("k", None, None)).data == DATA


async def test_parts_are_read_against_the_checksum_of_the_whole_where_it_is_believed(ends: Ends) -> None:
    # Given an object that was put in parts
    data = bytes(6 * MIB)
    upload = await ends.writer().begin("k", len(data), Headers(), Absent())
    receipts = [
        await upload.part(number, start, data[start : start + 5 * MIB], google_crc32c.value(data[start : start + 5 * MIB]))
        for number, start in enumerate((0, 5 * MIB))
    ]
    await upload.complete(receipts, google_crc32c.value(data))
    # When it is read whole with a wrong byte: from AWS, and from a service that may call anything FULL_OBJECT
    ends.server.faults.add(Fault(Kind.CORRUPT, "GetObject", times=2))
    # Then the first one is noticed here, the other by whoever compares with the destination
    with pytest.raises(ChecksumMismatch):
        await ends.reader().read("k", None, None)
    assert (await ends.reader(compat="auto").read("k", None, None)).object.crc32c is None


@pytest.mark.parametrize("tier", ["GLACIER", "DEEP_ARCHIVE", "INTELLIGENT_TIERING"])
async def test_archived_bytes_are_told_as_such(ends: Ends, tier: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, InvalidObjectState."""
    blob = ends.server.put("demo", "k", DATA, storage_class=tier)
    blob.archive = "ARCHIVE_ACCESS" if tier == "INTELLIGENT_TIERING" else None
    reader = ends.reader()
    found = await reader.stat("k")
    assert found is not None
    assert found.storage_class == tier
    for span in (None, Span(0, 10)):
        with pytest.raises(Archived, match="restore the object"):
            await reader.read("k", span, found.version)
    blob.restored = True
    assert (await reader.read("k", None, found.version)).data == DATA


async def test_an_object_under_a_key_of_its_owner(ends: Ends) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html: 400 without the key, and no reason on a HEAD."""
    blob = ends.server.put("demo", "k", DATA)
    blob.fields = replace(blob.fields, encryption=Encryption(customer="MD5 of the key"))
    reader = ends.reader()
    with pytest.raises(Refused, match="The object was stored using a form of Server Side Encryption"):
        await reader.read("k", None, None)
    with pytest.raises(Unauthenticated, match="SSE-C"):
        await reader.stat("k")


@pytest.mark.parametrize(
    ("identity", "clock_is_off", "error"),
    [
        (Identity("SOMEBODY", "ELSE"), 0, Unauthenticated),
        (Identity("AKIDTEST", "another secret"), 0, Unauthenticated),
        (Identity("AKIDTEST", "SECRETTEST"), 3600, Unauthenticated),
        (Identity("AKIDTEST", "SECRETTEST", "token"), 0, Unauthenticated),
    ],
    ids=["unknown key", "wrong secret", "clock", "no token"],
)
async def test_credentials_that_do_not_open(ends: Ends, identity: Identity, clock_is_off: int, error: type[Exception]) -> None:
    async with S3Server(buckets=["demo"], identities=[identity], clock=lambda: time.time() + clock_is_off) as server:
        server.put("demo", "k", DATA)
        with pytest.raises(error):
            await ends.reader(endpoint=server.url).read("k", None, None)


class _Redirected:
    """What would go to AWS goes to the stand-in, which is told by the host's name what was meant."""

    def __init__(self, server: S3Server) -> None:
        self._server = server
        self.urls: list[str] = []

    async def send(self, request: Request) -> Response:
        self.urls.append(request.url)
        parts = urlsplit(request.url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        headers = {**dict(request.headers), "Host": parts.netloc}
        answer = await asyncio.to_thread(ask, self._server, request.method, path, request.body or None, **headers)
        return Response(answer.status, answer.headers, answer.body)


async def test_the_names_of_aws_itself() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html"""
    # Given buckets in two regions, one with a dot in its name, which AWS's certificate does not cover as a host
    async with S3Server(buckets=["demo", "with.dot"]) as server:
        server.store.create_bucket("far-away", "eu-central-1")
        redirected = _Redirected(server)
        for bucket, region, root in (
            ("demo", "us-east-1", "https://demo.s3.us-east-1.amazonaws.com/"),
            ("with.dot", "us-east-1", "https://s3.us-east-1.amazonaws.com/with.dot/"),
            ("far-away", "eu-central-1", "https://far-away.s3.eu-central-1.amazonaws.com/"),
        ):
            # When an object with an odd key is written and read as at AWS
            location, options = Location.parse(f"s3://{bucket}"), StoreOptions(region=region)
            transport = cast("Transport", redirected)
            writer = s3.writer(location, options, SETTINGS, transport)
            reader = s3.reader(location, options, SETTINGS, transport)
            assert writer.limits.preconditions
            await writer.put("a/../b c+\u00e9", Body(DATA, google_crc32c.value(DATA), Headers()), Absent())
            # Then the signature holds under that name, and the object is there
            assert (await reader.read("a/../b c+\u00e9", None, None)).data == DATA
            assert redirected.urls[-1] == f"{root}a/../b%20c%2B%C3%A9"


def test_text_that_is_not_ascii_is_read_however_it_is_sent() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html: RFC 2047. Some services send UTF-8."""
    headers = from_wire(
        {
            "x-amz-meta-rfc": "=?UTF-8?B?w6k=?=",
            "x-amz-meta-utf": "\u00e9".encode().decode("latin-1"),
            "x-amz-meta-latin": "\u00e9",
            "content-disposition": "=?UTF-8?B?YXR0YWNobWVudDsgZmlsZW5hbWU9IsOpIg==?=",
        }
    )
    assert dict(headers.metadata) == {"rfc": "\u00e9", "utf": "\u00e9", "latin": "\u00e9"}
    assert headers.content_disposition == 'attachment; filename="\u00e9"'


async def test_a_wrong_secret_is_called_so(ends: Ends) -> None:
    ends.server.faults.add(Fault(Kind.STATUS, status=403, code="SignatureDoesNotMatch"))
    with pytest.raises(Unauthenticated, match="; check AWS_SECRET_ACCESS_KEY"):
        await ends.reader().read("k", Span(0, 1), None)
