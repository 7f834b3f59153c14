"""What S3's word proves of bytes that were read or written, and what it does not."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.checksums import crc32c, crc64nvme
from common.errors import ChecksumMismatch
from common.objects import Headers
from common.storage import proof
from common.storage.base import MIB, Absent, Body
from common.storage.names import SOURCE_VERSION
from common.storage.s3_headers import stored
from common.storage.s3_writer import S3Writer
from common.transport.http import Transport

if TYPE_CHECKING:
    from common.storage.base import PartReceipt, Upload
    from common.transport.http import Request, Response
    from tests.unit.storage.s3_ends import Ends

DATA = bytes(range(256)) * 40
PART = 5 * MIB
LARGE = bytes(range(256)) * (4096 * 6)
OURS = Headers(metadata={SOURCE_VERSION: "v1"})
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()


async def parts(upload: Upload) -> list[PartReceipt]:
    pieces = [LARGE[start : start + PART] for start in range(0, len(LARGE), PART)]
    return [await upload.part(number, number * PART, piece, crc32c(piece)) for number, piece in enumerate(pieces)]


def damaging(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """One wrong byte in the bodies of these requests, to a service that compares nothing, or in those of their answers."""
    send = Transport.send

    def wrong(body: bytes) -> bytes:
        return body[:-1] + bytes([body[-1] ^ 1]) if len(body) > 1000 else body

    async def damaged(self: Transport, request: Request) -> Response:
        if request.method != method:
            return await send(self, request)
        response = await send(self, replace(request, body=wrong(request.body)))
        return replace(response, body=wrong(response.body)) if method == "GET" else response

    monkeypatch.setattr(Transport, "send", damaged)
    monkeypatch.setattr(S3Writer, "integrity", lambda *_: [])


@pytest.mark.parametrize("compat", ["auto", "basic"])
async def test_a_service_without_checksums_proves_by_its_etag(old: Ends, compat: str) -> None:
    # Given a service that knows MD5 only
    writer = old.writer(compat=compat)
    assert not writer.limits.compares_bytes

    # When objects are put whole and in parts, then their ETags prove them
    put = await writer.put("small", Body(DATA, crc32c(DATA), OURS), Absent())
    assert put.crc32c == crc32c(DATA)
    upload = await writer.begin("large", len(LARGE), OURS, Absent())
    assert (await upload.complete(await parts(upload), crc32c(LARGE))).crc32c == crc32c(LARGE)

    # And what is gone on with in another process is not proven, since nobody knows what the first parts were sent as
    upload = await writer.begin("resumed", len(LARGE), OURS, Absent())
    receipts = await parts(upload)
    again = await writer.begin("resumed", len(LARGE), OURS, Absent(), token=upload.token)
    assert (await again.complete(receipts, crc32c(LARGE))).crc32c is None


async def test_damage_on_the_way_to_a_service_that_compares_nothing_is_not_proven(
    old: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a way that damages bytes, and a service that is not told what they should be
    writer = old.writer(compat="basic")
    damaging(monkeypatch, "PUT")

    # When objects are put, then nothing says that they arrived
    assert (await writer.put("small", Body(DATA, crc32c(DATA), OURS), Absent())).crc32c is None
    upload = await writer.begin("large", len(LARGE), OURS, Absent())
    assert (await upload.complete(await parts(upload), crc32c(LARGE))).crc32c is None


async def test_aws_that_does_not_repeat_the_checksum_is_asked(old: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a service that is believed and repeats no checksum
    writer = old.writer(compat="aws")

    # When an object is put, then its ETag is the MD5, as documented; and where that is another, the bytes are
    assert (await writer.put("k", Body(DATA, crc32c(DATA), OURS), Absent())).crc32c == crc32c(DATA)
    damaging(monkeypatch, "PUT")
    with pytest.raises(ChecksumMismatch, match="MD5"):
        await writer.put("other", Body(DATA, crc32c(DATA), OURS), Absent())


@pytest.mark.parametrize("compat", ["auto", "basic"])
async def test_an_etag_that_is_the_md5_of_what_came_proves_it(old: Ends, compat: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a source that nobody vouches for
    old.server.put("demo", "k", DATA)
    reader = old.reader(compat=compat)

    # When an object is read whole, then its ETag proves it, though it would disprove nothing
    assert proof.is_stated((await reader.read("k", None, None)).object)
    assert (await reader.stat("k")) is not None
    damaging(monkeypatch, "GET")
    content = await reader.read("k", None, None)
    assert content.data != DATA
    assert not proof.is_stated(content.object)


@pytest.mark.parametrize(
    ("algorithm", "named"),
    [("SHA1", "SHA1"), ("SHA256", "SHA256"), ("CRC32", "MD5"), ("CRC32C", "CRC32C"), (None, "CRC64NVME")],
)
async def test_whatever_checksum_s3_keeps_is_compared(
    ends: Ends, algorithm: str | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an object with a checksum of the uploader's choice, or of S3's
    ends.server.put("demo", "k", DATA, checksum=algorithm)
    reader = ends.reader()
    assert (await reader.read("k", None, None)).data == DATA

    # When a byte is damaged on the way
    damaging(monkeypatch, "GET")
    with pytest.raises(ChecksumMismatch, match=named):
        await reader.read("k", None, None)


@pytest.mark.parametrize(
    ("wire", "md5"),
    [
        ({}, MD5),
        ({"x-amz-server-side-encryption": "AES256"}, MD5),
        ({"x-amz-server-side-encryption": "aws:kms"}, None),
        ({"x-amz-server-side-encryption": "aws:kms:dsse"}, None),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, None),
        ({"x-amz-storage-class": "EXPRESS_ONEZONE"}, None),
        ({"etag": f'"{MD5}-3"'}, None),
        ({"etag": f'"{MD5.upper()}"'}, None),
    ],
)
def test_an_etag_is_an_md5_where_aws_says_so(wire: dict[str, str], md5: str | None) -> None:
    headers = {"etag": f'"{MD5}"', **wire}
    assert stored("k", len(DATA), headers, believed=True).md5 == md5
    assert stored("k", len(DATA), headers).md5 is None


def test_a_composite_checksum_is_none_of_the_whole() -> None:
    # Given what S3 says of an object in parts
    wire = {"etag": f'"{MD5}-2"', "x-amz-checksum-sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=-2"}

    # Then nothing is known of its bytes, whatever it calls the checksum, where it is not believed
    for kind in ({}, {"x-amz-checksum-type": "COMPOSITE"}):
        assert not proof.is_stated(stored("k", 9, wire | kind, believed=True))
    plain = {"etag": f'"{MD5}-2"', "x-amz-checksum-sha1": "2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "x-amz-checksum-type": "FULL_OBJECT"}
    assert not proof.is_stated(stored("k", 9, plain))
    assert stored("k", 9, plain, believed=True).digests == {"sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}


async def test_one_checksum_is_compared_the_best_first() -> None:
    # Given an object of which everything is stated
    found = stored("k", len(DATA), {"etag": f'"{MD5}"'}, believed=True)
    found = replace(found, crc32c=crc32c(DATA), crc64nvme=crc64nvme(DATA), digests={"sha256": "0"})

    # Then the first that can be joined decides, then the next
    assert await proof.difference(DATA, found) is None
    assert proof.in_order(found) is None
    assert await proof.difference(DATA, replace(found, crc32c=1)) == "CRC32C"
    assert await proof.difference(DATA, replace(found, crc32c=None, crc64nvme=1)) == "CRC64NVME"
    assert await proof.difference(DATA, replace(found, crc32c=None, crc64nvme=None)) == "SHA256"
    assert await proof.difference(DATA, replace(found, crc32c=None, crc64nvme=None, digests={})) is None
