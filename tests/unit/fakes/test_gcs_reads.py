"""Reading on the wire: metadata, media, ranges, transcoding, listing, partial responses; and changes to metadata."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.unit.fakes.wire import ask

if TYPE_CHECKING:
    from tests.fakes.gcs import GcsServer

OBJECT = "/storage/v1/b/demo/o/k"
DOWNLOAD = "/download/storage/v1/b/demo/o/k?alt=media"
DATA = bytes(range(200))


@pytest.mark.parametrize("path", [DOWNLOAD, f"{OBJECT}?alt=media"])
def test_media_says_what_it_is(server: GcsServer, path: str) -> None:
    blob = server.put(
        "demo", "k", DATA, contentType="text/x", cacheControl="public", contentDisposition="inline", contentLanguage="de"
    )
    answer = ask(server, "GET", path)
    assert (answer.status, answer.body) == (200, DATA)
    headers = answer.headers
    assert headers["content-length"] == "200"
    assert headers["content-type"] == "text/x"
    assert headers["x-goog-hash"] == f"crc32c={blob.crc32c},md5={blob.md5}"
    assert headers["x-goog-generation"] == str(blob.generation)
    assert headers["x-goog-metageneration"] == "1"
    assert headers["x-goog-stored-content-encoding"] == "identity"
    assert headers["x-goog-stored-content-length"] == "200"
    assert headers["etag"] == server.resource("demo", "k")["etag"]
    assert (headers["cache-control"], headers["content-disposition"], headers["content-language"]) == ("public", "inline", "de")


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
def test_a_range(server: GcsServer, asked: str, start: int, end: int) -> None:
    blob = server.put("demo", "k", DATA)
    answer = ask(server, "GET", DOWNLOAD, Range=asked)
    assert (answer.status, answer.body) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/200"
    assert blob.crc32c in answer.headers["x-goog-hash"]


@pytest.mark.parametrize("asked", ["bytes=200-", "bytes=500-600", "bytes=-0"])
def test_a_range_behind_the_end(server: GcsServer, asked: str) -> None:
    server.put("demo", "k", DATA)
    answer = ask(server, "GET", DOWNLOAD, Range=asked)
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */200")


def test_an_empty_object_has_no_ranges(server: GcsServer) -> None:
    server.put("demo", "k", b"")
    assert ask(server, "GET", DOWNLOAD).status == 200
    assert ask(server, "GET", DOWNLOAD, Range="bytes=0-").status == 416


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=-", "lines=1-2", "bytes=1-2,5-6"])
def test_a_range_without_sense_gets_everything(server: GcsServer, asked: str) -> None:
    server.put("demo", "k", DATA)
    answer = ask(server, "GET", DOWNLOAD, Range=asked)
    assert (answer.status, answer.body) == (200, DATA)


def test_decompressive_transcoding(server: GcsServer) -> None:
    # Given an object stored as gzip
    packed = gzip.compress(b"plain text " * 100)
    blob = server.put("demo", "k", packed, contentEncoding="gzip")
    # When a client does not say that it takes gzip
    answer = ask(server, "GET", DOWNLOAD, Range="bytes=0-9")
    # Then the service unpacks, ignores the range, knows no length, and the hash is that of the stored bytes
    assert (answer.status, answer.body) == (200, b"plain text " * 100)
    assert "content-length" not in answer.headers
    assert "content-encoding" not in answer.headers
    assert blob.crc32c in answer.headers["x-goog-hash"]
    assert answer.headers["x-guploader-response-body-transformations"] == "gunzipped"
    assert answer.headers["x-goog-stored-content-encoding"] == "gzip"
    # When it does say so
    stored = ask(server, "GET", DOWNLOAD, Accept_Encoding="deflate, gzip;q=1.0")
    # Then it gets what is stored, and ranges work
    assert (stored.status, stored.body, stored.headers["content-encoding"]) == (200, packed, "gzip")
    assert ask(server, "GET", DOWNLOAD, Accept_Encoding="gzip", Range="bytes=2-5").body == packed[2:6]


def test_what_is_not_transcoded(server: GcsServer) -> None:
    packed = gzip.compress(b"plain")
    server.put("demo", "k", packed, contentEncoding="gzip", cacheControl="no-transform")
    assert ask(server, "GET", DOWNLOAD).body == packed
    server.put("demo", "k", b"not gzip at all", contentEncoding="gzip")
    assert ask(server, "GET", DOWNLOAD).body == b"not gzip at all"
    server.put("demo", "k", packed, contentEncoding="br")
    assert ask(server, "GET", DOWNLOAD).body == packed


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("generation=GEN", 200),
        ("generation=1", 404),
        ("ifGenerationMatch=GEN", 200),
        ("ifGenerationMatch=1", 412),
        ("ifGenerationNotMatch=GEN", 304),
        ("ifGenerationNotMatch=1", 200),
        ("ifMetagenerationMatch=1", 200),
        ("ifMetagenerationMatch=2", 412),
        ("ifMetagenerationNotMatch=1", 304),
    ],
)
@pytest.mark.parametrize("alt", ["json", "media"])
def test_preconditions_on_a_read(server: GcsServer, query: str, status: int, alt: str) -> None:
    generation = str(server.put("demo", "k", DATA).generation)
    assert ask(server, "GET", f"{OBJECT}?alt={alt}&{query.replace('GEN', generation)}").status == status


def test_etags_as_preconditions(server: GcsServer) -> None:
    server.put("demo", "k", DATA)
    etag = server.resource("demo", "k")["etag"]
    assert ask(server, "GET", OBJECT, If_Match=etag).status == 200
    assert ask(server, "GET", OBJECT, If_Match="other").status == 412
    assert ask(server, "GET", OBJECT, If_None_Match=etag).status == 304


def test_what_is_not_there(server: GcsServer) -> None:
    answer = ask(server, "GET", OBJECT)
    assert (answer.status, answer.reason) == (404, "notFound")
    assert answer.json["error"]["message"] == "No such object: demo/k"
    media = ask(server, "GET", DOWNLOAD)
    assert (media.status, media.body) == (404, b"No such object: demo/k")
    assert ask(server, "GET", "/storage/v1/b/none/o").json["error"]["message"] == "The specified bucket does not exist."


def names(server: GcsServer, query: str) -> tuple[list[str], list[str]]:
    """All pages: names and prefixes."""
    found: list[str] = []
    prefixes: list[str] = []
    token = ""
    while True:
        page = ask(server, "GET", f"/storage/v1/b/demo/o?{query}&pageToken={quote(token)}").json
        found += [item["name"] for item in page.get("items", [])]
        prefixes += page.get("prefixes", [])
        token = page.get("nextPageToken", "")
        if not token:
            return found, prefixes


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_listing(server: GcsServer, size: int) -> None:
    # Given names whose order by code point is not that of a dictionary
    keys = ["Z", "a", "a/1", "a/2/x", "a/2/y", "a0", "b//c", "é", "\uffff", "🪣/1"]
    for key in reversed(keys):
        server.put("demo", key, b"")
    # Then every page size gives the same answers
    assert names(server, f"maxResults={size}") == (keys, [])
    assert names(server, f"maxResults={size}&prefix=a/") == (["a/1", "a/2/x", "a/2/y"], [])
    assert names(server, f"maxResults={size}&delimiter=/") == (["Z", "a", "a0", "é", "\uffff"], ["a/", "b/", "🪣/"])
    assert names(server, f"maxResults={size}&delimiter=/&prefix=a/") == (["a/1"], ["a/2/"])
    assert names(server, f"maxResults={size}&startOffset=a0&endOffset=%C3%A9") == (["a0", "b//c"], [])
    assert names(server, f"maxResults={size}&prefix=none") == ([], [])


def test_pages_have_at_most_a_thousand_entries(server: GcsServer) -> None:
    for number in range(1001):
        server.put("demo", f"{number:05}", b"")
    first = ask(server, "GET", "/storage/v1/b/demo/o?maxResults=5000").json
    assert len(first["items"]) == 1000
    assert len(names(server, "")[0]) == 1001
    server.store.delete(server.store.get("demo", "01000"))
    assert "nextPageToken" not in ask(server, "GET", "/storage/v1/b/demo/o").json


def test_bad_questions_to_a_listing(server: GcsServer) -> None:
    assert ask(server, "GET", "/storage/v1/b/demo/o?pageToken=*").reason == "invalid"
    assert ask(server, "GET", "/storage/v1/b/demo/o?maxResults=x").reason == "invalid"
    assert ask(server, "GET", "/storage/v1/b/demo/o?maxResults=0").reason == "invalid"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("items(name,size),nextPageToken", {"items": [{"name": "k", "size": "1"}]}),
        ("items/name", {"items": [{"name": "k"}]}),
        ("items(metadata/a)", {"items": [{"metadata": {"a": "1"}}]}),
        ("kind", {"kind": "storage#objects"}),
        ("nextPageToken", {}),
    ],
)
def test_partial_responses(server: GcsServer, fields: str, expected: dict[str, Any]) -> None:
    server.put("demo", "k", b"x", metadata={"a": "1", "b": "2"})
    assert ask(server, "GET", f"/storage/v1/b/demo/o?fields={quote(fields)}").json == expected


def test_partial_responses_that_make_no_sense(server: GcsServer) -> None:
    for fields in ("items(name", "items)", ",", "items()"):
        assert ask(server, "GET", f"/storage/v1/b/demo/o?fields={quote(fields)}").reason == "invalidParameter"
    assert ask(server, "GET", "/storage/v1/b/demo/o?fields=*").json == {"kind": "storage#objects"}


def test_patch_merges_and_update_replaces(server: GcsServer) -> None:
    generation = server.put("demo", "k", DATA, contentType="text/x", metadata={"a": "1", "b": "2"}).generation
    patched = ask(server, "PATCH", OBJECT, {"metadata": {"b": None, "c": "3"}, "cacheControl": "no-store", "size": "7"}).json
    assert (patched["metadata"], patched["contentType"], patched["cacheControl"]) == ({"a": "1", "c": "3"}, "text/x", "no-store")
    assert (patched["metageneration"], patched["generation"], patched["size"]) == ("2", str(generation), "200")
    cleared = ask(server, "PATCH", OBJECT, {"metadata": None, "contentType": None}).json
    assert "metadata" not in cleared
    assert "contentType" not in cleared
    replaced = ask(server, "PUT", OBJECT, {"contentType": "a/b"}).json
    assert (replaced["contentType"], replaced["metageneration"], "cacheControl" in replaced) == ("a/b", "4", False)
    assert len({patched["etag"], cleared["etag"], replaced["etag"]}) == 3


def test_metadata_that_cannot_be(server: GcsServer) -> None:
    server.put("demo", "k", DATA, customTime="2026-01-02T00:00:00Z")
    for body in ({"metadata": {"a": 1}}, {"metadata": "a"}, {"contentType": 5}, {"metadata": {"a": "x" * 9000}}):
        assert ask(server, "PATCH", OBJECT, body).reason == "invalid"
    assert ask(server, "PATCH", OBJECT, {"customTime": "2026-01-01T00:00:00Z"}).reason == "invalid"
    assert ask(server, "PATCH", OBJECT, {"customTime": "2026-01-03T00:00:00Z"}).status == 200
    assert server.resource("demo", "k")["metageneration"] == "2"


def test_delete_and_copies_with_preconditions(server: GcsServer) -> None:
    generation = server.put("demo", "k", DATA, contentType="text/x").generation
    to = f"{OBJECT}/copyTo/b/demo/o/a%2Fb"
    assert ask(server, "POST", f"{to}?ifSourceGenerationMatch=1").status == 412
    assert ask(server, "POST", f"{to}?ifGenerationMatch=0&ifSourceGenerationMatch={generation}").json["contentType"] == "text/x"
    assert ask(server, "POST", f"{to}?ifGenerationMatch=0").status == 412
    sources = {"sourceObjects": [{"name": "k", "objectPreconditions": {"ifGenerationMatch": "1"}}]}
    assert ask(server, "POST", "/storage/v1/b/demo/o/c/compose", sources).status == 412
    assert ask(server, "POST", "/storage/v1/b/demo/o/c/compose", {"sourceObjects": [{}]}).status == 400
    assert ask(server, "POST", "/storage/v1/b/demo/o/c/compose", {"sourceObjects": [{"name": "k"}] * 33}).status == 400
    assert ask(server, "DELETE", f"{OBJECT}?ifGenerationMatch=1").status == 412
    assert ask(server, "DELETE", f"{OBJECT}?ifMetagenerationMatch=1").status == 204
    assert ask(server, "DELETE", OBJECT).status == 404
    assert server.keys("demo") == ["a/b"]
