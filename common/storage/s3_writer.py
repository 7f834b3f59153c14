"""S3, and what speaks its protocol, as a destination.

What of AWS's newer protections a service is sent, and what of them it is known to keep, is `s3_dialect`'s business.
Conditions: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html. A 412 says that the condition does not
hold, a 404 that what was to be replaced is gone (which comes to the same), a 409 that somebody was in the way: then a put may be
repeated, and an upload in parts must be begun anew.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

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
)
from common.objects import StoredObject
from common.storage import proof, s3_client, s3_questions
from common.storage.abilities import Ability
from common.storage.base import MIB, Absent, Matches
from common.storage.names import SOURCE_VERSION
from common.storage.s3_answer import said
from common.storage.s3_headers import etag, to_wire, version_of, whole_crc32c
from common.storage.s3_upload import S3Upload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import Headers
    from common.storage.base import Body, Limits, Precondition, Upload
    from common.storage.s3_client import S3Client
    from common.transport.http import Response

LONGEST_KEY = 1024
"""Bytes of UTF-8: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

_CHECKSUM = [("x-amz-checksum-algorithm", "CRC32C"), ("x-amz-checksum-type", "FULL_OBJECT")]


class S3Writer:
    """`storing`: headers that say how every object is to be stored (`s3_headers.to_store`)."""

    def __init__(self, client: S3Client, limits: Limits, storing: Sequence[tuple[str, str]] = ()) -> None:
        self.client = client
        self._limits = {
            (conditions, bytes_): replace(limits, preconditions=conditions, compares_bytes=bytes_)
            for conditions in (False, True)
            for bytes_ in (False, True)
        }
        self._storing = storing

    @property
    def limits(self) -> Limits:
        keeps = self.client.abilities.keeps
        return self._limits[keeps(Ability.CONDITIONS), keeps(Ability.CHECKSUMS) and keeps(Ability.PART_CHECKSUMS)]

    async def stat(self, key: str) -> StoredObject | None:
        self._check(key)
        await self.client.abilities.refresh()
        return await self.client.head(key)

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        await self.client.abilities.refresh()
        written, echoed = await self._put(key, body, precondition)
        return await s3_questions.ask(self, key, body, written, echoed=echoed)

    async def _put(self, key: str, body: Body, precondition: Precondition) -> tuple[StoredObject, bool]:
        """The object, and whether the answer has repeated its CRC32C."""
        abilities = self.client.abilities
        abilities.rest(Ability.CONDITIONS)
        trusted = abilities.rest(Ability.CHECKSUMS)
        md5 = None if trusted else self.md5(body.data)
        response = await self.send(key, body, precondition, body.crc32c, md5)
        if s3_client.refuses_headers(response) and not self.limits.preconditions and not abilities.lacks(Ability.NEW_HEADERS):
            md5 = self.md5(body.data)
            response = await self._without_new_headers(key, body, md5, response)
        if response.status != 200 or (response.body and said(response.body).is_error):
            raise self._failure(response, "write", key, precondition)
        token = etag(response.headers.get("etag", ""))
        if token and whole_crc32c(response.headers) == body.crc32c:
            # S3 has compared the checksum with the bytes it stored and says so; nothing is left to ask.
            return StoredObject(
                key, len(body.data), version_of(token, response.headers), headers=body.headers, crc32c=body.crc32c
            ), True
        found = await self.confirm(key, len(body.data), token, body.headers)
        found = await self.proven(found, body, ours=md5 is not None and token == md5.hex())
        if not trusted or abilities.is_given(Ability.CHECKSUMS) or found.crc32c == body.crc32c:
            return found, False
        # Nothing was compared, and no MD5 was sent: these bytes are not proven.
        await abilities.found(Ability.CHECKSUMS, kept=False, how="the answer to a write did not repeat its CRC32C")
        return await self._put(key, body, Matches(found.version))

    async def send(self, key: str, body: Body, precondition: Precondition, crc32c: int, md5: bytes | None = None) -> Response:
        """The answer to a write with these checksums, whatever it is."""
        headers = [*self._described(key, body.headers), *self.condition(precondition), *self.integrity(crc32c, md5)]
        return await self.client.send("PUT", key, headers=headers, body=body.data)

    async def _without_new_headers(self, key: str, body: Body, md5: bytes | None, refused: Response) -> Response:
        """A service that knows neither conditions nor checksums, and says so. The destination has been looked at."""
        headers = [*self._described(key, body.headers), *_content_md5(md5)]
        response = await self.client.send("PUT", key, headers=headers, body=body.data)
        if response.status != 200:
            return refused
        how = f"a write with conditions and checksums was answered {refused.status}, one without them was taken"
        await self.client.abilities.found(Ability.NEW_HEADERS, kept=False, how=how)
        return response

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        self._check(key)
        await self.client.abilities.refresh()
        if token is not None:
            return S3Upload(self, self.client, key, size, headers, precondition=precondition, token=token)
        described, new = self._described(key, headers), not self.client.abilities.lacks(Ability.NEW_HEADERS)
        response = await self.client.send("POST", key, query=[("uploads", "")], headers=described + new * _CHECKSUM, expect=MIB)
        if new and not self.limits.preconditions and s3_client.refuses_headers(response):
            plain = await self.client.send("POST", key, query=[("uploads", "")], headers=described, expect=MIB)
            if plain.status == 200:
                how = f"an upload with checksums was answered {response.status}, one without them was begun"
                await self.client.abilities.found(Ability.NEW_HEADERS, kept=False, how=how)
                response = plain
        token = said(response.body).fields.get("UploadId", "")
        if response.status != 200 or not token:
            raise self._failure(response, "begin an upload of", key)
        return S3Upload(self, self.client, key, size, headers, precondition=precondition, token=token)

    async def close(self) -> None:
        await self.client.close()

    @staticmethod
    def md5(data: bytes) -> bytes:
        """What a service is sent that is not known to compare a CRC32C."""
        return hashlib.md5(data, usedforsecurity=False).digest()

    def integrity(self, crc32c: int, md5: bytes | None) -> list[tuple[str, str]]:
        """The headers against which the service compares the bytes that arrive."""
        new = not self.client.abilities.lacks(Ability.NEW_HEADERS)
        return [*([("x-amz-checksum-crc32c", as_text(crc32c))] if new else []), *_content_md5(md5)]

    def condition(self, precondition: Precondition) -> list[tuple[str, str]]:
        if self.client.abilities.lacks(Ability.NEW_HEADERS):
            return []
        if isinstance(precondition, Absent):
            return [("if-none-match", "*")]
        return [("if-match", f'"{precondition.version.token}"')]

    async def look_at(self, key: str, precondition: Precondition) -> None:
        """Raises PreconditionFailed where it does not hold, for a service that is not known to look itself."""
        found = await self.client.head(key)
        wanted = precondition.version.token if isinstance(precondition, Matches) else None
        if (found.version.token if found is not None else None) != wanted:
            there = "nothing" if found is None else f"version {found.version.token}"
            raise PreconditionFailed(f"cannot write {self._name(key)!r}: there is {there}, which is not what was to be replaced")

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

    async def proven(self, found: StoredObject, body: Body, *, ours: bool) -> StoredObject:
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
            length = len((self.client.prefix + key).encode())
        except UnicodeEncodeError:
            raise InvalidName(f"S3 keys are UTF-8, {self._name(key)!r} is not") from None
        if not 0 < length <= LONGEST_KEY:
            raise InvalidName(f"S3 keys have 1 to {LONGEST_KEY} bytes, {self._name(key)!r} has {length}")

    def _failure(self, response: Response, doing: str, key: str, precondition: Precondition | None = None) -> ObjectError:
        error = self.client.failure(response, doing, key)
        if isinstance(error, Refused) and response.status == 200:
            return Unavailable(str(error))
        if not isinstance(error, SourceMissing):
            return error
        # To a writer a 404 means the bucket, because an object to be written need not be there; unless it must.
        return PreconditionFailed(str(error)) if isinstance(precondition, Matches) else LocationMissing(str(error))

    def _name(self, key: str) -> str:
        return f"s3://{self.client.bucket}/{self.client.prefix}{key}"


def _content_md5(md5: bytes | None) -> list[tuple[str, str]]:
    return [] if md5 is None else [("content-md5", base64.b64encode(md5).decode())]
