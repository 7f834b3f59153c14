"""Google Cloud Storage as a destination: one multipart request for small objects, a resumable session for large ones, or, where
the location asks for it, parts in flight side by side (gcs_parts.py).

https://cloud.google.com/storage/docs/uploading-objects and .../performing-resumable-uploads
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from common.checksums import as_text
from common.errors import ChecksumMismatch, InvalidName, LocationMissing, ObjectError, SourceMissing
from common.storage import gcs_parts
from common.storage.base import PartReceipt
from common.storage.gcs_client import FIELDS, condition, resource_fields
from common.storage.resumable import ResumableSession, begun_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import Headers, StoredObject
    from common.storage.base import Body, Limits, Precondition, Upload
    from common.storage.gcs_client import GcsClient
    from common.transport.http import Response

LONGEST_NAME = 1024
"""Bytes of UTF-8: https://cloud.google.com/storage/docs/objects#naming"""

_JSON = ("Content-Type", "application/json; charset=UTF-8")


class GcsWriter:
    def __init__(self, client: GcsClient, limits: Limits) -> None:
        self.limits = limits
        self._client = client

    async def stat(self, key: str) -> StoredObject | None:
        self.check(key)
        response = await self._client.send("GET", self._client.object_url(key, [("fields", FIELDS)]))
        if response.status == 404:
            return None
        if response.status != 200:
            raise self._client.failure(response, "look at", key)
        return self._client.resource(response, "look at", key)

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        self._check_new(key)
        resource = self._resource(key, body.headers) | {"crc32c": as_text(body.crc32c)}
        boundary = secrets.token_hex(16)
        kind = body.headers.content_type or "application/octet-stream"
        payload = b"".join(
            (
                f"--{boundary}\r\n{_JSON[0]}: {_JSON[1]}\r\n\r\n{json.dumps(resource)}\r\n".encode(),
                f"--{boundary}\r\nContent-Type: {_one_line(kind)}\r\n\r\n".encode(),
                body.data,
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        url = self._client.upload_url([("uploadType", "multipart"), ("fields", FIELDS), condition(precondition)])
        response = await self._client.send("POST", url, [("Content-Type", f"multipart/related; boundary={boundary}")], payload)
        if response.status != 200:
            raise self.failure(response, "write", key)
        return self.proven(response, key, len(body.data), body.crc32c)

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        self._check_new(key)
        resource = self._resource(key, headers)
        if token is not None and gcs_parts.names_parts(token):
            return gcs_parts.GcsParts(self, self._client, key, size, resource, precondition=precondition, token=token)
        if token is not None:
            return GcsUpload(self, self._client, key, size, token, committed=None)
        if self.limits.parallel_parts:
            return await gcs_parts.begin(self, self._client, key, size, resource, precondition=precondition)
        url = self._client.upload_url([("uploadType", "resumable"), ("fields", FIELDS), condition(precondition)])
        wire = [_JSON, ("X-Upload-Content-Length", str(size))]
        if headers.content_type:
            wire.append(("X-Upload-Content-Type", _one_line(headers.content_type)))
        response = await self._client.send("POST", url, wire, json.dumps(resource).encode())
        session = begun_at(response, self._client.origin, service="GCS", name=self._client.name(key))
        if session is None:
            raise self.failure(response, "begin an upload of", key)
        return GcsUpload(self, self._client, key, size, session, committed=0)

    async def close(self) -> None:
        """The transport is shared and closed by who opened it."""

    def proven(self, response: Response, key: str, size: int, crc32c: int) -> StoredObject:
        """The object in the answer to a write, if it is what was sent."""
        found = self._client.resource(response, "write", key)
        if (found.size, found.crc32c) != (size, crc32c):
            raise ChecksumMismatch(
                f"wrote {size} bytes with CRC32C {crc32c:08x} to {self._client.name(key)!r}, "
                f"GCS holds {found.size} bytes with {found.crc32c or 0:08x}"
            )
        return found

    def failure(self, response: Response, doing: str, key: str) -> ObjectError:
        error = self._client.failure(response, doing, key)
        # To a writer a 404 means the bucket: an object to be written need not be there.
        return LocationMissing(f"{error}; check the name of the bucket") if isinstance(error, SourceMissing) else error

    def _resource(self, key: str, headers: Headers) -> dict[str, Any]:
        return resource_fields(headers) | {"name": self._client.prefix + key}

    def _check_new(self, key: str) -> None:
        self.check(key)
        if gcs_parts.is_staged(self._client.prefix + key):
            raise InvalidName(f"{self._client.name(key)!r} has the name of an upload under way, which no listing of ours shows")

    def check(self, key: str) -> None:
        """Raises InvalidName for what GCS cannot hold."""
        full = self._client.prefix + key
        reason = ""
        if not 0 < len(full.encode("utf-8", "surrogatepass")) <= LONGEST_NAME:
            reason = f"names have 1 to {LONGEST_NAME} bytes"
        elif "\r" in full or "\n" in full:
            reason = "names hold no line breaks"
        elif full in (".", ".."):
            reason = "names are not '.' or '..'"
        elif full.startswith(".well-known/acme-challenge/"):
            reason = "names do not start with .well-known/acme-challenge/"
        elif any("\ud800" <= character <= "\udfff" for character in full):
            reason = "names are UTF-8"
        if reason:
            raise InvalidName(f"GCS cannot hold {self._client.name(key)!r}: {reason}")


class GcsUpload:
    """A resumable session. `token` is its URI: whoever knows it can write to it, so it is never shown.

    GCS ends the upload with the last byte and has no other "complete". So the last part is kept until `complete`, which
    sends it with the checksum of the whole object: GCS then refuses wrong bytes instead of showing them.
    """

    def __init__(self, writer: GcsWriter, client: GcsClient, key: str, size: int, session: str, *, committed: int | None) -> None:
        self.token = session
        self._writer = writer
        self._client = client
        self._key = key
        self._size = size
        self._last: tuple[int, bytes] = (0, b"")
        self._session = ResumableSession(
            client.send,
            self._failure,
            session,
            client.origin,
            service="GCS",
            name=client.name(key),
            size=size,
            committed=committed,
        )

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        if offset + len(data) == self._size:
            self._last = (offset, data)
            return PartReceipt(number, len(data), crc32c, stored=False)
        await self._session.fill(offset, data)
        return PartReceipt(number, len(data), crc32c)

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        if sum(receipt.size for receipt in receipts) != self._size:
            raise ChecksumMismatch(f"the parts of {self._client.name(self._key)!r} do not add up to {self._size} bytes")
        response = await self._session.finish(*self._last, [("X-Goog-Hash", f"crc32c={as_text(crc32c)}")])
        return self._writer.proven(response, self._key, self._size, crc32c)

    async def abort(self) -> None:
        await self._session.abort()

    def _failure(self, response: Response, doing: str) -> ObjectError:
        return self._client.failure(response, doing, self._key)


def _one_line(value: str) -> str:
    """A header value of a source cannot add headers to our request."""
    return "".join(character for character in value if character.isprintable()).encode("ascii", "ignore").decode()
