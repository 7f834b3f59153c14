"""The benchmark server is only worth its numbers if it does what S3 does: the clients that will be measured must agree."""

from __future__ import annotations

import hashlib
import io
import random
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from common.config import Aws, Google, Settings, StoreOptions
from common.errors import ChecksumMismatch, PreconditionFailed
from common.location import Location
from common.objects import Headers, Span
from common.storage import registry
from common.storage.base import MIB, Absent, Body
from tests.unit.bench.talking import crc32c, read, s3_client

if TYPE_CHECKING:
    from common.transport.http import Transport
    from tests.bench.serve import BenchServer


class TestS3:
    def test_boto3_gets_back_what_it_put(self, server, buckets):
        # Given a key that needs escaping, metadata and a type
        s3, bucket, key = s3_client(server), buckets[0], "a//b/../ü %2F+&<>'\"\x01\x1f~*()"
        data = random.Random(2).randbytes(10_000)
        checksum = crc32c(data)
        s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=data,
            Metadata={"a": "b"},
            ContentType="text/odd",
            CacheControl="no",
            ChecksumCRC32C=checksum,
        )

        # Then everything is there again
        got = s3.get_object(Bucket=bucket, Key=key)
        assert got["Body"].read() == data
        assert (got["Metadata"], got["ContentType"], got["CacheControl"]) == ({"a": "b"}, "text/odd", "no")
        assert got["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
        assert s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")["ChecksumCRC32C"] == checksum
        ranged = s3.get_object(Bucket=bucket, Key=key, Range="bytes=10-19")
        assert ranged["Body"].read() == data[10:20]
        assert ranged["ContentRange"] == "bytes 10-19/10000"
        assert s3.get_object(Bucket=bucket, Key=key, Range="bytes=-7")["Body"].read() == data[-7:]
        assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
        assert [item["Key"] for item in s3.list_objects(Bucket=bucket)["Contents"]] == [key]

    @pytest.mark.parametrize(
        ("call", "code"),
        [
            (lambda s3, b: s3.get_object(Bucket=b, Key="none"), "NoSuchKey"),
            (lambda s3, b: s3.get_object(Bucket=b, Key="k", IfMatch="other"), "PreconditionFailed"),
            (lambda s3, b: s3.get_object(Bucket=b, Key="k", Range="bytes=4-"), "InvalidRange"),
            (lambda s3, b: s3.put_object(Bucket=b, Key="k", IfNoneMatch="*"), "PreconditionFailed"),
            (lambda s3, b: s3.put_object(Bucket=b, Key="k", IfMatch="other"), "PreconditionFailed"),
            (lambda s3, b: s3.put_object(Bucket=b, Key="k", Body=b"x", ChecksumCRC32C="AAAAAA=="), "BadDigest"),
            (lambda s3, b: s3.put_object(Bucket=b, Key="k", Body=b"x", ContentMD5="A" * 22 + "=="), "BadDigest"),
            (lambda s3, b: s3.list_objects_v2(Bucket=b + "-none"), "NoSuchBucket"),
            (lambda s3, b: s3.upload_part(Bucket=b, Key="k", UploadId="none", PartNumber=1), "NoSuchUpload"),
            (lambda s3, b: s3.put_object(Bucket=b, Key="k" * 1025), "KeyTooLongError"),
            (lambda s3, b: s3.delete_bucket(Bucket=b), "BucketNotEmpty"),
        ],
    )
    def test_refusals_have_the_codes_of_s3_and_no_effect(self, server, buckets, call, code):
        s3 = s3_client(server)
        s3.put_object(Bucket=buckets[0], Key="k", Body=b"four")
        with pytest.raises(ClientError) as refused:
            call(s3, buckets[0])
        assert refused.value.response["Error"]["Code"] == code
        assert s3.get_object(Bucket=buckets[0], Key="k")["Body"].read() == b"four"

    def test_multipart_through_boto3_has_the_etag_of_s3(self, server, buckets):
        s3, data = s3_client(server), random.Random(3).randbytes(17 * MIB)
        s3.upload_fileobj(io.BytesIO(data), buckets[0], "k")
        parts = [hashlib.md5(data[at : at + 8 * MIB]).digest() for at in range(0, len(data), 8 * MIB)]
        assert s3.head_object(Bucket=buckets[0], Key="k")["ETag"] == f'"{hashlib.md5(b"".join(parts)).hexdigest()}-3"'
        assert read(server, f"/{buckets[0]}/k") == data

    def test_pages_hold_together_with_and_without_a_delimiter(self, server, buckets):
        s3 = s3_client(server)
        server.fill(buckets[0], count=25, prefix="a/")
        server.fill(buckets[0], count=25, prefix="b/")
        server.fill(buckets[0], count=3, prefix="c")
        for call in ("list_objects_v2", "list_objects"):
            pages = list(s3.get_paginator(call).paginate(Bucket=buckets[0], PaginationConfig={"PageSize": 7}))
            keys = [item["Key"] for page in pages for item in page["Contents"]]
            assert keys == sorted(keys)
            assert len(keys) == len(set(keys)) == 53
            grouped = list(s3.get_paginator(call).paginate(Bucket=buckets[0], Delimiter="/", PaginationConfig={"PageSize": 2}))
            assert [group["Prefix"] for page in grouped for group in page.get("CommonPrefixes", [])] == ["a/", "b/"]
            assert [item["Key"] for page in grouped for item in page.get("Contents", [])] == [
                f"c{number:08}" for number in range(3)
            ]
        assert s3.list_objects_v2(Bucket=buckets[0], StartAfter="b/00000023", Prefix="b/")["KeyCount"] == 1

    def test_a_synthetic_bucket_lists_what_it_does_not_hold(self, server):
        s3 = s3_client(server)
        pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="synthetic-2500"))
        keys = [item["Key"] for page in pages for item in page["Contents"]]
        assert keys == sorted(set(keys))
        assert len(keys) == 2500
        assert {len(key) for key in keys} == {56}
        again = s3.list_objects_v2(Bucket="synthetic-2500", StartAfter=keys[1999], MaxKeys=1)["Contents"][0]
        assert (again["Key"], again["ETag"]) == (keys[2000], pages[2]["Contents"][0]["ETag"])
        assert s3.list_objects_v2(Bucket="synthetic-2500", Prefix="objects/0000000012")["KeyCount"] == 10
        assert s3.list_objects_v2(Bucket="synthetic-100000000", StartAfter=keys[-1], MaxKeys=2)["KeyCount"] == 2


