"""What a write is held to: conditions, checksums, sizes, names, classes, keys and tags."""

from __future__ import annotations

import base64
import hashlib
import http.client
import time
import zlib
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from tests.fakes.s3 import S3Server
from tests.unit.fakes.s3.wire import OWNER, client, code, refused, said, signed
from tests.unit.fakes.wire import raw

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY_ETAG = '"0123456789abcdef0123456789abcdef"'


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


RIGHT = {
    "Content_MD5": encoded(hashlib.md5(b"bytes").digest()),
    "x_amz_checksum_crc32": encoded(zlib.crc32(b"bytes").to_bytes(4, "big")),
    "x_amz_checksum_crc32c": encoded(google_crc32c.value(b"bytes").to_bytes(4, "big")),
    "x_amz_checksum_crc64nvme": "",
    "x_amz_checksum_sha1": encoded(hashlib.sha1(b"bytes").digest()),
    "x_amz_checksum_sha256": encoded(hashlib.sha256(b"bytes").digest()),
}


@pytest.mark.parametrize("header", [header for header, value in RIGHT.items() if value])
def test_a_checksum_is_compared_before_anything_is_stored(server: S3Server, header: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html"""
    # When bytes are put under the checksum of others, and under nonsense
    answer = signed(server, "PUT", "/demo/k", b"other", **{header: RIGHT[header]})
    assert (answer.status, code(answer)) == (400, "BadDigest")
    nonsense = signed(server, "PUT", "/demo/k", b"bytes", **{header: "bm9uc2Vuc2U="})
    assert (nonsense.status, code(nonsense)) == (400, "InvalidDigest" if header == "Content_MD5" else "InvalidRequest")
    # Then nothing is there
    assert server.keys("demo") == []
    # And under their own they are, and the answer repeats it
    answer = signed(server, "PUT", "/demo/k", b"bytes", **{header: RIGHT[header]})
    assert answer.status == 200
    if header != "Content_MD5":
        assert answer.headers[header.replace("_", "-")] == RIGHT[header]
        assert answer.headers["x-amz-checksum-type"] == "FULL_OBJECT"
        head = signed(server, "HEAD", "/demo/k", x_amz_checksum_mode="ENABLED")
        assert head.headers[header.replace("_", "-")] == RIGHT[header]
        assert header.replace("_", "-") not in signed(server, "HEAD", "/demo/k").headers


def test_checksums_that_contradict_each_other(server: S3Server) -> None:
    both = {name: RIGHT[name] for name in ("x_amz_checksum_crc32", "x_amz_checksum_crc32c")}
    answer = signed(server, "PUT", "/demo/k", b"bytes", **both)
    assert "Expecting a single x-amz-checksum- header" in said(answer, "Message")
    answer = signed(server, "PUT", "/demo/k", b"bytes", x_amz_sdk_checksum_algorithm="CRC32C")
    assert "no corresponding x-amz-checksum" in said(answer, "Message")


def test_a_write_where_nothing_may_be(boto: Any, shared: S3Server, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html"""
    boto.put_object(Bucket=bucket, Key="k", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        boto.put_object(Bucket=bucket, Key="k", Body=b"second", IfNoneMatch="*")
    assert refused(error.value) == (412, "PreconditionFailed")
    said_of_it: Any = error.value.response["Error"]
    assert said_of_it["Condition"] == "If-None-Match"
    with pytest.raises(ClientError) as error:
        boto.put_object(Bucket=bucket, Key="new", Body=b"second", IfNoneMatch=ANY_ETAG)
    assert refused(error.value) == (501, "NotImplemented")
    assert (shared.data(bucket, "k"), shared.keys(bucket)) == (b"first", ["k"])


def test_a_write_over_what_was_seen(boto: Any, shared: S3Server, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: 412 for another, 404 for none."""
    first = boto.put_object(Bucket=bucket, Key="k", Body=b"first")["ETag"]
    with pytest.raises(ClientError) as error:
        boto.put_object(Bucket=bucket, Key="k", Body=b"second", IfMatch=ANY_ETAG)
    assert refused(error.value) == (412, "PreconditionFailed")
    boto.put_object(Bucket=bucket, Key="k", Body=b"second", IfMatch=first)
    boto.delete_object(Bucket=bucket, Key="k")
    with pytest.raises(ClientError) as error:
        boto.put_object(Bucket=bucket, Key="k", Body=b"third", IfMatch=first)
    assert refused(error.value) == (404, "NoSuchKey")
    assert shared.keys(bucket) == []


def test_a_delete_in_the_middle_of_a_conditional_write(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: 409 "if a delete request to an object
    succeeds before a conditional write operation on that object completes".
    """
    # Given a write whose body is still on its way
    request = AWSRequest("PUT", f"{server.url}/demo/k", data=b"bytes", headers={"If-None-Match": "*"})
    S3SigV4Auth(OWNER, "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.putrequest("PUT", "/demo/k")
    for name, value in {**dict(request.headers.items()), "Content-Length": "5"}.items():
        connection.putheader(name, value)
    connection.endheaders(b"by")
    while server.requests["PutObject"] < 1:
        time.sleep(0.001)
    # When the key is deleted before the rest of it comes
    assert signed(server, "DELETE", "/demo/k").status == 204
    connection.send(b"tes")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    # Then it is a conflict, not a condition that did not hold
    assert (answer.status, b"ConditionalRequestConflict" in body) == (409, True)
    assert server.keys("demo") == []


@pytest.mark.parametrize(
    ("headers", "status", "answered"),
    [
        ({"x_amz_storage_class": "COLD"}, 400, "InvalidStorageClass"),
        ({"x_amz_server_side_encryption": "AES512"}, 400, "InvalidEncryptionAlgorithmError"),
        ({"x_amz_server_side_encryption": "AES256", "x_amz_server_side_encryption_aws_kms_key_id": "k"}, 400, "InvalidArgument"),
        (
            {"x_amz_server_side_encryption": "aws:kms", "x_amz_server_side_encryption_aws_kms_key_id": "?"},
            400,
            "KMS.NotFoundException",
        ),
        ({"x_amz_server_side_encryption_customer_algorithm": "AES256"}, 400, "InvalidArgument"),
        ({"x_amz_tagging": "&".join(f"k{number}=v" for number in range(11))}, 400, "BadRequest"),
        ({"x_amz_tagging": "k=1&k=2"}, 400, "InvalidTag"),
        ({"x_amz_tagging": "k=" + "v" * 257}, 400, "InvalidTag"),
        ({"x_amz_meta_k": "v" * 2048}, 400, "MetadataTooLarge"),
        ({"Content_Disposition": "v" * 9000}, 400, "RequestHeaderSectionTooLarge"),
    ],
    ids=str,
)
def test_what_cannot_be_stored_beside_the_bytes(headers: Mapping[str, str], status: int, answered: str) -> None:
    with S3Server(buckets=["demo"], kms_keys=["key-1"]) as server:
        answer = signed(server, "PUT", "/demo/k", b"bytes", **headers)
        assert (answer.status, code(answer)) == (status, answered)
        assert server.keys("demo") == []


def test_user_metadata_of_two_kilobytes(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""
    assert signed(server, "PUT", "/demo/k", b"bytes", x_amz_meta_k="v" * 2047).status == 200
    answer = signed(server, "PUT", "/demo/k", b"bytes", x_amz_meta_k="v" * 2048)
    assert (said(answer, "Size"), said(answer, "MaxSizeAllowed")) == ("2049", "2048")


def test_keys_have_at_most_1024_bytes_of_utf_8(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""
    assert signed(server, "PUT", "/demo/" + "x" * 1024, b"bytes").status == 200
    for key, answered in (("x" * 1025, "KeyTooLongError"), ("%C3%A9" * 513, "KeyTooLongError"), ("%FF", "InvalidURI")):
        answer = signed(server, "PUT", f"/demo/{key}", b"bytes")
        assert (answer.status, code(answer)) == (400, answered)


def test_a_put_needs_a_length_and_not_too_much_of_it(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html: 5 GB in one PUT."""
    answer = signed(server, "PUT", "/demo/k", b"", x_amz_decoded_content_length=str(5 * 1024**3 + 1))
    assert (answer.status, code(answer)) == (400, "EntityTooLarge")
    request = AWSRequest("PUT", f"{server.url}/demo/k", data=b"")
    S3SigV4Auth(OWNER, "s3", "us-east-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "content-length"]
    head = ["PUT /demo/k HTTP/1.1", f"Host: {server.host}:{server.port}", *lines, "Connection: close", "", ""]
    assert b"<Code>MissingContentLength</Code>" in raw(server, "\r\n".join(head).encode())


def test_tags_afterwards(boto: Any, bucket: str) -> None:
    boto.put_object(Bucket=bucket, Key="k", Body=b"bytes")
    boto.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    assert boto.head_object(Bucket=bucket, Key="k")["TagCount"] == 1
    boto.delete_object_tagging(Bucket=bucket, Key="k")
    assert boto.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


def test_a_server_of_years_ago_sees_neither_checksums_nor_conditions() -> None:
    # Given a server that knows Content-MD5, and no condition on writes
    with S3Server(buckets=["demo"], new=False) as server:
        server.put("demo", "k", b"first")
        # When something is written over it that must not be, under a checksum that is wrong
        headers = {"If_None_Match": "*", "x_amz_checksum_crc32c": RIGHT["x_amz_checksum_crc32c"]}
        answer = signed(server, "PUT", "/demo/k", b"other", **headers)
        # Then nobody complains, and no checksum comes back
        assert answer.status == 200
        assert server.data("demo", "k") == b"other"
        assert not [name for name in answer.headers if "checksum" in name]
        head = signed(server, "HEAD", "/demo/k", x_amz_checksum_mode="ENABLED")
        assert not [name for name in head.headers if "checksum" in name]
        # But MD5 and conditions on reads it knows
        assert code(signed(server, "PUT", "/demo/k", b"x", Content_MD5=RIGHT["Content_MD5"])) == "BadDigest"
        assert code(signed(server, "GET", "/demo/k", If_Match=ANY_ETAG)) == "PreconditionFailed"
        # And streams with trailers it does not
        answer = signed(server, "PUT", "/demo/k", b"x", x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        assert (answer.status, code(answer)) == (501, "NotImplemented")
        # And boto3 gets along with it all the same
        boto = client(server, request_checksum_calculation="when_required", response_checksum_validation="when_required")
        boto.put_object(Bucket="demo", Key="k", Body=b"bytes")
        assert boto.get_object(Bucket="demo", Key="k")["Body"].read() == b"bytes"
        assert server.failures == []
