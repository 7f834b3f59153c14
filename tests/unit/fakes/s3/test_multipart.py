"""Uploads in parts: the rules for parts, what completes them, and which checksum comes out."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest
from botocore.exceptions import ClientError

from tests.unit.fakes.s3.wire import code, refused, said, signed

if TYPE_CHECKING:
    from tests.fakes.s3 import S3Server
    from tests.unit.fakes.wire import Answer

MIB = 1024 * 1024
FIRST, LAST = b"a" * (5 * MIB), b"the end"


def crc(data: bytes) -> str:
    return base64.b64encode(int(google_crc32c.value(data)).to_bytes(4, "big")).decode()


class Upload:
    """One upload to the key `k`, by hand."""

    def __init__(self, server: S3Server, bucket: str, **headers: str) -> None:
        self.server = server
        self.path = f"/{bucket}/k"
        self.id = said(signed(server, "POST", f"{self.path}?uploads", **headers), "UploadId")

    def part(self, number: int, data: bytes, **headers: str) -> Answer:
        return signed(self.server, "PUT", f"{self.path}?partNumber={number}&uploadId={self.id}", data, **headers)

    def complete(self, *parts: tuple[int, str] | tuple[int, str, str], **headers: str) -> Answer:
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{''.join(checksum)}</Part>"
            for number, etag, *checksum in parts
        )
        body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{listed}</CompleteMultipartUpload>'
        return signed(self.server, "POST", f"{self.path}?uploadId={self.id}", body.encode(), **headers)


@pytest.fixture
def upload(shared: S3Server, bucket: str) -> Upload:
    return Upload(shared, bucket)


def test_parts_become_an_object(shared: S3Server, bucket: str, upload: Upload) -> None:
    # Given parts, the last one first, and one that is written twice
    last = upload.part(7, LAST).headers["etag"]
    upload.part(2, b"b" * (5 * MIB))
    first = upload.part(2, FIRST).headers["etag"]
    assert shared.keys(bucket) == []
    # When the upload is completed
    answer = upload.complete((2, first), (7, last))
    # Then the object is made of them, its ETag of theirs
    digest = hashlib.md5(hashlib.md5(FIRST).digest() + hashlib.md5(LAST).digest()).hexdigest()
    assert (answer.status, said(answer, "ETag")) == (200, f"&quot;{digest}-2&quot;")
    assert shared.data(bucket, "k") == FIRST + LAST
    # And the upload is no more
    for again in (
        upload.complete((2, first), (7, last)),
        upload.part(1, b"x"),
        signed(shared, "DELETE", f"{upload.path}?uploadId=x"),
    ):
        assert (again.status, code(again)) == (404, "NoSuchUpload")


def test_what_is_no_list_of_parts(upload: Upload) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html, Special errors."""
    small = upload.part(1, b"small").headers["etag"]
    last = upload.part(2, LAST).headers["etag"]
    lists: dict[str, Any] = {
        "MalformedXML": [()],
        "InvalidPartOrder": [((2, last), (1, small)), ((1, small), (1, small))],
        "InvalidPart": [((3, last),), ((1, last),)],
        "EntityTooSmall": [((1, small), (2, last))],
    }
    for answered, parts in lists.items():
        for listed in parts:
            answer = upload.complete(*listed)
            assert (answer.status, code(answer)) == (400, answered)
    # And the upload is still there
    assert upload.complete((1, small)).status == 200


