"""Listings: version 2, version 1, and of all versions. Keys come in the order of their UTF-8 bytes.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from tests.fakes.http import Response
from tests.fakes.s3.errors import invalid_argument
from tests.fakes.s3.objects import timestamp
from tests.fakes.s3.xml import XML, document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.s3.call import Call
    from tests.fakes.s3.store import Blob, Bucket
    from tests.fakes.s3.xml import Value

_MOST = 1000
_OWNER: dict[str, Value] = {"ID": "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"}


@dataclass(frozen=True, slots=True)
class Question:
    """`after`: the last key or common prefix that the client has seen."""

    prefix: str
    delimiter: str
    most: int
    after: str
    encoded: bool

    @classmethod
    def of(cls, call: Call, after: str) -> Question:
        encoding = call.query.get("encoding-type")
        if encoding not in {None, "", "url"}:
            raise invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", encoding or "")
        most = min(call.number("max-keys", _MOST), _MOST)
        return cls(call.query.get("prefix", ""), call.query.get("delimiter", ""), most, after, encoding == "url")

    def shown(self, text: str) -> str:
        return quote_plus(text, safe="/-_.*") if self.encoded else text

    def said(self) -> dict[str, Value]:
        """What every listing repeats of the question."""
        return {
            "Prefix": self.shown(self.prefix),
            "Delimiter": self.shown(self.delimiter) or None,
            "MaxKeys": self.most,
            "EncodingType": "url" if self.encoded else None,
        }


@dataclass(slots=True)
class Page:
    keys: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    truncated: bool = False
    last: str = ""
    """The last key or common prefix on the page."""


def page(keys: list[str], asked: Question) -> Page:
    """Keys and common prefixes together count towards the page size."""
    found = Page()
    for name, folded in _walk(keys, asked):
        if len(found.keys) + len(found.prefixes) == asked.most:
            found.truncated = asked.most > 0
            break
        (found.prefixes if folded else found.keys).append(name)
        found.last = name
    return found


def _walk(keys: list[str], asked: Question) -> Iterator[tuple[str, bool]]:
    at = bisect_left(keys, asked.prefix.encode(), key=str.encode)
    if asked.after:
        folded = asked.delimiter and asked.after.endswith(asked.delimiter) and len(asked.after) > len(asked.prefix)
        at = max(at, _past(keys, asked.after) if folded else bisect_right(keys, asked.after.encode(), key=str.encode))
    while at < len(keys) and keys[at].startswith(asked.prefix):
        cut = keys[at].find(asked.delimiter, len(asked.prefix)) if asked.delimiter else -1
        if cut < 0:
            yield keys[at], False
            at += 1
        else:
            common = keys[at][: cut + len(asked.delimiter)]
            yield common, True
            at = _past(keys, common)


def _past(keys: list[str], prefix: str) -> int:
    """Where the keys with this prefix end."""
    start = bisect_left(keys, prefix.encode(), key=str.encode)
    return bisect_left(keys, x=True, lo=start, key=lambda name: not name.startswith(prefix))


class Listings:
    """`new`: the server says which checksum an object has."""

    def __init__(self, *, new: bool) -> None:
        self._new = new

    def second(self, home: Bucket, call: Call) -> Response:
        token, start = call.query.get("continuation-token"), call.query.get("start-after", "")
        asked = Question.of(call, _untoken(token) if token else start)
        listed = page(_current(home), asked)
        body: dict[str, Value] = {"Name": home.name, **asked.said(), "StartAfter": asked.shown(start) or None}
        body |= {
            "KeyCount": len(listed.keys) + len(listed.prefixes),
            "IsTruncated": listed.truncated,
            "ContinuationToken": token or None,
        }
        if listed.truncated:
            body["NextContinuationToken"] = _token(listed.last)
        owner = call.query.get("fetch-owner") == "true"
        return self._answer("ListBucketResult", body, home, listed, asked, owner=owner)

    def first(self, home: Bucket, call: Call) -> Response:
        marker = call.query.get("marker", "")
        asked = Question.of(call, marker)
        listed = page(_current(home), asked)
        body: dict[str, Value] = {
            "Name": home.name,
            **asked.said(),
            "Marker": asked.shown(marker),
            "IsTruncated": listed.truncated,
        }
        if listed.truncated and asked.delimiter:  # without one the client takes the last key
            body["NextMarker"] = asked.shown(listed.last)
        return self._answer("ListBucketResult", body, home, listed, asked, owner=True)

    def versions(self, home: Bucket, call: Call) -> Response:
        """Pages end between keys, so that a version marker is only needed by clients that make up their own."""
        marker, version_marker = call.query.get("key-marker", ""), call.query.get("version-id-marker", "")
        asked = Question.of(call, marker)
        listed = page(home.sorted_keys(), asked)
        said: dict[str, Value] = {"Name": home.name, **asked.said(), "KeyMarker": asked.shown(marker)}
        said |= {"VersionIdMarker": version_marker, "IsTruncated": listed.truncated}
        if listed.truncated:
            said |= {"NextKeyMarker": asked.shown(listed.last), "NextVersionIdMarker": "null"}
        versions: list[Value] = []
        markers: list[Value] = []
        for key in listed.keys:
            for blob in reversed(home.versions[key]):
                latest: dict[str, Value] = {"VersionId": blob.version_id, "IsLatest": blob is home.newest(key)}
                if blob.delete_marker:
                    moment = timestamp(blob.modified)
                    markers.append({"Key": asked.shown(key), **latest, "LastModified": moment, "Owner": _OWNER})
                else:
                    versions.append({**self._entry(blob, asked, owner=True), **latest})
        prefixes: list[Value] = [{"Prefix": asked.shown(prefix)} for prefix in listed.prefixes]
        said |= {"Version": versions, "DeleteMarker": markers, "CommonPrefixes": prefixes}
        return Response(200, [XML], document("ListVersionsResult", said))

    def _answer(self, name: str, body: dict[str, Value], home: Bucket, listed: Page, asked: Question, *, owner: bool) -> Response:
        blobs = [home.versions[key][-1] for key in listed.keys]
        contents: list[Value] = [self._entry(blob, asked, owner=owner) for blob in blobs]
        prefixes: list[Value] = [{"Prefix": asked.shown(prefix)} for prefix in listed.prefixes]
        return Response(200, [XML], document(name, {**body, "Contents": contents, "CommonPrefixes": prefixes}))

    def _entry(self, blob: Blob, asked: Question, *, owner: bool) -> dict[str, Value]:
        said: dict[str, Value] = {
            "Key": asked.shown(blob.key),
            "LastModified": timestamp(blob.modified),
            "ETag": f'"{blob.etag}"',
        }
        if self._new:
            algorithm, kind = (blob.checksum.algorithm, blob.checksum.type) if blob.checksum else ("CRC64NVME", "FULL_OBJECT")
            said |= {"ChecksumAlgorithm": algorithm, "ChecksumType": kind}
        said["Size"] = len(blob.data)
        if owner:
            said["Owner"] = _OWNER
        return {**said, "StorageClass": blob.fields.storage_class}


def _current(home: Bucket) -> list[str]:
    """The keys that have a current version. Without delete markers that is all of them, and the sorted list is used as it is."""
    keys = home.sorted_keys()
    if home.versioning == "":
        return keys
    return [key for key in keys if home.current(key) is not None]


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(b"1" + last.encode()).decode()


def _untoken(token: str) -> str:
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raw = ""
    if not raw.startswith("1"):
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", token)
    return raw[1:]
