"""boto3, unmodified, gets what it expects: the stand-in is judged by the client that everybody uses."""

from __future__ import annotations

import io
import ssl
import threading
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError, FlexibleChecksumError

from tests.bench.serve import certify
from tests.fakes.s3 import ACCESS_KEY, SECRET_KEY, Fault, Kind, S3Server
from tests.nasty_names import NASTY
from tests.unit.fakes.s3.wire import code, refused, said, signed

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024


def test_an_object_comes_back_with_everything(boto: Any, bucket: str) -> None:
    # Given an object with all that can be stored beside its bytes
    stored = {
        "ContentType": "text/plain",
        "CacheControl": "max-age=1",
        "ContentDisposition": "inline",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"owner": "somebody"},
        "StorageClass": "STANDARD_IA",
    }
    put = boto.put_object(Bucket=bucket, Key="k", Body=b"bytes", Tagging="a=1&b=x%20y", **stored)
    # When it is read and looked at
    for answer in (boto.get_object(Bucket=bucket, Key="k"), boto.head_object(Bucket=bucket, Key="k")):
        # Then it is all there
        assert stored.items() <= answer.items()
        assert (answer["ETag"], answer["ContentLength"], answer["ServerSideEncryption"]) == (put["ETag"], 5, "AES256")
        assert "VersionId" not in answer
    assert put["ETag"] == '"4b3a6218bb3e3a7303e8a171a60fcf92"'
    tags = boto.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "x y"}]


def test_every_odd_key_is_a_key(boto: Any, shared: S3Server, bucket: str) -> None:
    # Given odd keys
    for key in NASTY.values():
        boto.put_object(Bucket=bucket, Key=key, Body=key.encode())
    # When they are listed by both versions, and read
    second = [each["Key"] for each in boto.list_objects_v2(Bucket=bucket)["Contents"]]
    first = [each["Key"] for each in boto.list_objects(Bucket=bucket)["Contents"]]
    # Then they are what was put, in the order of their bytes
    assert first == second == sorted(NASTY.values(), key=str.encode) == shared.keys(bucket)
    for key in NASTY.values():
        assert boto.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_boto_uploads_in_parts_and_reads_with_checksums(boto: Any, bucket: str, algorithm: str) -> None:
    # Given an upload by boto3's transfer manager, of two parts
    data = bytes(range(256)) * 4096 * 6
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    boto.upload_fileobj(io.BytesIO(data), bucket, "large", {"ChecksumAlgorithm": algorithm}, Config=config)
    # When its checksum is asked for, and it is read in parts with the checksum compared
    head = boto.head_object(Bucket=bucket, Key="large", ChecksumMode="ENABLED")
    found = io.BytesIO()
    boto.download_fileobj(bucket, "large", found, Config=config)
    # Then the bytes are right, and S3 has a composite checksum
    assert found.getvalue() == data
    assert head["ETag"].endswith('-2"')
    assert (head["ChecksumType"], head[f"Checksum{algorithm}"][-2:]) == ("COMPOSITE", "-2")
    part = boto.get_object(Bucket=bucket, Key="large", PartNumber=2)
    assert (part["PartsCount"], part["Body"].read()) == (2, data[5 * MIB :])