def backend(server: BenchServer, url: str, transport: Transport) -> tuple[Any, Any]:
    location = Location.parse(url)
    keys = Aws(access_key_id="any", secret_access_key=SecretStr("any"), region="us-east-1")
    settings = Settings(aws=keys, google=Google(project="any"))
    found, options = registry.BACKENDS[location.scheme], StoreOptions(endpoint=server.url)
    return found.reader(location, options, settings, transport), found.writer(location, options, settings, transport)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
class TestOurBackends:
    async def test_put_read_and_list(self, server, buckets, transport, scheme):
        # Given objects of several sizes, one with everything that travels beside the bytes
        reader, writer = backend(server, f"{scheme}://{buckets[0]}/p/", transport)
        headers = Headers(content_type="text/plain", content_language="de", metadata={"a": "b"})
        for size in (0, 1, 70_000):
            data = random.Random(size).randbytes(size)
            stored = await writer.put(f"ü {size}", Body(data, google_crc32c.value(data), headers), Absent())
            assert stored.crc32c == google_crc32c.value(data)

            # Then it is there, whole and in spans, and nobody writes over it unasked
            found = await reader.stat(f"ü {size}")
            assert found.headers.metadata["a"] == "b"
            assert found.headers.content_language == "de"
            assert (await reader.read(f"ü {size}", None, found.version)).data == data
            with pytest.raises(PreconditionFailed):
                await writer.put(f"ü {size}", Body(data, google_crc32c.value(data), headers), Absent())
        content = await reader.read("ü 70000", Span(100, 300), found.version)
        assert content.data == random.Random(70_000).randbytes(70_000)[100:300]
        assert [item.key async for page in reader.list() for item in page.objects] == ["ü 0", "ü 1", "ü 70000"]
        with pytest.raises(ChecksumMismatch):
            await writer.put("wrong", Body(b"x", 0, headers), Absent())
        assert await reader.stat("wrong") is None

    async def test_parts(self, server, buckets, transport, scheme):
        reader, writer = backend(server, f"{scheme}://{buckets[0]}", transport)
        data, part = random.Random(4).randbytes(11 * MIB + 5), 5 * MIB
        upload = await writer.begin("large", len(data), Headers(), Absent())
        pieces = [data[at : at + part] for at in range(0, len(data), part)]
        receipts = [await upload.part(n, n * part, piece, google_crc32c.value(piece)) for n, piece in enumerate(pieces)]
        assert await reader.stat("large") is None
        await upload.complete(receipts, google_crc32c.value(data))
        found = await reader.stat("large")
        assert (
            b"".join(
                [
                    (await reader.read("large", Span(at, min(at + part, len(data))), found.version)).data
                    for at in range(0, len(data), part)
                ]
            )
            == data
        )
