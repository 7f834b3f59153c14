"""Reads: versions, conditions, ranges, buckets whose requester pays, bytes in an archive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.fakes.s3.wire import code, presigned, refused, said, signed
from tests.unit.fakes.wire import ask

if TYPE_CHECKING:
    from tests.fakes.s3 import S3Server

DATA = bytes(range(200))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=190-", 190, 200),
        ("bytes=-5", 195, 200),
        ("bytes=150-9999", 150, 200),
    ],
)
def test_a_range(shared: S3Server, bucket: str, asked: str, start: int, end: int) -> None:
    shared.put(bucket, "k", DATA)
    answer = signed(shared, "GET", f"/{bucket}/k", Range=asked, x_amz_checksum_mode="ENABLED")
    assert (answer.status, answer.body) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/200"
    assert not [name for name in answer.headers if "checksum" in name]  # it would be of other bytes


@pytest.mark.parametrize("asked", ["bytes=200-", "bytes=500-600", "bytes=-0"])
def test_a_range_behind_the_end(shared: S3Server, bucket: str, asked: str) -> None:
    shared.put(bucket, "k", DATA)
    answer = signed(shared, "GET", f"/{bucket}/k", Range=asked)
    assert (answer.status, code(answer), said(answer, "ActualObjectSize")) == (416, "InvalidRange", "200")


def test_conditions(boto: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-reads.html"""
    etag = boto.put_object(Bucket=bucket, Key="k", Body=DATA)["ETag"]
    now = datetime.now(UTC)
    for call in (boto.get_object, boto.head_object):
        assert call(Bucket=bucket, Key="k", IfMatch=etag)["ETag"] == etag
        assert call(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=now - timedelta(days=1))["ETag"] == etag
        assert call(Bucket=bucket, Key="k", IfNoneMatch='"other"', IfModifiedSince=now + timedelta(days=1))["ETag"] == etag
        for condition, status in (
            ({"IfMatch": '"other"'}, 412),
            ({"IfUnmodifiedSince": now - timedelta(days=1)}, 412),
            ({"IfNoneMatch": etag}, 304),
            ({"IfModifiedSince": now + timedelta(seconds=1)}, 304),
        ):
            with pytest.raises(ClientError) as error:
                call(Bucket=bucket, Key="k", **condition)
            assert refused(error.value)[0] == status


def test_what_is_not_there(boto: Any, shared: S3Server, bucket: str) -> None:
    with pytest.raises(boto.exceptions.NoSuchKey):
        boto.get_object(Bucket=bucket, Key="k")
    answer = signed(shared, "HEAD", f"/{bucket}/k")
    assert (answer.status, answer.body) == (404, b"")


