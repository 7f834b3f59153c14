"""A large object to GCS with several parts in flight: XML multipart upload under a name of its own, then a rename.

A resumable session takes bytes in their order, so one object is never faster than one connection. The XML API takes parts in
any order, but no preconditions: it answers 400 NotImplemented (https://cloud.google.com/storage/docs/request-preconditions), and
without one a write may bury what came meanwhile. So the parts are put together under a name that nobody else knows, the checksum
of the whole is compared there, and then the object is renamed to where it belongs. The rename is atomic and takes
ifGenerationMatch; it costs no early deletion fee, and soft delete keeps nothing (.../json_api/v1/objects/move).

What it costs: the object can be seen under `.brigade/uploads/` for a moment, and after a crash until somebody goes on with the
upload or gives it up; the identity must be allowed to move and delete objects; and where a retention policy holds objects
fast nothing can be renamed. So a location has to ask for it (`parallel_uploads`).
"""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, unescape

from common.checksums import as_text
from common.errors import ChecksumMismatch, ObjectError, SourceMissing, Unavailable, UploadLost
from common.storage.base import MIB, PartReceipt
from common.storage.gcs_client import FIELDS, condition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common.objects import StoredObject, Version
    from common.storage.base import Precondition
    from common.storage.gcs_client import GcsClient
    from common.storage.gcs_writer import GcsWriter
    from common.transport.http import Response

STAGING = ".brigade/uploads/"
"""Below the prefix of the location: an identity may be confined to that. A lifecycle rule can name it."""

is_staged = re.compile(r"(?:.*/)?\.brigade/uploads/[0-9a-f]{32}", re.DOTALL).fullmatch
"""Whether a name, with whatever prefix, is that of an upload under way or left behind: ours, and no object. Anything else that a
user keeps in a folder of that name is his."""

_TOKEN = re.compile(r"parts:([0-9a-f]{32}):(.{1,2048})", re.DOTALL)
_UPLOAD_ID = re.compile(rb"<UploadId>([^<]{1,2048})</UploadId>")
_CARRIED = {
    "contentType": "Content-Type",
    "cacheControl": "Cache-Control",
    "contentDisposition": "Content-Disposition",
    "contentEncoding": "Content-Encoding",
    "contentLanguage": "Content-Language",
    "storageClass": "x-goog-storage-class",
    "customTime": "x-goog-custom-time",
}
_AT_ONCE = ("storageClass",)
"""What an object is made with, and no patch changes."""
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")


async def begin(
    writer: GcsWriter, client: GcsClient, key: str, size: int, resource: Mapping[str, Any], *, precondition: Precondition
) -> GcsParts:
    """A new upload. `resource` is what the object will have beside its bytes."""
    staged = secrets.token_hex(16)
    writer.check(STAGING + staged)
    response = await client.send(
        "POST",
        client.xml_url(STAGING + staged, [("uploads", "")]),
        as_headers(resource) or as_headers({name: resource[name] for name in _AT_ONCE if name in resource}) or [],
        expect=MIB,
    )
    found = _UPLOAD_ID.search(response.body)
    if response.status != 200 or found is None:
        raise writer.failure(response, "begin an upload of", key)
    token = f"parts:{staged}:{unescape(found[1].decode())}"
    return GcsParts(writer, client, key, size, resource, precondition=precondition, token=token)


def names_parts(token: str) -> bool:
    """Whether it is a token of such an upload, and not the URI of a session."""
    return _TOKEN.fullmatch(token) is not None


