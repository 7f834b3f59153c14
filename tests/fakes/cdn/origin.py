"""What stands behind the edge: objects of the test's own, or a bucket at an S3 server, asked with a signature as an origin access
control asks."""

from __future__ import annotations

import asyncio
import hashlib
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Protocol

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_NO_OBJECT = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message>'
    b"<RequestId>3KQE7RPQ0M4T1Z2S</RequestId><HostId>aGVsbG8gaG9zdA==</HostId></Error>"
)
"""What S3 says of a missing object to somebody who may not list the bucket, which an origin access control may not."""
_HOP_BY_HOP = frozenset({"connection", "date", "server", "content-length", "transfer-encoding", "keep-alive"})


@dataclass(frozen=True)
class Answer:
    """An origin's answer. Header names in lower case; the body is whole."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Origin(Protocol):
    async def fetch(self, path: str, byte_range: str | None) -> Answer: ...


class DictOrigin:
    """A bucket in a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, Answer] = {}

    def put(self, key: str, data: bytes, **headers: str) -> str:
        """Store an object; the answer is its ETag. `content_type="…"` becomes a header."""
        token = hashlib.md5(data).hexdigest()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.objects[key] = Answer(200, {"etag": f'"{token}"', "accept-ranges": "bytes", **named}, data)
        return token

    async def fetch(self, path: str, byte_range: str | None) -> Answer:
        found = self.objects.get(urllib.parse.unquote(path[1:], errors="surrogateescape"))
        if found is None:
            return Answer(403, {"content-type": "application/xml"}, _NO_OBJECT)
        if byte_range is None:
            return found
        first, _, last = byte_range.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) + 1, len(found.body))
        if start >= len(found.body):
            return Answer(416, {"content-range": f"bytes */{len(found.body)}"})
        ranged = {**found.headers, "content-range": f"bytes {start}-{end - 1}/{len(found.body)}"}
        return Answer(206, ranged, found.body[start:end])


class S3Origin:
    """A bucket at an S3 server."""

    def __init__(self, endpoint: str, bucket: str, access_key: str, secret_key: str) -> None:
        self._root = f"{endpoint}/{bucket}"
        self._signer = S3SigV4Auth(Credentials(access_key, secret_key), "s3", "us-east-1")
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    async def fetch(self, path: str, byte_range: str | None) -> Answer:
        return await asyncio.to_thread(self._fetch, path, byte_range)

    def _fetch(self, path: str, byte_range: str | None) -> Answer:
        signed = AWSRequest("GET", self._root + path, headers={"Range": byte_range} if byte_range else {})
        self._signer.add_auth(signed)
        request = urllib.request.Request(self._root + path, headers=dict(signed.headers.items()))
        try:
            with self._direct.open(request, timeout=30) as answer:
                return Answer(answer.status, _headers(answer.headers.items()), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _headers(error.headers.items()), error.read())


def _headers(pairs: list[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in pairs if name.lower() not in _HOP_BY_HOP}