def test_versions(boto: Any, shared: S3Server, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html and DeleteMarker.html"""
    # Given an object from before versions, one of a version, one behind a suspension, and a delete marker
    boto.put_object(Bucket=bucket, Key="k", Body=b"null")
    boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert boto.head_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    first = boto.put_object(Bucket=bucket, Key="k", Body=b"first")["VersionId"]
    marker = boto.delete_object(Bucket=bucket, Key="k")
    assert marker["DeleteMarker"]
    # When the key is read, listed, and its versions are
    answer = signed(shared, "GET", f"/{bucket}/k")
    assert (answer.status, code(answer), answer.headers["x-amz-delete-marker"]) == (404, "NoSuchKey", "true")
    assert "Contents" not in boto.list_objects_v2(Bucket=bucket)
    for version_id, body in ((first, b"first"), ("null", b"null")):
        assert boto.get_object(Bucket=bucket, Key="k", VersionId=version_id)["Body"].read() == body
    listed = boto.list_object_versions(Bucket=bucket)
    # Then all of it is as it was
    assert [(each["VersionId"], each["IsLatest"]) for each in listed["Versions"]] == [(first, False), ("null", False)]
    assert [(each["VersionId"], each["IsLatest"]) for each in listed["DeleteMarkers"]] == [(marker["VersionId"], True)]
    # And a marker cannot be read, an unknown version is not there, and a wrong one is wrong
    for version_id, status, expected in (
        (marker["VersionId"], 405, "MethodNotAllowed"),
        ("unknown", 404, "NoSuchVersion"),
        ("a b", 400, "InvalidArgument"),
    ):
        with pytest.raises(ClientError) as error:
            boto.get_object(Bucket=bucket, Key="k", VersionId=version_id)
        assert refused(error.value) == (status, expected)
    # And without the marker the newest is current again; a suspended bucket writes over the null version only
    boto.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    assert boto.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"
    boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    boto.put_object(Bucket=bucket, Key="k", Body=b"newer")
    found = [each["VersionId"] for each in boto.list_object_versions(Bucket=bucket)["Versions"]]
    assert found == ["null", first]
    assert boto.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"newer"


def test_a_condition_does_not_see_a_delete_marker_as_an_object(boto: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: versions behind a marker do not count."""
    boto.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    boto.put_object(Bucket=bucket, Key="k", Body=b"first")
    boto.delete_object(Bucket=bucket, Key="k")
    assert boto.put_object(Bucket=bucket, Key="k", Body=b"second", IfNoneMatch="*")["VersionId"]


def test_the_requester_pays(boto: Any, shared: S3Server, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/ObjectsinRequesterPaysBuckets.html"""
    shared.put(bucket, "k", DATA)
    boto.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    for call, arguments in (
        (boto.get_object, {"Key": "k"}),
        (boto.head_object, {"Key": "k"}),
        (boto.list_objects_v2, {}),
        (boto.put_object, {"Key": "new", "Body": b"x"}),
        (boto.create_multipart_upload, {"Key": "new"}),
    ):
        with pytest.raises(ClientError) as error:
            call(Bucket=bucket, **arguments)
        assert refused(error.value)[0] == 403
        assert call(Bucket=bucket, RequestPayer="requester", **arguments)["RequestCharged"] == "requester"
    # Nobody pays unsigned, and a presigned URL says so in its query
    shared.bucket(bucket).public = True
    assert ask(shared, "GET", f"/{bucket}/k", x_amz_request_payer="requester").status == 403
    assert ask(shared, "GET", presigned(shared, f"/{bucket}/k?x-amz-request-payer=requester")).body == DATA


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived_bytes_must_be_restored(boto: Any, shared: S3Server, bucket: str, storage_class: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html and API_RestoreObject.html"""
    # Given an object in an archive
    shared.put(bucket, "k", DATA, storage_class=storage_class)
    assert boto.head_object(Bucket=bucket, Key="k")["StorageClass"] == storage_class
    with pytest.raises(boto.exceptions.InvalidObjectState) as error:
        boto.get_object(Bucket=bucket, Key="k")
    assert refused(error.value) == (403, "InvalidObjectState")
    assert error.value.response["StorageClass"] == storage_class
    # When it is restored
    assert boto.restore_object(Bucket=bucket, Key="k", RestoreRequest={"Days": 1})["ResponseMetadata"]["HTTPStatusCode"] == 202
    # Then it can be read
    found = boto.get_object(Bucket=bucket, Key="k")
    assert (found["Body"].read(), found["Restore"].startswith('ongoing-request="false"')) == (DATA, True)


def test_an_archive_that_no_listing_tells(boto: Any, shared: S3Server, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html: tiers of INTELLIGENT_TIERING."""
    blob = shared.put(bucket, "k", DATA, storage_class="INTELLIGENT_TIERING")
    blob.archive = "ARCHIVE_ACCESS"
    assert boto.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == "INTELLIGENT_TIERING"
    assert boto.head_object(Bucket=bucket, Key="k")["ArchiveStatus"] == "ARCHIVE_ACCESS"
    with pytest.raises(boto.exceptions.InvalidObjectState) as error:
        boto.get_object(Bucket=bucket, Key="k")
    assert error.value.response["AccessTier"] == "ARCHIVE_ACCESS"
