"""google-cloud-storage, unmodified, against the stand-in: what the real client relies on is there."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.cloud.storage.retry import DEFAULT_RETRY

from tests import google_storage
from tests.fakes.gcs import Fault, GcsServer, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.cloud import storage

QUARTER = 256 * 1024
NAMES = [
    "a b",
    "a+b",
    "100%",
    "%2F",
    "#?&=",
    "ünïcödé-日本-🪣",
    "a//b",
    "/lead",
    "a/../b",
    "..a",
    "trail/",
    "x" * 1024,
    "tab\tquote\"'",
    "~!*()",
]


@pytest.fixture
def bucket(server: GcsServer) -> Iterator[storage.Bucket]:
    client = google_storage.client(endpoint=server.url)
    yield client.bucket("demo")
    client.close()


def quick_retry() -> object:
    return DEFAULT_RETRY.with_delay(initial=0.01, maximum=0.05)


def test_the_environment_variable_is_enough(server: GcsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a client that knows only the emulator's address
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    client = google_storage.client()
    # When it makes a bucket and an object
    client.create_bucket("made-here").blob("k").upload_from_string("text")
    # Then both are there
    assert [bucket.name for bucket in client.list_buckets()] == ["demo", "made-here"]
    assert server.data("made-here", "k") == b"text"
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("made-here")
    client.close()


@pytest.mark.parametrize("checksum", ["md5", "crc32c", None])
def test_small_upload_and_download(server: GcsServer, bucket: storage.Bucket, checksum: str | None) -> None:
    blob = bucket.blob("small")
    blob.metadata = {"source": "s3"}
    blob.cache_control = "max-age=5"
    blob.upload_from_string(b"hello", content_type="text/x-test", checksum=checksum)
    # Then the client's view agrees with what was stored
    found = bucket.get_blob("small")
    assert (found.size, found.content_type, found.metadata, found.cache_control) == (
        5,
        "text/x-test",
        {"source": "s3"},
        "max-age=5",
    )
    assert (found.crc32c, found.md5_hash) == ("mnG7TA==", "XUFAKrxLKna5cZ2REBfFkg==")
    assert found.generation == server.writes[0][2]
    assert bucket.blob("small").download_as_bytes(checksum=checksum) == b"hello"


@pytest.mark.parametrize("size", [0, 1, QUARTER - 1, QUARTER, QUARTER + 1, 4 * QUARTER, 4 * QUARTER + 17])
@pytest.mark.parametrize("known", [True, False])
def test_resumable_upload_in_chunks(
    server: GcsServer, bucket: storage.Bucket, size: int, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a client that sends even small files of known size through a session
    monkeypatch.setattr("google.cloud.storage.blob._MAX_MULTIPART_SIZE", -1)
    data = random.Random(size).randbytes(size)
    bucket.blob("big", chunk_size=QUARTER).upload_from_file(io.BytesIO(data), size=size if known else None, checksum="crc32c")
    assert server.data("demo", "big") == data
    assert bucket.blob("big", chunk_size=QUARTER).download_as_bytes() == data
    assert server.requests["insert.resumable.begin"] == 1


def test_ranges(server: GcsServer, bucket: storage.Bucket) -> None:
    server.put("demo", "k", bytes(range(100)))
    assert bucket.blob("k").download_as_bytes(start=10, end=19) == bytes(range(10, 20))
    assert bucket.blob("k").download_as_bytes(start=90) == bytes(range(90, 100))
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        bucket.blob("k").download_as_bytes(start=100)


def test_listing_with_pages_prefix_and_delimiter(server: GcsServer, bucket: storage.Bucket) -> None:
    for number in range(25):
        server.put("demo", f"d{number // 10}/{number:02}", b"x")
    server.put("demo", "top", b"x")
    pages = [[blob.name for blob in page] for page in bucket.list_blobs(page_size=10).pages]
    assert [len(page) for page in pages] == [10, 10, 6]
    assert [name for page in pages for name in page] == server.keys("demo")
    assert len(list(bucket.list_blobs(max_results=3))) == 3
    assert len(list(bucket.list_blobs(prefix="d1/"))) == 10
    assert [blob.name for blob in bucket.list_blobs(start_offset="d2/23", end_offset="top")] == ["d2/23", "d2/24"]
    folded = bucket.list_blobs(delimiter="/", fields="items(name),prefixes,nextPageToken")
    assert [blob.name for blob in folded] == ["top"]
    assert folded.prefixes == {"d0/", "d1/", "d2/"}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_survives(server: GcsServer, bucket: storage.Bucket, name: str) -> None:
    bucket.blob(name).upload_from_string(name.encode())
    assert server.keys("demo") == [name]
    assert bucket.blob(name).download_as_bytes() == name.encode()
    assert [blob.name for blob in bucket.list_blobs()] == [name]
    bucket.blob(name, chunk_size=QUARTER).upload_from_file(io.BytesIO(b"2"), size=None)
    bucket.blob(name).delete()
    assert server.keys("demo") == []


@pytest.mark.parametrize("name", [".", "..", "a\nb", "a\rb", "é" * 513, ".well-known/acme-challenge/x"])
def test_names_that_the_service_refuses(bucket: storage.Bucket, name: str) -> None:
    with pytest.raises(exceptions.BadRequest):
        bucket.blob(name).upload_from_string(b"x", retry=None)


def test_preconditions(server: GcsServer, bucket: storage.Bucket) -> None:
    blob = bucket.blob("k")
    blob.upload_from_string(b"1", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("k").upload_from_string(b"2", if_generation_match=0)
    bucket.blob("k").upload_from_string(b"3", if_generation_match=blob.generation)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("k", chunk_size=QUARTER).upload_from_file(io.BytesIO(b"4"), if_generation_match=blob.generation)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("k").delete(if_generation_match=blob.generation)
    assert server.data("demo", "k") == b"3"


def test_patch_delete_exists(bucket: storage.Bucket) -> None:
    blob = bucket.blob("k")
    assert not blob.exists()
    blob.upload_from_string(b"x")
    blob.metadata = {"a": "1"}
    blob.patch()
    blob.metadata = {"b": "2"}
    blob.patch(if_metageneration_match=2)
    blob.reload()
    assert blob.metadata == {"a": "1", "b": "2"}
    assert blob.metageneration == 3
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_metageneration_match=2)
    blob.delete()
    assert not blob.exists()
    with pytest.raises(exceptions.NotFound):
        blob.delete()


def test_compose_rewrite_copy(server: GcsServer, bucket: storage.Bucket) -> None:
    server.put("demo", "1", b"one,")
    server.put("demo", "2", b"two", metadata={"k": "v"})
    both = bucket.blob("both")
    both.compose([bucket.blob("1"), bucket.blob("2")])
    assert (both.md5_hash, both.component_count, both.download_as_bytes()) == (None, 2, b"one,two")
    assert bucket.blob("again").rewrite(both) == (None, 7, 7)
    assert bucket.copy_blob(bucket.blob("2"), bucket, "copied").metadata == {"k": "v"}
    assert server.data("demo", "again") == b"one,two"


def test_a_wrong_checksum_is_refused(server: GcsServer, bucket: storage.Bucket) -> None:
    blob = bucket.blob("k")
    blob.md5_hash = "XUFAKrxLKna5cZ2REBfFkg=="
    with pytest.raises(exceptions.BadRequest, match="doesn't match calculated MD5"):
        blob.upload_from_string(b"other", checksum=None)
    assert server.keys("demo") == []


def test_the_client_retries_over_faults(server: GcsServer, bucket: storage.Bucket) -> None:
    # Given a service that fails each kind of request at first
    data = random.Random(1).randbytes(3 * QUARTER)
    planned = [
        Fault(Kind.STATUS, operation="insert.multipart", times=2),
        Fault(Kind.RESET, operation="insert.multipart"),
        Fault(Kind.STATUS, operation="insert.resumable.chunk", nth=2, after_bytes=1000),
        Fault(Kind.LOSE_REPLY, operation="insert.resumable.chunk", nth=3),
        Fault(Kind.RESET, operation="get.media", after_bytes=300_000),
    ]
    server.faults.add(*planned)
    # When the client uploads and downloads
    bucket.blob("small").upload_from_string(b"hello", retry=quick_retry())
    bucket.blob("big", chunk_size=QUARTER).upload_from_file(io.BytesIO(data), retry=quick_retry())
    # Then its retries prevail, and each fault really happened
    assert bucket.blob("big").download_as_bytes(retry=quick_retry()) == data
    assert bucket.blob("small").download_as_bytes() == b"hello"
    assert [fault.fired for fault in planned] == [2, 1, 1, 1, 1]


def test_the_client_notices_corrupted_bytes(server: GcsServer, bucket: storage.Bucket) -> None:
    server.put("demo", "k", b"x" * 1000)
    fault = server.faults.add(Fault(Kind.CORRUPT, operation="get.media"))
    with pytest.raises(Exception, match="checksum"):
        bucket.blob("k").download_as_bytes()
    assert fault.fired == 1