def test_what_an_untold_checksum_is(boto: Any, shared: S3Server, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html: CRC64NVME by default."""
    # Given an object that was uploaded without a checksum
    assert signed(shared, "PUT", f"/{bucket}/k", b"123456789").status == 200
    # When its attributes are asked for
    found = boto.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ETag", "ObjectSize", "StorageClass"]
    )
    # Then S3 has reckoned one: the check value of that CRC
    assert found["Checksum"] == {"ChecksumCRC64NVME": "rosUhgp5mIg=", "ChecksumType": "FULL_OBJECT"}
    assert (found["ObjectSize"], found["StorageClass"]) == (9, "STANDARD")


def test_boto_notices_bytes_that_were_changed_on_the_way(boto: Any, shared: S3Server, bucket: str) -> None:
    boto.put_object(Bucket=bucket, Key="k", Body=b"bytes")
    fault = shared.faults.add(Fault(Kind.CORRUPT, "GetObject"))
    body = boto.get_object(Bucket=bucket, Key="k")["Body"]
    with pytest.raises(FlexibleChecksumError):
        body.read()
    assert fault.fired == 1


def test_trailing_checksums_as_boto_sends_them_over_tls(tmp_path: Path) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html"""
    # Given a server behind TLS: only there boto3 sends checksums behind the body
    certificate = certify(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    with S3Server(buckets=["demo"], tls=context) as server:
        boto = boto3.client(
            "s3",
            endpoint_url=server.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            verify=str(certificate.ca),
        )
        # When an object is put from a stream
        put = boto.put_object(Bucket="demo", Key="k", Body=io.BytesIO(b"bytes" * 50_000), ContentEncoding="gzip")
        # Then the frame is gone, and the checksum was compared
        assert server.data("demo", "k") == b"bytes" * 50_000
        assert server.blob("demo", "k").fields.headers["content-encoding"] == "gzip"
        assert put["ChecksumType"] == "FULL_OBJECT"
        assert server.blob("demo", "k").checksum is not None
        # And SSE-C, which needs TLS, works; without the key there is nothing to be had
        key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
        boto.put_object(Bucket="demo", Key="secret", Body=b"bytes", **key)
        assert boto.get_object(Bucket="demo", Key="secret", **key)["Body"].read() == b"bytes"
        with pytest.raises(ClientError) as error:
            boto.get_object(Bucket="demo", Key="secret")
        assert refused(error.value) == (400, "InvalidRequest")
        with pytest.raises(ClientError) as error:
            boto.get_object(Bucket="demo", Key="secret", SSECustomerAlgorithm="AES256", SSECustomerKey=b"x" * 32)
        assert refused(error.value) == (403, "AccessDenied")
        assert server.failures == []


def test_boto_follows_the_bucket_into_its_region_and_its_host_name(server: S3Server) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html and Redirects.html"""
    # Given a bucket elsewhere, and a client that knows AWS's own names, by way of a proxy that is our server
    server.store.create_bucket("far-away", "eu-central-1")
    server.put("far-away", "k", b"far")
    boto = boto3.client(
        "s3",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        use_ssl=False,
        config=Config(proxies={"http": server.url}, retries={"total_max_attempts": 1}),
    )
    # When it reads from the bucket next door, and from the one far away
    boto.put_object(Bucket="demo", Key="a/b c", Body=b"near")
    # Then it finds both
    assert boto.get_object(Bucket="demo", Key="a/b c")["Body"].read() == b"near"
    assert boto.get_object(Bucket="far-away", Key="k")["Body"].read() == b"far"
    assert boto.get_bucket_location(Bucket="far-away")["LocationConstraint"] == "eu-central-1"
    assert boto.head_bucket(Bucket="far-away")["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "eu-central-1"


def test_a_client_that_does_not_follow_is_told_where_to_go(shared: S3Server, fresh: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, PermanentRedirect"""
    shared.store.create_bucket(fresh, "eu-west-1")
    answer = signed(shared, "GET", f"/{fresh}?list-type=2")
    assert (answer.status, code(answer)) == (301, "PermanentRedirect")
    assert said(answer, "Endpoint") == f"{fresh}.s3.eu-west-1.amazonaws.com"
    assert answer.headers["x-amz-bucket-region"] == "eu-west-1"
    assert signed(shared, "HEAD", f"/{fresh}").headers["x-amz-bucket-region"] == "eu-west-1"


def test_buckets(boto: Any, shared: S3Server, bucket: str) -> None:
    assert bucket in [each["Name"] for each in boto.list_buckets()["Buckets"]]
    boto.create_bucket(Bucket=f"{bucket}-2")
    boto.put_object(Bucket=f"{bucket}-2", Key="k", Body=b"")
    for name, call, expected in (
        (bucket, "create_bucket", (409, "BucketAlreadyOwnedByYou")),
        ("Not_a_name", "create_bucket", (400, "InvalidBucketName")),
        (f"{bucket}-2", "delete_bucket", (409, "BucketNotEmpty")),
        (f"{bucket}-3", "delete_bucket", (404, "NoSuchBucket")),
        (f"{bucket}-3", "list_objects_v2", (404, "NoSuchBucket")),
        (f"{bucket}-3", "head_bucket", (404, "404")),
        (bucket, "get_bucket_policy", (501, "NotImplemented")),
    ):
        with pytest.raises(ClientError) as error:
            getattr(boto, call)(Bucket=name)
        assert refused(error.value) == expected
    boto.delete_objects(Bucket=f"{bucket}-2", Delete={"Objects": [{"Key": "k"}]})
    boto.delete_bucket(Bucket=f"{bucket}-2")
    boto.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key-1"}}]
        },
    )
    put = boto.put_object(Bucket=bucket, Key="k", Body=b"bytes")
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"]) == ("aws:kms", "key-1")
    # With such a key the ETag is no hash of the bytes (API/API_Object.html)
    assert put["ETag"] != boto.put_object(Bucket=bucket, Key="k", Body=b"bytes")["ETag"]


def test_copies(boto: Any, bucket: str) -> None:
    first = boto.put_object(Bucket=bucket, Key="a b", Body=b"bytes", Metadata={"k": "v"}, ContentType="text/x")
    copied = boto.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a b"})
    assert copied["CopyObjectResult"]["ETag"] == first["ETag"]
    found = boto.get_object(Bucket=bucket, Key="copy")
    assert (found["Body"].read(), found["Metadata"], found["ContentType"]) == (b"bytes", {"k": "v"}, "text/x")
    with pytest.raises(ClientError) as error:
        boto.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "a b"}, CopySourceIfMatch='"other"')
    assert refused(error.value) == (412, "PreconditionFailed")
    with pytest.raises(ClientError) as error:
        boto.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "copy"})
    assert refused(error.value) == (400, "InvalidRequest")
    upload = boto.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    source = {"Bucket": bucket, "Key": "a b"}
    part = boto.upload_part_copy(
        Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, CopySource=source, CopySourceRange="bytes=1-3"
    )
    listed = [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]
    boto.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": listed})
    assert boto.get_object(Bucket=bucket, Key="parts")["Body"].read() == b"yte"


def test_many_at_once(boto: Any, shared: S3Server, bucket: str) -> None:
    def put(number: int) -> None:
        boto.put_object(Bucket=bucket, Key=f"{number:03}", Body=b"%d" % number)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [shared.data(bucket, key) for key in shared.keys(bucket)] == [b"%d" % number for number in range(30)]