class GcsParts:
    """An upload under way. `token` names it and the place where it is put together; it grants nothing without credentials."""

    def __init__(
        self,
        writer: GcsWriter,
        client: GcsClient,
        key: str,
        size: int,
        resource: Mapping[str, Any],
        *,
        precondition: Precondition,
        token: str,
    ) -> None:
        named = _TOKEN.fullmatch(token)
        if named is None:
            raise UploadLost(f"{client.name(key)!r}: this is no upload in parts: begin again")
        self.token = token
        self._staged, self._id = STAGING + named[1], named[2]
        self._writer = writer
        self._client = client
        self._key = key
        self._size = size
        self._resource = resource
        self._precondition = precondition

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        """GCS compares the checksum with the bytes of the part before it keeps them."""
        url = self._url(("partNumber", str(number + 1)))
        response = await self._client.send("PUT", url, [("x-goog-hash", f"crc32c={as_text(crc32c)}")], data)
        etag = response.headers.get("etag", "").strip('"')
        if response.status != 200 or not etag:
            raise self._failure(response, f"write part {number} at byte {offset} of")
        return PartReceipt(number, len(data), crc32c, etag)

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        """May be called again after an error: whatever has been done by then is found and not done twice."""
        if sum(receipt.size for receipt in receipts) != self._size:
            raise ChecksumMismatch(f"the parts of {self._client.name(self._key)!r} do not add up to {self._size} bytes")
        await self._assemble(receipts)
        staged = await self._writer.stat(self._staged)
        if staged is None:
            raise UploadLost(f"GCS does not know the upload of {self._client.name(self._key)!r} any more")
        if (staged.size, staged.crc32c) != (self._size, crc32c):
            raise ChecksumMismatch(
                f"sent {self._size} bytes with CRC32C {crc32c:08x} for {self._client.name(self._key)!r}, "
                f"GCS made {staged.size} bytes with {staged.crc32c or 0:08x} of the parts"
            )
        if as_headers(self._resource) is None:
            await self._describe()
        return self._writer.proven(await self._rename(staged.version), self._key, self._size, crc32c)

    async def abort(self) -> None:
        """Also of an upload that was put together and not renamed: its staged object is ours alone, and goes."""
        response = await self._client.send("DELETE", self._url())
        if response.status == 404:
            response = await self._client.send("DELETE", self._client.object_url(self._staged))
        if response.status not in (200, 204, 404):
            raise self._failure(response, "abort the upload of")

    async def _assemble(self, receipts: Sequence[PartReceipt]) -> None:
        """Once: a 404 may mean that it was done before and the answer lost, which the look at the staged object will tell."""
        parts = "".join(
            f"<Part><PartNumber>{receipt.number + 1}</PartNumber><ETag>{escape(receipt.token)}</ETag></Part>"
            for receipt in sorted(receipts, key=lambda receipt: receipt.number)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
        headers = [("Content-Type", "application/xml")]
        response = await self._client.send("POST", self._url(), headers, body.encode(), expect=MIB)
        # As with S3, a long assembly may answer 200 first and say in the body that it failed.
        if response.status not in (200, 404) or (response.status == 200 and b"<Error>" in response.body):
            raise self._failure(response, "put together the parts of")

    async def _describe(self) -> None:
        """What headers of HTTP cannot carry was left out when the upload began: JSON can."""
        fields = {name: value for name, value in self._resource.items() if name not in ("name", *_AT_ONCE)}
        headers = [("Content-Type", "application/json; charset=UTF-8")]
        url = self._client.object_url(self._staged, [("fields", "generation")])
        response = await self._client.send("PATCH", url, headers, json.dumps(fields).encode())
        if response.status != 200:
            raise self._failure(response, "describe")

    async def _rename(self, version: Version) -> Response:
        query = [("fields", FIELDS), condition(self._precondition), ("ifSourceGenerationMatch", version.token)]
        response = await self._client.send("POST", self._client.move_url(self._staged, self._key, query))
        if response.status != 200:
            raise self._failure(response, "rename the upload to")
        return response

    def _url(self, *query: tuple[str, str]) -> str:
        return self._client.xml_url(self._staged, [*query, ("uploadId", self._id)])

    def _failure(self, response: Response, doing: str) -> ObjectError:
        error = self._client.failure(response, doing, self._key)
        if isinstance(error, SourceMissing):
            return UploadLost(str(error))
        return Unavailable(str(error)) if response.status == 200 else error


def as_headers(resource: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    """The fields as the headers of the XML API; None where one of them would not arrive as it is."""
    headers = [(name, resource[field]) for field, name in _CARRIED.items() if field in resource]
    metadata = resource.get("metadata", {})
    headers += [(f"x-goog-meta-{name}", value) for name, value in metadata.items()]
    safe = all(value.isascii() and value.isprintable() and value == value.strip() for _, value in headers)
    return headers if safe and all(_NAME.fullmatch(name) for name in metadata) else None
