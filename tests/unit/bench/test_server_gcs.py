"""The benchmark server's other half: what Google's own client and the rules of its upload sessions expect."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import urllib.error
import urllib.request
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.storage import transfer_manager

from tests import google_storage
from tests.unit.bench.talking import DIRECT, crc32c, read


class TestGcs:
    def test_google_s_own_client(self, server, fresh, monkeypatch):
        # Given a bucket made through the client
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        client = google_storage.client()
        bucket, data = client.create_bucket(fresh), random.Random(5).randbytes(1_000_000)

        # When an object is put at once and another one in chunks
        small, large = bucket.blob('d/ü %2F"\\+'), bucket.blob("large", chunk_size=256 * 1024)
        small.metadata = {"k": 'v"ü\n'}
        small.upload_from_string(data[:100], content_type="text/plain", if_generation_match=0)
        large.upload_from_file(io.BytesIO(data))

        # Then both are there with their checksums, metadata and types
        assert small.download_as_bytes() == data[:100]
        assert large.download_as_bytes(start=5, end=700_000) == data[5:700_001]
        found = bucket.get_blob('d/ü %2F"\\+')
        assert (found.metadata, found.content_type) == ({"k": 'v"ü\n'}, "text/plain")
        assert base64.b64decode(found.md5_hash) == hashlib.md5(data[:100]).digest()
        assert bucket.get_blob("large").crc32c == crc32c(data)
        bucket.blob("both").compose([small, large])
        assert bucket.get_blob("both").crc32c == crc32c(data[:100] + data)
        listing = client.list_blobs(fresh, delimiter="/")
        assert [blob.name for blob in listing] == ["both", "large"]
        assert listing.prefixes == {"d/"}
        large.delete()
        assert bucket.get_blob("large") is None

    def test_a_session_keeps_whole_multiples_and_tells_how_far_it_is(self, server, buckets):
        # Given a session
        def send(method: str, url: str, data: bytes | None = None, **headers: str) -> tuple[int, Any]:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            try:
                with DIRECT.open(urllib.request.Request(url, data=data, method=method, headers=named), timeout=5) as answer:
                    return answer.status, answer.headers
            except urllib.error.HTTPError as error:
                error.close()
                return error.code, error.headers

        kib = 1024
        data = bytes(700 * kib)
        begin = f"{server.url}/upload/storage/v1/b/{buckets[0]}/o?uploadType=resumable&name=k&ifGenerationMatch=0"
        url = send("POST", begin, b"{}")[1]["Location"]

        # When a chunk is no multiple, only multiples are kept; a repeated one changes nothing; a gap is refused
        status, headers = send("PUT", url, data[: 300 * kib], Content_Range=f"bytes 0-{300 * kib - 1}/*")
        assert (status, headers["Range"]) == (308, f"bytes=0-{256 * kib - 1}")
        assert send("PUT", url, data[: 256 * kib], Content_Range=f"bytes 0-{256 * kib - 1}/*")[1]["Range"] == headers["Range"]
        assert send("PUT", url, data[: 256 * kib], Content_Range=f"bytes {512 * kib}-{768 * kib - 1}/*")[0] == 400
        other_words = send("PUT", url, b"", Content_Range="bytes */*", X_GUploader_No_308="yes")
        assert (other_words[0], other_words[1]["X-Http-Status-Code-Override"]) == (200, "308")

        # Then the rest ends it, once: a late question is answered with the object
        rest = f"bytes {256 * kib}-{700 * kib - 1}/{700 * kib}"
        wrong = send("PUT", url, data[256 * kib :], Content_Range=rest, X_Goog_Hash="crc32c=AAAAAQ==")
        assert wrong[0] == 400
        url = send("POST", begin, b"{}")[1]["Location"]
        for _ in range(2):
            assert send("PUT", url, data, Content_Range=f"bytes 0-{len(data) - 1}/{len(data)}")[0] == 200
        assert read(server, f"/{buckets[0]}/k") == data
        assert send("POST", begin, b"{}")[0] == 412

    def test_parts_of_the_xml_api_and_a_rename(self, server, fresh, monkeypatch, tmp_path):
        # Given a file of two parts, and something where it is to go
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        client = google_storage.client()
        bucket, data = client.create_bucket(fresh), random.Random(6).randbytes(5 * 1024 * 1024 + 100)
        (tmp_path / "file").write_bytes(data)
        bucket.blob("there").upload_from_string(b"other")
        seen = bucket.get_blob("there").generation

        # When Google's client uploads it in parts under another name
        staged = bucket.blob("staged")
        staged.metadata = {"k": "v"}
        transfer_manager.upload_chunks_concurrently(
            str(tmp_path / "file"),
            staged,
            content_type="text/x",
            chunk_size=5 * 1024 * 1024,
            worker_type="thread",
            checksum="crc32c",
        )
        found = bucket.get_blob("staged")
        assert (found.crc32c, found.metadata, found.content_type) == (crc32c(data), {"k": "v"}, "text/x")

        # Then it is renamed over what was seen and nothing else, and no request in parts takes a precondition
        for wrong in ({"if_generation_match": 0}, {"if_source_generation_match": 1}):
            with pytest.raises(exceptions.PreconditionFailed):
                bucket.move_blob(found, "there", **wrong)
        assert bucket.get_blob("there").generation == seen
        moved = bucket.move_blob(found, "there", if_generation_match=seen, if_source_generation_match=found.generation)
        assert (moved.crc32c, moved.metadata, read(server, f"/{fresh}/there")) == (crc32c(data), {"k": "v"}, data)
        assert bucket.get_blob("staged") is None
        headers = {"x-goog-if-generation-match": "0"}
        with pytest.raises(urllib.error.HTTPError) as refused:
            DIRECT.open(urllib.request.Request(f"{server.url}/{fresh}/k?uploads", b"", headers, method="POST"), timeout=5)
        refused.value.close()
        assert refused.value.code == 400
