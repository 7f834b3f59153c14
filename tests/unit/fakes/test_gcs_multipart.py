"""The XML API's multipart uploads and the rename, by Google's own client and on the wire."""

from __future__ import annotations

import base64
import random
import re
from typing import TYPE_CHECKING

import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud.storage import transfer_manager

from tests import google_storage
from tests.fakes.gcs import GcsServer
from tests.unit.fakes.wire import Answer, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.cloud import storage

MIB = 1024 * 1024
DATA = random.Random(7).randbytes(5 * MIB)


@pytest.fixture
def bucket(server: GcsServer) -> Iterator[storage.Bucket]:
    client = google_storage.client(endpoint=server.url)
    yield client.bucket("demo")
    client.close()


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def begin(server: GcsServer, name: str = "k", **headers: str) -> str:
    answer = ask(server, "POST", f"/demo/{name}?uploads", **headers)
    assert answer.status == 200
    found = re.search(rb"<UploadId>(.+)</UploadId>", answer.body)
    assert found is not None
    return found[1].decode()


def part(server: GcsServer, upload: str, number: int, data: bytes, name: str = "k", **headers: str) -> Answer:
    return ask(server, "PUT", f"/demo/{name}?partNumber={number}&uploadId={upload}", data, **headers)


def complete(server: GcsServer, upload: str, *parts: tuple[int, str], name: str = "k", **headers: str) -> Answer:
    listed = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts)
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    return ask(server, "POST", f"/demo/{name}?uploadId={upload}", body, **headers)


def code(answer: Answer) -> tuple[int, str]:
    found = re.search(rb"<Error><Code>(.+)</Code>", answer.body)
    return answer.status, found[1].decode() if found else ""


@pytest.mark.parametrize("checksum", ["md5", "crc32c", None])
def test_google_s_own_client(server: GcsServer, bucket: storage.Bucket, tmp_path: Path, checksum: str | None) -> None:
    # Given a file of two parts and a rest
    data = DATA + DATA[::-1] + b"rest"
    (tmp_path / "file").write_bytes(data)
    blob = bucket.blob("large")
    blob.metadata, blob.cache_control = {"source": "s3"}, "max-age=5"
    # When the client uploads it in parts that are under way at the same time
    transfer_manager.upload_chunks_concurrently(
        str(tmp_path / "file"),
        blob,
        content_type="text/x-test",
        chunk_size=5 * MIB,
        worker_type=transfer_manager.THREAD,
        max_workers=2,
        checksum=checksum,
    )
    # Then the object is whole, with the checksum of all bytes, and no MD5
    found = bucket.get_blob("large")
    assert (found.size, found.crc32c, found.md5_hash) == (len(data), crc32c(data), None)
    assert (found.content_type, found.metadata, found.cache_control) == ("text/x-test", {"source": "s3"}, "max-age=5")
    assert server.data("demo", "large") == data
    assert server.stats()["multiparts"] == 0


def test_google_s_own_client_renames(server: GcsServer, bucket: storage.Bucket) -> None:
    # Given two objects
    server.put("demo", "old name/ü", b"bytes", metadata={"k": "v"}, contentType="text/plain")
    other = server.put("demo", "taken", b"other")
    source = bucket.get_blob("old name/ü")
    # When one is renamed to where something else was expected
    for conditions in ({"if_generation_match": 0}, {"if_source_generation_match": source.generation + 1}):
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.move_blob(source, "taken", **conditions)
    # Then nothing happens; and else all of it
    assert server.keys("demo") == ["old name/ü", "taken"]
    moved = bucket.move_blob(source, "taken", if_generation_match=other.generation)
    assert (moved.name, moved.metadata, moved.content_type) == ("taken", {"k": "v"}, "text/plain")
    assert moved.generation > other.generation
    assert (server.keys("demo"), server.data("demo", "taken")) == (["taken"], b"bytes")
    with pytest.raises(exceptions.NotFound):
        bucket.move_blob(source, "again")


def test_preconditions_are_not_implemented(server: GcsServer) -> None:
    # When any of the requests has one, then it is refused
    assert code(ask(server, "POST", "/demo/k?uploads", x_goog_if_generation_match="0")) == (400, "NotImplemented")
    upload = begin(server)
    etag = part(server, upload, 1, b"x").headers["etag"]
    assert code(complete(server, upload, (1, etag), x_goog_if_generation_match="0")) == (400, "NotImplemented")
    # And without one an object that came meanwhile is lost
    server.put("demo", "k", b"other")
    assert complete(server, upload, (1, etag)).status == 200
    assert server.data("demo", "k") == b"x"


def test_a_part_with_a_wrong_checksum_is_refused(server: GcsServer) -> None:
    upload = begin(server)
    for headers in ({"x_goog_hash": f"crc32c={crc32c(b'other')}"}, {"Content_MD5": "XUFAKrxLKna5cZ2REBfFkg=="}):
        assert code(part(server, upload, 1, b"bytes", **headers)) == (400, "BadDigest")
    assert code(complete(server, upload, (1, "x"))) == (400, "InvalidPart")
    assert part(server, upload, 1, b"bytes", x_goog_hash=f"crc32c={crc32c(b'bytes')}").status == 200


def test_which_parts_may_be_put_together(server: GcsServer) -> None:
    # Given an upload with a large part and two small ones, one of them sent twice
    upload = begin(server)
    first, old, last = (part(server, upload, number, data).headers["etag"] for number, data in ((1, DATA), (2, b"a"), (3, b"b")))
    new = part(server, upload, 2, b"c").headers["etag"]
    # When they are named wrongly
    assert code(complete(server, upload, (2, new), (1, first))) == (400, "InvalidPartOrder")
    assert code(complete(server, upload, (1, first), (2, old))) == (400, "InvalidPart")
    assert code(complete(server, upload, (1, first), (2, new), (3, last))) == (400, "EntityTooSmall")
    assert code(complete(server, upload)) == (400, "MalformedCompleteMultipartUploadRequest")
    assert code(ask(server, "POST", f"/demo/k?uploadId={upload}", b"<")) == (400, "MalformedCompleteMultipartUploadRequest")
    assert code(part(server, upload, 10_001, b"x")) == (400, "InvalidArgument")
    assert server.keys("demo") == []
    # Then the upload is as it was, and those that are named rightly make the object
    answer = complete(server, upload, (1, first), (3, last))
    assert answer.headers["x-goog-hash"] == f"crc32c={crc32c(DATA + b'b')}"
    assert server.data("demo", "k") == DATA + b"b"
    # And after that nobody knows it
    assert code(complete(server, upload, (1, first))) == (404, "NoSuchUpload")


def test_an_upload_that_is_given_up_is_gone(server: GcsServer) -> None:
    upload = begin(server)
    part(server, upload, 1, b"x")
    assert ask(server, "DELETE", f"/demo/k?uploadId={upload}").status == 204
    assert code(ask(server, "DELETE", f"/demo/k?uploadId={upload}")) == (404, "NoSuchUpload")
    assert code(part(server, upload, 1, b"x")) == (404, "NoSuchUpload")
    assert code(ask(server, "POST", "/missing/k?uploads")) == (404, "NoSuchBucket")


def test_a_token_is_asked_for() -> None:
    with GcsServer(buckets=["demo"], require_token="secret") as server:
        assert code(ask(server, "POST", "/demo/k?uploads")) == (401, "AuthenticationRequired")
        assert ask(server, "POST", "/demo/k?uploads", Authorization="Bearer secret").status == 200
