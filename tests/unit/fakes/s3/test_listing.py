"""Listings, in both versions: pages, prefixes, delimiters, encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.fakes.s3.wire import code, said, signed

if TYPE_CHECKING:
    from tests.fakes.s3 import S3Server

KEYS = ["a", "b/1", "b/2", "b/c/3", "b0", "c d+e&<", "\u00e9", "\uffee", "\U00010000"]


@pytest.fixture
def filled(shared: S3Server, bucket: str) -> str:
    for key in reversed(KEYS):
        shared.put(bucket, key, b"x")
    return bucket


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_pages_make_up_the_whole(boto: Any, filled: str, operation: str, size: int) -> None:
    pages = list(boto.get_paginator(operation).paginate(Bucket=filled, PaginationConfig={"PageSize": size}))
    assert [each["Key"] for page in pages for each in page.get("Contents", [])] == KEYS
    assert all(len(page["Contents"]) <= size for page in pages)


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_delimiter_folds_keys(boto: Any, filled: str, operation: str, size: int) -> None:
    pages = list(
        boto.get_paginator(operation).paginate(Bucket=filled, Delimiter="/", Prefix="b", PaginationConfig={"PageSize": size})
    )
    keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
    prefixes = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
    assert (keys, prefixes) == (["b0"], ["b/"])


def test_where_a_listing_starts(boto: Any, filled: str) -> None:
    for start, first in (("a", "b/1"), ("b/", "b/1"), ("b/1", "b/2"), ("bb", "c d+e&<")):
        assert boto.list_objects_v2(Bucket=filled, StartAfter=start)["Contents"][0]["Key"] == first
        assert boto.list_objects(Bucket=filled, Marker=start)["Contents"][0]["Key"] == first
    # A token goes before a start
    page = boto.list_objects_v2(Bucket=filled, MaxKeys=1)
    token = page["NextContinuationToken"]
    assert boto.list_objects_v2(Bucket=filled, StartAfter="z", ContinuationToken=token)["Contents"][0]["Key"] == "b/1"
    assert boto.list_objects_v2(Bucket=filled, MaxKeys=0)["KeyCount"] == 0


def test_keys_on_the_wire(shared: S3Server, filled: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html, encoding-type."""
    shared.put(filled, "control\x01\n", b"x")
    plain = signed(shared, "GET", f"/{filled}?list-type=2").body.decode()
    assert "<Key>c d+e&amp;&lt;</Key>" in plain
    assert "<Key>control&#x1;&#xa;</Key>" in plain
    encoded = signed(shared, "GET", f"/{filled}?encoding-type=url&list-type=2").body.decode()
    for key in ("c+d%2Be%26%3C", "control%01%0A", "b/c/3", "%C3%A9"):
        assert f"<Key>{key}</Key>" in encoded
    assert "<EncodingType>url</EncodingType>" in encoded


@pytest.mark.parametrize(
    "query", ["encoding-type=utf", "list-type=2&max-keys=x", "list-type=2&max-keys=-1", "continuation-token=eA%3D%3D&list-type=2"]
)
def test_questions_that_make_no_sense(shared: S3Server, bucket: str, query: str) -> None:
    answer = signed(shared, "GET", f"/{bucket}?{query}")
    assert (answer.status, code(answer)) == (400, "InvalidArgument")


def test_an_entry_says_what_there_is(boto: Any, shared: S3Server, bucket: str) -> None:
    shared.put(bucket, "k", b"12345", storage_class="STANDARD_IA")
    entry = boto.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]
    assert (entry["Size"], entry["StorageClass"], entry["ChecksumAlgorithm"]) == (5, "STANDARD_IA", ["CRC64NVME"])
    assert "Owner" in entry
    answer = signed(shared, "GET", f"/{bucket}?list-type=2&max-keys=5000")
    assert said(answer, "MaxKeys") == "1000"
