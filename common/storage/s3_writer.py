"""S3, and what speaks its protocol, as a destination.

What of AWS's newer protections a service is sent, and what of them it is believed to keep, is `s3_dialect`'s business.
Conditions: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html. A 412 says that the condition does not
hold, a 404 that what was to be replaced is gone (which comes to the same), a 409 that somebody was in the way: then a put may be
repeated, and an upload in parts must be begun anew.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from common.checksums import as_text
from common.errors import (
    ChecksumMismatch,
    InvalidName,
    LocationMissing,
    ObjectError,
    PreconditionFailed,
    Refused,
    SourceMissing,
    Unavailable,
    UploadLost,
)
from common.objects import StoredObject, Version
from common.storage import proof
from common.storage.base import MIB, Absent, Matches, PartReceipt
from common.storage.names import SOURCE_VERSION
from common.storage.s3_headers import crc32c_of, etag, to_wire, whole_crc32c

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
_WHOLE = re.compile(rb"<ChecksumCRC32C>([^<]{1,40})</ChecksumCRC32C>.*<ChecksumType>FULL_OBJECT</ChecksumType>", re.DOTALL)
_CHECKSUM = [("x-amz-checksum-algorithm", "CRC32C"), ("x-amz-checksum-type", "FULL_OBJECT")]


class S3Writer:
    """`storing`: headers that say how every object is to be stored (`s3_headers.to_store`)."""

    def __init__(self, client: S3Client, limits: Limits, storing: Sequence[tuple[str, str]] = ()) -> None:
        self.limits = limits
        self._client = client
        self._storing = storing

    async def stat(self, key: str) -> StoredObject | None:
        self._check(key)
        return await self._client.head(key)

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        md5 = self.md5(body.data)
        headers = [*self._described(key, body.headers), *self.integrity(body.crc32c, md5), *self.condition(precondition)]
        response = await self._client.send("PUT", key, headers=headers, body=body.data)
        if response.status != 200:
            raise self._failure(response, "write", key, precondition)
        if whole_crc32c(response.headers) == body.crc32c:
            # S3 has compared the checksum with the bytes it stored and says so; nothing is left to ask.
            version = _version(etag(response.headers.get("etag", "")), response)
            return StoredObject(key, len(body.data), version, headers=body.headers, crc32c=body.crc32c)
        token = etag(response.headers.get("etag", ""))
        found = await self.confirm(key, len(body.data), token, body.headers)
        return await self._proven(found, body, ours=md5 is not None and token == md5.hex())

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        self._check(key)
        if token is not None:
            return S3Upload(self, self._client, key, size, headers, precondition=precondition, token=token)
        described = self._described(key, headers) + (_CHECKSUM if self._client.dialect.extended else [])
        response = await self._client.send("POST", key, query=[("uploads", "")], headers=described, expect=MIB)
        found = _UPLOAD_ID.search(response.body)
        if response.status != 200 or found is None:
            raise self._failure(response, "begin an upload of", key)
        return S3Upload(self, self._client, key, size, headers, precondition=precondition, token=found[1].decode())

    async def close(self) -> None:
        await self._client.close()

    def md5(self, data: bytes) -> bytes | None:
        """Of what is sent; None where the service is sent none."""
        return hashlib.md5(data, usedforsecurity=False).digest() if self._client.dialect.md5 else None

    def integrity(self, crc32c: int, md5: bytes | None) -> list[tuple[str, str]]:
        """The headers against which the service compares the bytes that arrive."""
        headers = [("x-amz-checksum-crc32c", as_text(crc32c))] if self._client.dialect.extended else []
        if md5 is not None:
            headers.append(("content-md5", base64.b64encode(md5).decode()))
        return headers

    def condition(self, precondition: Precondition) -> list[tuple[str, str]]:
        if not self._client.dialect.extended:
            return []
        if isinstance(precondition, Absent):
            return [("if-none-match", "*")]
        return [("if-match", f'"{precondition.version.token}"')]

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

    async def _proven(self, found: StoredObject, body: Body, *, ours: bool) -> StoredObject:
        """With the CRC32C of what was sent, where the service's own word shows that it has these bytes: the ETag is their MD5
        (`ours`), or it states another checksum. Without any nothing is known of them.
        """
        if found.crc32c is not None or not (ours or proof.is_stated(found)):
            return found
        if not ours and (kind := await proof.difference(body.data, found)) is not None:
            raise ChecksumMismatch(f"wrote {found.size} bytes to {self._name(found.key)!r}, and S3 keeps the {kind} of others")
        return replace(found, crc32c=body.crc32c)

    def _described(self, key: str, headers: Headers) -> list[tuple[str, str]]:
        """Everything that is stored beside the bytes, and how. Raises InvalidName, and Refused for metadata that does not fit."""
        self._check(key)
        try:
            wire = to_wire(headers)
        except ValueError as fault:
            raise Refused(f"cannot write {self._name(key)!r}: {fault}; shorten or rename it at the source") from None
        own = {name for name, _ in wire}  # the object's own class goes before that of the location
        return wire + [(name, value) for name, value in self._storing if name not in own]

    def _check(self, key: str) -> None:
        try:
            length = len((self._client.prefix + key).encode())
        except UnicodeEncodeError:
            raise InvalidName(f"S3 keys are UTF-8, {self._name(key)!r} is not") from None
        if not 0 < length <= LONGEST_KEY:
            raise InvalidName(f"S3 keys have 1 to {LONGEST_KEY} bytes, {self._name(key)!r} has {length}")

    def _failure(self, response: Response, doing: str, key: str, precondition: Precondition | None = None) -> ObjectError:
        error = self._client.failure(response, doing, key)
        if not isinstance(error, SourceMissing):
            return error
        # To a writer a 404 means the bucket, because an object to be written need not be there; unless it must.
        return PreconditionFailed(str(error)) if isinstance(precondition, Matches) else LocationMissing(str(error))

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
        self._sent: dict[int, str] = {}
        """The MD5 of the parts that were sent here, where the service is sent one."""

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        query = [("partNumber", str(number + 1)), ("uploadId", self.token)]
        md5 = self._writer.md5(data)
        headers = self._writer.integrity(crc32c, md5)
        response = await self._client.send("PUT", self._key, query=query, headers=headers, body=data)
        if response.status != 200:
            raise self._failure(response, f"write part {number} at byte {offset} of")
        if md5 is not None:
            self._sent[number] = md5.hex()
        return PartReceipt(number, len(data), crc32c, etag(response.headers.get("etag", "")))

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        if sum(receipt.size for receipt in receipts) != self._size:
            raise ChecksumMismatch(f"the parts of {self._key!r} do not add up to {self._size} bytes")
        extended = self._client.dialect.extended
        headers = [("content-type", "application/xml"), *self._writer.condition(self._precondition)]
        if extended:
            headers.append(("x-amz-checksum-crc32c", as_text(crc32c)))
            headers.append(("x-amz-checksum-type", "FULL_OBJECT"))
            headers.append(("x-amz-mp-object-size", str(self._size)))
        body = _list_of_parts(receipts, checksums=extended)
        response = await self._client.send(
            "POST", self._key, query=[("uploadId", self.token)], headers=headers, body=body, expect=MIB
        )
        # A long assembly answers 200 first and may still say <Error> in the body
        # (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html).
        if response.status != 200 or b"<Error>" in response.body:
            raise self._failure(response, "complete", self._precondition)
        self._over = True
        return await self._completed(response, receipts, crc32c)

    async def _completed(self, response: Response, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        """The object by the service's word: that of its answer where it is believed, else that of a look."""
        found = _ETAG.search(response.body)
        token = etag(found[1].decode().replace("&quot;", '"')) if found else ""
        said = _WHOLE.search(response.body)
        whole = crc32c_of(said[1].decode()) if said and self._client.dialect.believed else None
        if whole is None:
            confirmed = await self._writer.confirm(self._key, self._size, token, self._headers)
            ours = confirmed.crc32c is None and token == self._put_together(receipts)
            return replace(confirmed, crc32c=crc32c) if ours else confirmed
        if whole != crc32c:
            raise ChecksumMismatch(f"{self._key!r} was sent with CRC32C {crc32c}, S3 has put together bytes with {whole}")
        return StoredObject(self._key, self._size, _version(token, response), headers=self._headers, crc32c=whole)

    def _put_together(self, receipts: Sequence[PartReceipt]) -> str | None:
        """The ETag of an object that was put together of what was sent, as S3 and nearly everybody else makes it: the MD5 of the
        MD5s of the parts. None where one of them is not known to have arrived as it was sent.
        """
        parts = sorted(receipts, key=lambda receipt: receipt.number)
        if not all(self._sent.get(part.number) == part.token for part in parts):
            return None
        whole = hashlib.md5(b"".join(bytes.fromhex(part.token) for part in parts), usedforsecurity=False)
        return f"{whole.hexdigest()}-{len(parts)}"

    async def abort(self) -> None:
        if self._over:
            return
        response = await self._client.send("DELETE", self._key, query=[("uploadId", self.token)])
        if response.status not in (200, 204, 404):
            raise self._failure(response, "abort the upload of")
        self._over = True

    def _failure(self, response: Response, doing: str, precondition: Precondition | None = None) -> ObjectError:
        """With a `precondition`: of a request to which a 404 may mean that what was to be replaced is gone."""
        error = self._client.failure(response, doing, self._key)
        if isinstance(error, SourceMissing):
            return PreconditionFailed(str(error)) if isinstance(precondition, Matches) else UploadLost(str(error))
        if isinstance(error, Refused) and response.status == 200:
            return Unavailable(str(error))
        return error


def _list_of_parts(receipts: Sequence[PartReceipt], *, checksums: bool) -> bytes:
    parts = "".join(
        f"<Part><PartNumber>{receipt.number + 1}</PartNumber><ETag>{escape(receipt.token)}</ETag>"
        + (f"<ChecksumCRC32C>{as_text(receipt.crc32c)}</ChecksumCRC32C></Part>" if checksums else "</Part>")
        for receipt in sorted(receipts, key=lambda receipt: receipt.number)
    )
    opening = '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return f"{opening}{parts}</CompleteMultipartUpload>".encode()


def _version(token: str, response: Response) -> Version:
    version_id = response.headers.get("x-amz-version-id")
    return Version(token, version_id if version_id != "null" else None)