@pytest.mark.parametrize("number", ["0", "10001", "x"])
def test_part_numbers(shared: S3Server, upload: Upload, number: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html: 1 to 10,000."""
    answer = signed(shared, "PUT", f"{upload.path}?partNumber={number}&uploadId={upload.id}", b"x")
    assert (answer.status, code(answer)) == (400, "InvalidArgument")


def test_an_aborted_upload_is_gone(shared: S3Server, bucket: str, boto: Any, upload: Upload) -> None:
    upload.part(1, b"x")
    assert [each["UploadId"] for each in boto.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload.id]
    boto.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload.id)
    assert "Uploads" not in boto.list_multipart_uploads(Bucket=bucket)
    with pytest.raises(ClientError) as error:
        boto.list_parts(Bucket=bucket, Key="k", UploadId=upload.id)
    assert refused(error.value) == (404, "NoSuchUpload")
    # And an upload is one of its key only
    other = Upload(shared, bucket)
    with pytest.raises(ClientError):
        boto.list_parts(Bucket=bucket, Key="other", UploadId=other.id)


def test_lists_of_parts_and_uploads_come_in_pages(boto: Any, shared: S3Server, bucket: str) -> None:
    upload = Upload(shared, bucket, x_amz_checksum_algorithm="CRC32C", x_amz_checksum_type="FULL_OBJECT")
    for number in (3, 1, 2):
        upload.part(number, b"%d" % number)
    pages = boto.get_paginator("list_parts").paginate(
        Bucket=bucket, Key="k", UploadId=upload.id, PaginationConfig={"PageSize": 2}
    )
    found = [part for page in pages for part in page["Parts"]]
    assert [(part["PartNumber"], part["Size"], part["ChecksumCRC32C"]) for part in found] == [
        (number, 1, crc(b"%d" % number)) for number in (1, 2, 3)
    ]
    more = {Upload(shared, bucket).id, Upload(shared, bucket).id, upload.id}
    listed = boto.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert {each["UploadId"] for page in listed for each in page["Uploads"]} == more


def test_a_checksum_over_the_whole_object(shared: S3Server, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html, full object checksums."""
    # Given an upload that will have the CRC32C of the whole
    upload = Upload(shared, bucket, x_amz_checksum_algorithm="CRC32C", x_amz_checksum_type="FULL_OBJECT")
    first = upload.part(1, FIRST, x_amz_checksum_crc32c=crc(FIRST)).headers["etag"]
    last = upload.part(2, LAST).headers["etag"]
    # When it is completed under another checksum, another size, another type
    for headers, answered in (
        ({"x_amz_checksum_crc32c": crc(b"other")}, "BadDigest"),
        ({"x_amz_mp_object_size": "5"}, "InvalidRequest"),
        ({"x_amz_checksum_type": "COMPOSITE"}, "BadDigest"),
        ({"x_amz_checksum_crc32": crc(b"other")}, "BadDigest"),
    ):
        assert code(upload.complete((1, first), (2, last), **headers)) == answered
    assert code(upload.complete((1, first, f"<ChecksumCRC32C>{crc(LAST)}</ChecksumCRC32C>"), (2, last))) == "InvalidPart"
    # Then there is nothing; under the right ones there is
    assert shared.keys(bucket) == []
    right = {
        "x_amz_checksum_crc32c": crc(FIRST + LAST),
        "x_amz_mp_object_size": str(5 * MIB + 7),
        "x_amz_checksum_type": "FULL_OBJECT",
    }
    answer = upload.complete((1, first), (2, last), **right)
    assert (said(answer, "ChecksumCRC32C"), said(answer, "ChecksumType")) == (crc(FIRST + LAST), "FULL_OBJECT")
    head = signed(shared, "HEAD", upload.path, x_amz_checksum_mode="ENABLED")
    assert (head.headers["x-amz-checksum-crc32c"], head.headers["x-amz-checksum-type"]) == (crc(FIRST + LAST), "FULL_OBJECT")


def test_a_checksum_of_checksums(shared: S3Server, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html, composite checksums."""
    upload = Upload(shared, bucket, x_amz_checksum_algorithm="CRC32C")
    assert "expected checksum Type: crc32c, actual checksum Type: null" in said(upload.part(1, FIRST), "Message")
    first = upload.part(1, FIRST, x_amz_checksum_crc32c=crc(FIRST)).headers["etag"]
    last = upload.part(2, LAST, x_amz_checksum_crc32c=crc(LAST)).headers["etag"]
    assert "must include the checksum for each part" in said(upload.complete((1, first), (2, last)), "Message")
    parts = [
        (1, first, f"<ChecksumCRC32C>{crc(FIRST)}</ChecksumCRC32C>"),
        (2, last, f"<ChecksumCRC32C>{crc(LAST)}</ChecksumCRC32C>"),
    ]
    answer = upload.complete(*parts)
    of_both = crc(base64.b64decode(crc(FIRST)) + base64.b64decode(crc(LAST)))
    assert (said(answer, "ChecksumCRC32C"), said(answer, "ChecksumType")) == (f"{of_both}-2", "COMPOSITE")


@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("CRC99", "")])
def test_types_that_an_algorithm_does_not_have(shared: S3Server, bucket: str, algorithm: str, kind: str) -> None:
    headers = {"x_amz_checksum_algorithm": algorithm} | ({"x_amz_checksum_type": kind} if kind else {})
    answer = signed(shared, "POST", f"/{bucket}/k?uploads", **headers)
    assert (answer.status, code(answer)) == (400, "InvalidRequest")


def test_a_part_with_another_checksum_than_its_upload(shared: S3Server, bucket: str) -> None:
    upload = Upload(shared, bucket, x_amz_checksum_algorithm="SHA256")
    answer = upload.part(1, b"bytes", x_amz_checksum_crc32c=crc(b"bytes"))
    assert "expected checksum Type: sha256, actual checksum Type: crc32c" in said(answer, "Message")


def test_conditions_hold_when_an_upload_is_completed(shared: S3Server, bucket: str, boto: Any, upload: Upload) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html"""
    etag = upload.part(1, b"bytes").headers["etag"]
    there = boto.put_object(Bucket=bucket, Key="k", Body=b"first")["ETag"]
    answer = upload.complete((1, etag), If_None_Match="*")
    assert (answer.status, code(answer)) == (412, "PreconditionFailed")
    answer = upload.complete((1, etag), If_Match='"another"')
    assert (answer.status, code(answer)) == (412, "PreconditionFailed")
    assert shared.data(bucket, "k") == b"first"
    assert upload.complete((1, etag), If_Match=there).status == 200
    assert shared.data(bucket, "k") == b"bytes"
    shared.store.delete(bucket, "k")
    again = Upload(shared, bucket)
    etag = again.part(1, b"bytes").headers["etag"]
    answer = again.complete((1, etag), If_Match=there)
    assert (answer.status, code(answer)) == (404, "NoSuchKey")


def test_everything_beside_the_bytes_is_said_at_the_beginning(boto: Any, bucket: str) -> None:
    kept = {"ContentType": "text/x", "Metadata": {"k": "v"}, "StorageClass": "GLACIER_IR", "ServerSideEncryption": "aws:kms"}
    upload = boto.create_multipart_upload(Bucket=bucket, Key="k", Tagging="a=1", **kept)["UploadId"]
    part = boto.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"bytes")
    listed = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]}
    boto.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=listed)
    found = boto.head_object(Bucket=bucket, Key="k")
    assert kept.items() <= found.items()
    assert found["TagCount"] == 1
