"""The benchmark server's other half: what Google's own client and the rules of its upload sessions expect."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import urllib.error
import urllib.request
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.unit.bench.talking import DIRECT, crc32c, read


class TestGcs:
    def test_google_s_own_client(self, server, fresh, monkeypatch):
        # Given a bucket made through the client
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        client = storage.Client(project="any", credentials=AnonymousCredentials())
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
