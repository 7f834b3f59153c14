"""Uploads in one request, on the wire: media and multipart, checksums, names, preconditions, tokens, limits."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest

from tests.fakes.gcs import GcsServer
from tests.unit.fakes.wire import Answer, ask

if TYPE_CHECKING:
    from tests.fakes.http import HttpServer

MEDIA = "/upload/storage/v1/b/demo/o?uploadType=media&name="
MULTIPART = "/upload/storage/v1/b/demo/o?uploadType=multipart"


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def multipart(server: HttpServer, metadata: str, data: bytes, query: str = "", **headers: str) -> Answer:
    body = b"--B\r\nContent-Type: application/json\r\n\r\n" + metadata.encode() + b"\r\n--B\r\ncontent-type: text/x-part\r\n\r\n"
    headers.setdefault("Content_Type", 'multipart/related; boundary="B"')
    return ask(server, "POST", MULTIPART + query, body + data + b"\r\n--B--", **headers)


def test_a_media_upload_answers_with_the_whole_resource(server: GcsServer) -> None:
    # When bytes are uploaded under a name with a slash
    answer = ask(server, "POST", MEDIA + "a%2Fb", b"hello", Content_Type="text/plain")
    # Then the answer describes them, numbers as strings
    resource = answer.json
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.headers["etag"] == resource["etag"]
    assert resource["kind"] == "storage#object"
    assert (resource["bucket"], resource["name"], resource["size"], resource["contentType"]) == ("demo", "a/b", "5", "text/plain")
    assert (resource["crc32c"], resource["md5Hash"]) == (crc32c(b"hello"), md5(b"hello"))
    assert resource["metageneration"] == "1"
    assert resource["id"] == f"demo/a/b/{resource['generation']}"
    assert resource["mediaLink"].startswith(f"{server.url}/download/storage/v1/b/demo/o/a%2Fb?")
    assert resource["timeCreated"].endswith("Z")


def test_links_lead_where_the_client_came_from(server: GcsServer) -> None:
    # Given a client that knows the server by another name, as in a container network
    answer = ask(server, "POST", MEDIA + "k", b"x", Host="gcs:4443")
    session = ask(server, "POST", MEDIA.replace("media", "resumable") + "k", {}, Host="gcs:4443")
    # Then the links that it will follow carry that name
    assert answer.json["mediaLink"].startswith("http://gcs:4443/download/")
    assert session.headers["location"].startswith("http://gcs:4443/upload/")


def test_generations_are_microseconds_and_always_rise() -> None:
    # Given a clock that stands still
    with GcsServer(buckets=["demo"], clock=lambda: 1_700_000_000.0) as server:
        # When the same object is written three times
        generations = [int(ask(server, "POST", MEDIA + "k", b"x").json["generation"]) for _ in range(3)]
    # Then each write is newer than the one before
    assert generations == [1_700_000_000_000_000, 1_700_000_000_000_001, 1_700_000_000_000_002]


@pytest.mark.parametrize("data", [b"", b"\r\n--", b"\r\n\r\n--C\r\n", bytes(range(256)) * 5, b"--B", b"\r\n"])
def test_multipart_is_safe_for_any_bytes(server: GcsServer, data: bytes) -> None:
    answer = multipart(server, '{"name": "k", "metadata": {"src": "é"}, "cacheControl": "no-store"}', data)
    assert answer.json["metadata"] == {"src": "é"}
    assert (answer.json["contentType"], answer.json["cacheControl"]) == ("text/x-part", "no-store")
    assert server.data("demo", "k") == data


def test_the_type_in_the_metadata_goes_before_that_of_the_part(server: GcsServer) -> None:
    assert multipart(server, '{"name": "k", "contentType": "image/png"}', b"x").json["contentType"] == "image/png"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--B\r\n\r\n{}\r\n--B--", "multipart/related; boundary=B"),
        (b"--B\r\n\r\n{}\r\n--B\r\n\r\ncut off", "multipart/related; boundary=B"),
        (b"nothing", "multipart/related; boundary=B"),
        (b"", "multipart/related"),
        (b'--B\r\n\r\n{"name": \r\n--B\r\n\r\nx\r\n--B--', "multipart/related; boundary=B"),
        (b"--B\r\n\r\n[1]\r\n--B\r\n\r\nx\r\n--B--", "multipart/related; boundary=B"),
    ],
)
def test_a_malformed_multipart_is_refused(server: GcsServer, body: bytes, content_type: str) -> None:
    answer = ask(server, "POST", MULTIPART + "&name=k", body, Content_Type=content_type)
    assert answer.status == 400
    assert answer.reason in {"badContent", "parseError"}
    assert server.keys("demo") == []


def test_true_checksums_are_accepted(server: GcsServer) -> None:
    data = b"some bytes"
    metadata = f'{{"name": "k", "crc32c": "{crc32c(data)}", "md5Hash": "{md5(data)}"}}'
    assert multipart(server, metadata, data, X_Goog_Hash=f"crc32c={crc32c(data)},md5={md5(data)}").status == 200


@pytest.mark.parametrize(
    ("metadata", "header", "text"),
    [
        ({"crc32c": "AAAAAA=="}, "", 'Provided CRC32C "AAAAAA==" doesn\'t match calculated CRC32C "mnG7TA==".'),
        ({"md5Hash": "A" * 22 + "=="}, "", 'Provided MD5 hash "AAAAAAAAAAAAAAAAAAAAAA==" doesn\'t match'),
        ({}, "crc32c=AAAAAA==", "Provided CRC32C"),
        ({}, "crc32c=mnG7TA==,md5=AAAAAAAAAAAAAAAAAAAAAA==", "Provided MD5 hash"),
        ({"crc32c": "not base64"}, "", "Invalid checksum"),
        ({"crc32c": "AAAA"}, "", "Invalid checksum"),
    ],
)
def test_a_wrong_checksum_stores_nothing(server: GcsServer, metadata: dict[str, str], header: str, text: str) -> None:
    # Given an object that is already there
    server.put("demo", "k", b"old")
    # When other bytes come with a checksum that is not theirs
    body = str({"name": "k", **metadata}).replace("'", '"')
    answer = multipart(server, body, b"hello", X_Goog_Hash=header)
    # Then 400 in the service's words, and the old object stays
    assert (answer.status, answer.reason) == (400, "invalid")
    assert answer.json["error"]["message"].startswith(text)
    assert server.data("demo", "k") == b"old"


def test_both_wrong_checksums_are_named(server: GcsServer) -> None:
    answer = multipart(server, '{"name": "k", "crc32c": "AAAAAA==", "md5Hash": "AAAAAAAAAAAAAAAAAAAAAA=="}', b"hello")
    assert [error["message"].split()[1] for error in answer.json["error"]["errors"]] == ["CRC32C", "MD5"]


@pytest.mark.parametrize("name", ["", ".", "..", "a%0Ab", "a%0Db", "x" * 1025, "%C3%A9" * 513, ".well-known/acme-challenge/t"])
def test_names_that_cannot_be(server: GcsServer, name: str) -> None:
    answer = ask(server, "POST", MEDIA + name, b"x")
    assert (answer.status, answer.reason) == (400, "required" if not name else "invalid")
    assert server.writes == []


def test_names_from_json_that_are_not_utf8(server: GcsServer) -> None:
    assert multipart(server, '{"name": "\\ud800"}', b"x").status == 400
    assert ask(server, "GET", "/storage/v1/b/demo/o/%FF").status == 400


def test_the_name_in_the_query_and_in_the_metadata_must_agree(server: GcsServer) -> None:
    assert multipart(server, '{"name": "k"}', b"x", "&name=k").status == 200
    assert multipart(server, '{"name": "k"}', b"x", "&name=other").reason == "invalidParameter"


@pytest.mark.parametrize(
    ("there", "query", "status"),
    [
        (False, "ifGenerationMatch=0", 200),
        (True, "ifGenerationMatch=0", 412),
        (True, "ifGenerationMatch=GEN", 200),
        (True, "ifGenerationMatch=1", 412),
        (False, "ifGenerationMatch=1", 412),
        (True, "ifGenerationNotMatch=0", 200),
        (False, "ifGenerationNotMatch=0", 412),
        (True, "ifGenerationNotMatch=GEN", 412),
        (True, "ifMetagenerationMatch=1", 200),
        (True, "ifMetagenerationMatch=2", 412),
        (False, "ifMetagenerationMatch=1", 412),
        (True, "ifMetagenerationNotMatch=1", 412),
        (True, "ifMetagenerationNotMatch=2", 200),
        (True, "ifGenerationMatch=GEN&ifMetagenerationMatch=7", 412),
        (True, "ifGenerationMatch=abc", 400),
    ],
)
def test_preconditions_on_a_write(server: GcsServer, there: bool, query: str, status: int) -> None:
    generation = server.put("demo", "k", b"old").generation if there else 0
    answer = ask(server, "POST", MEDIA + "k&" + query.replace("GEN", str(generation)), b"new")
    assert answer.status == status
    if status == 412:
        assert answer.reason == "conditionNotMet"
    expected: list[Any] = [b"new"] if status == 200 else [b"old"] if there else []
    assert [server.data("demo", key) for key in server.keys("demo")] == expected


def test_missing_bucket_and_unknown_paths(server: GcsServer) -> None:
    assert ask(server, "POST", MEDIA.replace("demo", "none") + "k", b"x").reason == "notFound"
    assert ask(server, "POST", "/storage/v1/b/demo/o", b"x").reason == "wrongUrlForUpload"
    assert ask(server, "POST", "/upload/storage/v1/b/demo/o?uploadType=odd", b"x").reason == "invalidParameter"
    for method, path in (("GET", "/"), ("GET", "/storage/v1/x"), ("PUT", "/storage/v1/b"), ("GET", "/storage/v1/b/demo/o/a/b")):
        assert ask(server, method, path).status == 404


def test_buckets(server: GcsServer) -> None:
    assert ask(server, "POST", "/storage/v1/b?project=p", {"name": "second-one"}).json["kind"] == "storage#bucket"
    assert ask(server, "POST", "/storage/v1/b?project=p", {"name": "second-one"}).reason == "conflict"
    for name in ("Upper", "ab", "x" * 64, "10.0.0.1", "-x-"):
        assert ask(server, "POST", "/storage/v1/b?project=p", {"name": name}).reason == "invalid"
    assert [item["name"] for item in ask(server, "GET", "/storage/v1/b?project=p").json["items"]] == ["demo", "second-one"]
    assert ask(server, "GET", "/storage/v1/b/second-one").json["id"] == "second-one"
    server.put("demo", "k", b"x")
    assert ask(server, "DELETE", "/storage/v1/b/demo").status == 409
    assert ask(server, "DELETE", "/storage/v1/b/second-one").status == 204
    assert ask(server, "GET", "/storage/v1/b/second-one").status == 404


def test_a_token_is_checked_where_one_is_required(server: GcsServer) -> None:
    server.require_token = "secret"
    refused = ask(server, "POST", MEDIA + "k", b"x", Authorization="Bearer wrong")
    assert (refused.status, refused.reason) == (401, "authError")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert ask(server, "GET", "/storage/v1/b/demo").status == 401
    assert ask(server, "POST", MEDIA + "k", b"x", Authorization="Bearer secret").status == 200


def test_one_write_per_second_and_object() -> None:
    now = 1000.0
    with GcsServer(buckets=["demo"], rate_limit=True, clock=lambda: now) as server:
        assert ask(server, "POST", MEDIA + "k", b"1").status == 200
        assert ask(server, "POST", MEDIA + "other", b"1").status == 200
        now = 1000.9
        refused = ask(server, "PATCH", "/storage/v1/b/demo/o/k", {"metadata": {"a": "b"}})
        assert (refused.status, refused.reason) == (429, "rateLimitExceeded")
        now = 1001.0
        assert ask(server, "POST", MEDIA + "k", b"2").status == 200


def test_a_data_limit_is_kept() -> None:
    with GcsServer(buckets=["demo"], data_limit=10) as server:
        assert ask(server, "POST", MEDIA + "a", b"12345678").status == 200
        assert ask(server, "POST", MEDIA + "b", b"123").reason == "quotaExceeded"
        assert ask(server, "POST", MEDIA + "a", b"1234567890").status == 200
        assert ask(server, "DELETE", "/storage/v1/b/demo/o/a").status == 204
        assert ask(server, "POST", MEDIA + "b", b"123").status == 200


def test_writes_and_requests_are_counted(server: GcsServer) -> None:
    for data in (b"1", b"2"):
        ask(server, "POST", MEDIA + "k", data)
    ask(server, "GET", "/storage/v1/b/demo/o/k")
    stats = ask(server, "GET", "/_stats").json
    assert stats["requests"] == {"insert.media": 2, "get": 1}
    assert stats["writes"] == {"demo": {"k": 2}}
    assert [(bucket, key) for bucket, key, _ in server.writes] == [("demo", "k")] * 2
    ask(server, "DELETE", "/_stats")
    assert ask(server, "GET", "/_stats").json["writes"] == {}
