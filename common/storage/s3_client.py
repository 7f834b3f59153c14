"""Requests to one S3 bucket: addresses, signatures, and what AWS's error codes mean to us.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from common.advice import ANONYMOUS, set_option
from common.errors import (
    Archived,
    ChecksumMismatch,
    DestinationConflict,
    Forbidden,
    InvalidName,
    LocationMissing,
    ObjectError,
    PreconditionFailed,
    RateLimited,
    Refused,
    SourceMissing,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UploadLost,
)
from common.storage.abilities import Abilities, Ability
from common.storage.s3_answer import said
from common.storage.s3_dialect import dialect
from common.storage.s3_endpoint import S3Endpoint
from common.storage.s3_headers import etag, of_a_version, stored
from common.storage.s3_spelling import Spelt
from common.storage.shared import Alone
from common.transport.http import Response, retry_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.config import Settings, StoreOptions
    from common.location import Location
    from common.objects import StoredObject
    from common.storage.shared import Shared
    from common.transport.http import Transport

_CODES: dict[str, type[ObjectError]] = {
    "NoSuchKey": SourceMissing,
    "NoSuchVersion": SourceMissing,
    "NoSuchBucket": LocationMissing,
    "PermanentRedirect": LocationMissing,
    "AuthorizationHeaderMalformed": LocationMissing,
    "IllegalLocationConstraintException": LocationMissing,
    "NoSuchUpload": UploadLost,
    "InvalidPart": UploadLost,
    "InvalidObjectState": Archived,
    "PreconditionFailed": PreconditionFailed,
    "ConditionalRequestConflict": DestinationConflict,
    "BadDigest": ChecksumMismatch,
    "XAmzContentChecksumMismatch": ChecksumMismatch,
    "XAmzContentSHA256Mismatch": ChecksumMismatch,
    "IncompleteBody": Unavailable,
    "KeyTooLongError": InvalidName,
    "InvalidURI": InvalidName,
    "EntityTooLarge": TooLarge,
    "SlowDown": RateLimited,
    "TooManyRequests": RateLimited,
    "RequestLimitExceeded": RateLimited,
    "RequestTimeout": Unavailable,
    "OperationAborted": Unavailable,
    "ExpiredToken": Unauthenticated,
    "InvalidToken": Unauthenticated,
    "InvalidAccessKeyId": Unauthenticated,
    "SignatureDoesNotMatch": Unauthenticated,
    "RequestTimeTooSkewed": Unauthenticated,
}
_STATUSES: dict[int, type[ObjectError]] = {
    301: LocationMissing,
    401: Unauthenticated,
    403: Forbidden,
    404: SourceMissing,
    408: Unavailable,
    409: DestinationConflict,
    412: PreconditionFailed,
    429: RateLimited,
    501: Refused,
}
_ADVICE: dict[type[ObjectError], str] = {
    Forbidden: "check the permissions of these credentials and the bucket policy",
    Unauthenticated: "check that the credentials are right and have not expired, and this machine's clock",
    Archived: "restore the object from its archive tier first",
    LocationMissing: "check the bucket's name and its region",
}
_BY_CODE = {
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY, or the profile that the machine has",
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than a quarter of an hour: set it",
    "ExpiredToken": "sign in again (aws sso login), or renew AWS_SESSION_TOKEN",
    "AccountProblem": "the AWS account itself is the trouble: ask its owner or AWS",
    "AllAccessDisabled": "AWS has disabled this bucket: ask its owner or AWS",
    "NotSignedUp": "the AWS account is not signed up for S3",
    "ObjectLockConfigurationNotFoundError": "the bucket keeps its objects locked, and this one may not be written over",
}
"""What helps for one code, where its kind says too little or something else."""
_TOO_NEW = f"if this service knows no conditions on writes or no checksums, {set_option('compat', 'basic')}"
_SILENT_400 = "expired credentials, or an object under a key of its owner's (SSE-C), which nobody else can read"


_SIZE = re.compile(r"bytes (?:0-0|\*)/(\d{1,19})")


def refuses_headers(response: Response) -> bool:
    """Whether a request was refused for headers that the service does not know."""
    return response.status == 501 or (response.status == 400 and b"nsupported header" in response.body)


class S3Client:
    """One bucket at one endpoint. `send` signs; it never raises for a status, `failure` turns one into our error."""

    def __init__(
        self,
        location: Location,
        options: StoreOptions,
        settings: Settings,
        transport: Transport,
        shared: Shared | None = None,
    ) -> None:
        self.bucket = location.bucket
        self.prefix = location.prefix
        self._endpoint = S3Endpoint(location.bucket, options, settings, transport)
        self.dialect = dialect(options, at_aws=self._endpoint.at_aws)
        self._payer = [("x-amz-request-payer", "requester")] if options.requester_pays else []
        self._anonymous = options.anonymous
        self.abilities = Abilities(self._endpoint.service, self.dialect.given, shared or Alone())
        self.spelt = Spelt(self._exists)

    async def send(
        self,
        method: str,
        key: str | None,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        expect: int = 0,
    ) -> Response:
        """The answer to a signed request on the full key prefix + `key`, or on the bucket itself when `key` is None."""
        whole = "" if key is None else self.prefix + key
        return await self._send(method, whole, query=query, headers=headers, body=body, expect=expect)

    async def _send(
        self,
        method: str,
        whole_key: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        expect: int = 0,
    ) -> Response:
        asked = [*headers, *self._payer]
        return await self._endpoint.send(method, whole_key, query=query, headers=asked, body=body, expect=expect)

    async def head(self, key: str, *, any_version: bool = False) -> StoredObject | None:
        """The object as it is now; None if there is none. A HEAD has no error body, and without s3:ListBucket a missing object is
        a 403 (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).

        An answer that names no version is asked for again (Unavailable), unless `any_version` will do.
        """
        response = await self.send("HEAD", key, headers=[("x-amz-checksum-mode", "ENABLED")])
        if response.status == 404:
            return None
        if response.status != 200:
            raise self.failure(response, "look at", key)
        length = response.headers.get("content-length", "")
        size = int(length) if length.isascii() and length.isdecimal() else await self._size(key, response)
        found = stored(key, size, response.headers, believed=self.dialect.believed)
        return found if any_version else of_a_version(found, f"s3://{self.bucket}/{self.prefix}{key}")

    async def _size(self, key: str, looked: Response) -> int:
        """Of an object of which a HEAD does not tell it, as behind a proxy that compresses: a range tells the whole's."""
        name = f"s3://{self.bucket}/{self.prefix}{key}"
        response = await self.send("GET", key, headers=[("range", "bytes=0-0")], expect=1)
        if response.status not in (200, 206, 416):
            raise self.failure(response, "look at", key)
        if etag(response.headers.get("etag", "")) != etag(looked.headers.get("etag", "")) and response.status != 416:
            raise Unavailable(f"cannot look at {name!r}: it changes while it is looked at")
        told = _SIZE.fullmatch(response.headers.get("content-range", ""))
        if told is None and response.status == 200:
            return len(response.body)
        if told is None:
            raise Refused(f"cannot look at {name!r}: the service tells its size neither when it is asked for it nor with a range")
        return int(told[1])

    async def _exists(self, whole_key: str) -> bool:
        response = await self._send("HEAD", whole_key)
        if response.status in (200, 403, 404):
            return response.status == 200
        raise self.failure(response, "look at", None)

    def failure(self, response: Response, doing: str, key: str | None) -> ObjectError:
        """The error that an answer means. `doing` says what was tried, for people: "read", "write", "list"."""
        told = said(response.body).fields
        code = told.get("Code", "")[:80]
        kind = _CODES.get(code) or _STATUSES.get(response.status) or (Unavailable if response.status >= 500 else Refused)
        if response.status == 400 and not response.body:
            kind, code = Unauthenticated, f"without a reason: {_SILENT_400}"  # a HEAD has no body that could tell them apart
        what = f"s3://{self.bucket}" if key is None else f"s3://{self.bucket}/{self.prefix}{key}"
        message = told.get("Message", "")[:300].rstrip(". ")
        because = f": {message}" if message else ""
        advice = f"; {_ADVICE[kind]}" if kind in _ADVICE else ""
        if kind is Forbidden and self._anonymous:
            advice = f"; {ANONYMOUS}"
        if code in _BY_CODE:
            advice = f"; {_BY_CODE[code]}"
        if not self.abilities.lacks(Ability.NEW_HEADERS) and refuses_headers(response):
            advice = f"; {_TOO_NEW}"
        elsewhere = response.headers.get("x-amz-bucket-region") or told.get("Region", "")
        if elsewhere and elsewhere != self._endpoint.region and kind in (LocationMissing, Unauthenticated):
            kind = LocationMissing
            asked = self._endpoint.region
            advice = f"; the bucket is in {elsewhere}, this route asks {asked}: {set_option('region', elsewhere)}"
        return kind(
            f"cannot {doing} {what!r}: {response.status} {code}{because}{advice}",
            retry_after=retry_after(response),
        )

    async def close(self) -> None:
        """The transport is shared and closed by who opened it."""
