"""Uploads in parts to S3.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from common.checksums import as_text
from common.errors import ChecksumMismatch, ObjectError, PreconditionFailed, Refused, SourceMissing, Unavailable, UploadLost
from common.objects import StoredObject
from common.storage import s3_questions
from common.storage.abilities import Ability
from common.storage.base import MIB, Matches, PartReceipt
from common.storage.s3_answer import said
from common.storage.s3_headers import crc32c_of, etag, is_md5, version_of, whole_crc32c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import Headers
    from common.storage.base import Precondition
    from common.storage.s3_client import S3Client
    from common.storage.s3_writer import S3Writer
    from common.transport.http import Response


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
        self._whole_key = client.prefix + key
        self._over = False
        self._sent: dict[int, str] = {}
        """The ETags of the parts that are known to be of the bytes that were sent here."""

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        abilities = self._client.abilities
        doing = f"write part {number} at byte {offset} of"
        async with abilities.question(Ability.PART_CHECKSUMS) as asked:
            refused = await self._is_wrong_one_refused(number, data, crc32c) if asked else None
            trusted = abilities.rest(Ability.PART_CHECKSUMS)
            md5 = None if trusted else self._writer.md5(data)
            response = await self._send_part(number, data, crc32c, doing, md5)
            echoed = whole_crc32c(response.headers) == crc32c
            if refused is not None:
                how = f"a part with the CRC32C of other bytes was {'refused' if refused else 'taken'}"
                how = how if echoed else "the answer to a part does not repeat its CRC32C"
                await abilities.found(Ability.PART_CHECKSUMS, kept=refused and echoed, how=how)
        if trusted and not echoed and not abilities.is_given(Ability.PART_CHECKSUMS):
            await abilities.found(Ability.PART_CHECKSUMS, kept=False, how="the answer to a part did not repeat its CRC32C")
            md5 = self._writer.md5(data)
            response = await self._send_part(number, data, crc32c, doing, md5)
        token = etag(response.headers.get("etag", ""))
        if (trusted and echoed) or (md5 is not None and token == md5.hex()):
            self._sent[number] = token
        return PartReceipt(number, len(data), crc32c, token)

    async def _send_part(self, number: int, data: bytes, crc32c: int, doing: str, md5: bytes | None) -> Response:
        headers = self._writer.integrity(crc32c, md5)
        response = await self._client.send("PUT", self._key, query=self._part(number), headers=headers, body=data)
        if response.status != 200 or (response.body and said(response.body).is_error):
            raise self._failure(response, doing)
        return response

    async def _is_wrong_one_refused(self, number: int, data: bytes, crc32c: int) -> bool | None:
        """None where the answer says neither. Whatever was taken is sent again."""
        headers = self._writer.integrity(crc32c ^ 1, None)
        try:
            response = await self._client.send("PUT", self._key, query=self._part(number), headers=headers, body=data)
        except ObjectError:
            return None
        if s3_questions.is_refusal(self._writer, response):
            return True
        return False if response.status == 200 else None

    def _part(self, number: int) -> list[tuple[str, str]]:
        return [("partNumber", str(number + 1)), ("uploadId", self.token)]

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        if sum(receipt.size for receipt in receipts) != self._size:
            raise ChecksumMismatch(f"the parts of {self._key!r} do not add up to {self._size} bytes")
        if not self._client.dialect.believed:
            await self._writer.look_at(self._key, self._precondition)  # a service may keep conditions elsewhere and not here
        extended = not self._client.abilities.lacks(Ability.NEW_HEADERS)
        headers = [("content-type", "application/xml"), *self._writer.condition(self._precondition)]
        if extended:
            headers.append(("x-amz-checksum-crc32c", as_text(crc32c)))
            headers.append(("x-amz-checksum-type", "FULL_OBJECT"))
            headers.append(("x-amz-mp-object-size", str(self._size)))
        body = _list_of_parts(receipts, checksums=extended)
        response = await self._client.send(
            "POST", self._key, query=[("uploadId", self.token)], headers=headers, body=body, expect=MIB
        )
        if response.status != 200 or said(response.body).is_error:
            raise self._failure(response, "complete", self._precondition)
        self._over = True
        return await self._completed(response, receipts, crc32c)

    async def _completed(self, response: Response, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        """The object by the service's word: that of its answer where it is believed, else that of a look."""
        told = said(response.body).fields
        token = etag(told.get("ETag", ""))
        of_this = told.get("Key", self._whole_key) == self._whole_key and told.get("ChecksumType") == "FULL_OBJECT"
        whole = crc32c_of(told.get("ChecksumCRC32C", "")) if of_this else None
        if whole != crc32c and not self._client.dialect.believed:
            whole = None  # some servers call a checksum of the parts' checksums by that name
        if whole is None or not token:
            confirmed = await self._writer.confirm(self._key, self._size, token, self._headers)
            ours = confirmed.crc32c is None and token == self._put_together(receipts)
            return replace(confirmed, crc32c=crc32c) if ours else confirmed
        if whole != crc32c:
            raise ChecksumMismatch(f"{self._key!r} was sent with CRC32C {crc32c}, S3 has put together bytes with {whole}")
        return StoredObject(self._key, self._size, version_of(token, response.headers), headers=self._headers, crc32c=whole)

    def _put_together(self, receipts: Sequence[PartReceipt]) -> str | None:
        """The ETag of an object that was put together of what was sent, as S3 and nearly everybody else makes it: the MD5 of the
        MD5s of the parts. None where one of them is not known to have arrived as it was sent.
        """
        parts = sorted(receipts, key=lambda receipt: receipt.number)
        if not all(is_md5(part.token) and self._sent.get(part.number) == part.token for part in parts):
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
