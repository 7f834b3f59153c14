"""S3, and what speaks its protocol, as a destination."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from common.checksums import as_text
from common.errors import (
    ChecksumMismatch,
    InvalidName,
    LocationMissing,
    ObjectError,
    Refused,
    SourceMissing,
    Unavailable,
    UploadLost,
)
from common.objects import StoredObject, Version
from common.storage.base import MIB, Absent, PartReceipt
from common.storage.names import SOURCE_VERSION
from common.storage.s3_headers import etag, to_wire, whole_crc32c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import Headers
    from common.storage.base import Body, Limits, Precondition, Upload
    from common.storage.s3_client import S3Client
    from common.transport.http import Response

LONGEST_KEY = 1024
"""Bytes of UTF-8: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

_UPLOAD_ID = re.compile(rb"<UploadId>([^<]{1,1024})</UploadId>")
_ETAG = re.compile(rb"<ETag>([^<]{1,200})</ETag>")
_CHECKSUM = [("x-amz-checksum-algorithm", "CRC32C"), ("x-amz-checksum-type", "FULL_OBJECT")]


class S3Writer:
    def __init__(self, client: S3Client, limits: Limits) -> None:
        self.limits = limits
        self._client = client

    async def stat(self, key: str) -> StoredObject | None:
        self._check(key)
        return await self._client.head(key)

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        self._check(key)
        checksum = as_text(body.crc32c)
        headers = [*to_wire(body.headers), ("x-amz-checksum-crc32c", checksum), *_condition(precondition)]
        response = await self._client.send("PUT", key, headers=headers, body=body.data)
        if response.status != 200:
            raise self._failure(response, "write", key)
        if whole_crc32c(response.headers) == body.crc32c:
            # S3 has compared the checksum with the bytes it stored and says so; nothing is left to ask.
            return _written(key, len(body.data), response, body.headers, body.crc32c)
        return await self.confirm(key, len(body.data), etag(response.headers.get("etag", "")), body.headers)

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        self._check(key)
        if token is not None:
            return S3Upload(self, self._client, key, size, headers, precondition=precondition, token=token)
        response = await self._client.send(
            "POST", key, query=[("uploads", "")], headers=[*to_wire(headers), *_CHECKSUM], expect=MIB
        )
        found = _UPLOAD_ID.search(response.body)
        if response.status != 200 or found is None:
            raise self._failure(response, "begin an upload of", key)
        return S3Upload(self, self._client, key, size, headers, precondition=precondition, token=found[1].decode())

    async def close(self) -> None:
        await self._client.close()

    async def confirm(self, key: str, size: int, token: str, headers: Headers) -> StoredObject:
        """The object that was just written, by the service's word: not every S3 tells or checks what it stored.

        It is ours if it has the ETag of the answer, or, from servers that change the ETag afterwards, our provenance.
        """
        found = await self.stat(key)
        source = headers.metadata.get(SOURCE_VERSION)
        ours = found is not None and (
            found.version.token == token or (source is not None and found.headers.metadata.get(SOURCE_VERSION) == source)
        )
        if found is None or found.size != size or not ours:
            there = "nothing" if found is None else f"{found.size} bytes"
            raise ChecksumMismatch(
                f"wrote {size} bytes to {self._name(key)!r}, and there is {there}: someone else writes there too?"
            )
        return found

    def _check(self, key: str) -> None:
        length = len((self._client.prefix + key).encode("utf-8", "surrogatepass"))
        if not 0 < length <= LONGEST_KEY:
            raise InvalidName(f"S3 keys have 1 to {LONGEST_KEY} bytes, {self._name(key)!r} has {length}")
        if any("\ud800" <= character <= "\udfff" for character in key):
            raise InvalidName(f"S3 keys are UTF-8, {self._name(key)!r} is not")

    def _failure(self, response: Response, doing: str, key: str) -> ObjectError:
        error = self._client.failure(response, doing, key)
        # To a writer a 404 means the bucket: an object to be written need not be there.
        return LocationMissing(str(error)) if isinstance(error, SourceMissing) else error

    def _name(self, key: str) -> str:
        return f"s3://{self._client.bucket}/{self._client.prefix}{key}"


class S3Upload:
    """A multipart upload. `token` is its upload id, which grants nothing without credentials."""

    def __init__(
        self,
        writer: S3Writer,
        client: S3Client,
        key: str,
        size: int,
        headers: Headers,
        *,
        precondition: Precondition,
        token: str,
    ) -> None:
        self.token = token
        self._writer = writer
        self._client = client
        self._key = key
        self._size = size
        self._headers = headers
        self._precondition = precondition
        self._over = False

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        query = [("partNumber", str(number + 1)), ("uploadId", self.token)]
        headers = [("x-amz-checksum-crc32c", as_text(crc32c))]
        response = await self._client.send("PUT", self._key, query=query, headers=headers, body=data)
        if response.status != 200:
            raise self._failure(response, f"write part {number} at byte {offset} of")
        return PartReceipt(number, len(data), crc32c, etag(response.headers.get("etag", "")))

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        if sum(receipt.size for receipt in receipts) != self._size:
            raise ChecksumMismatch(f"the parts of {self._key!r} do not add up to {self._size} bytes")
        parts = "".join(
            f"<Part><PartNumber>{receipt.number + 1}</PartNumber><ETag>{escape(receipt.token)}</ETag>"
            f"<ChecksumCRC32C>{as_text(receipt.crc32c)}</ChecksumCRC32C></Part>"
            for receipt in sorted(receipts, key=lambda receipt: receipt.number)
        )
        body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{parts}</CompleteMultipartUpload>'
        headers = [
            ("content-type", "application/xml"),
            ("x-amz-checksum-crc32c", as_text(crc32c)),
            ("x-amz-checksum-type", "FULL_OBJECT"),
            ("x-amz-mp-object-size", str(self._size)),
            *_condition(self._precondition),
        ]
        response = await self._client.send(
            "POST", self._key, query=[("uploadId", self.token)], headers=headers, body=body.encode(), expect=MIB
        )
        # A long assembly answers 200 first and may still say <Error> in the body
        # (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html).
        if response.status != 200 or b"<Error>" in response.body:
            raise self._failure(response, "complete")
        self._over = True
        token = _ETAG.search(response.body)
        whole = etag(token[1].decode().replace("&quot;", '"')) if token else ""
        return await self._writer.confirm(self._key, self._size, whole, self._headers)

    async def abort(self) -> None:
        if self._over:
            return
        response = await self._client.send("DELETE", self._key, query=[("uploadId", self.token)])
        if response.status not in (200, 204, 404):
            raise self._failure(response, "abort the upload of")
        self._over = True

    def _failure(self, response: Response, doing: str) -> ObjectError:
        error = self._client.failure(response, doing, self._key)
        if isinstance(error, SourceMissing):
            return UploadLost(str(error))
        if isinstance(error, Refused) and response.status == 200:
            return Unavailable(str(error))
        return error


def _condition(precondition: Precondition) -> list[tuple[str, str]]:
    if isinstance(precondition, Absent):
        return [("if-none-match", "*")]
    return [("if-match", f'"{precondition.version.token}"')]


def _written(key: str, size: int, response: Response, headers: Headers, crc32c: int) -> StoredObject:
    version_id = response.headers.get("x-amz-version-id")
    version = Version(etag(response.headers.get("etag", "")), version_id if version_id != "null" else None)
    return StoredObject(key=key, size=size, version=version, headers=headers, crc32c=crc32c)
