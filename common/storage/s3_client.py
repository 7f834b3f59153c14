"""Requests to one S3 bucket: addresses, signatures, and what AWS's error codes mean to us.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

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
from common.storage.s3_answer import said
from common.storage.s3_dialect import dialect
from common.storage.s3_headers import stored
from common.storage.s3_spelling import Spelt
from common.transport.aws import AmbientCredentials, Credentials, Signer, StaticCredentials, encode_path, encode_query
from common.transport.http import Request, Response, retry_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.config import Settings, StoreOptions
    from common.location import Location
    from common.objects import StoredObject
    from common.transport.aws import CredentialSource
    from common.transport.http import Transport

DEFAULT_REGION = "us-east-1"

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
    LocationMissing: "check the bucket's name and AWS_REGION",
}
_WRONG_KEY = "check AWS_SECRET_ACCESS_KEY, or the profile that the machine has"
_TOO_NEW = 'if this service knows no conditions on writes or no checksums, set compat = "basic" for this end of the route'
_SILENT_400 = "expired credentials, or an object under a key of its owner's (SSE-C), which nobody else can read"


class S3Client:
    """One bucket at one endpoint. `send` signs; it never raises for a status, `failure` turns one into our error."""

    def __init__(self, location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> None:
        self.bucket = location.bucket
        self.prefix = location.prefix
        self._transport = transport
        self.region = options.region or settings.aws.region or DEFAULT_REGION
        endpoint = options.endpoint or settings.aws.endpoint
        at_aws = endpoint is None or (urlsplit(str(endpoint)).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
        self.dialect = dialect(options, at_aws=at_aws)
        self._payer = [("x-amz-request-payer", "requester")] if options.requester_pays else []
        self._virtual = options.addressing == "virtual" or (
            # A dot in the name does not match the endpoint's wildcard certificate; other servers rarely answer to bucket
            # host names.
            options.addressing == "auto" and endpoint is None and "." not in self.bucket
        )
        parts = urlsplit(str(endpoint or f"https://s3.{self.region}.amazonaws.com").rstrip("/"))
        host = parts.netloc.rpartition("@")[2]
        self._host = f"{self.bucket}.{host}" if self._virtual else host
        self._origin = f"{parts.scheme}://{self._host}"
        self._root = parts.path if self._virtual else f"{parts.path}/{self.bucket}"
        self.spelt = Spelt(self._exists)
        self._signer = Signer(self.region)
        self._credentials: CredentialSource = AmbientCredentials()
        if settings.aws.access_key_id and settings.aws.secret_access_key:
            token = settings.aws.session_token
            self._credentials = StaticCredentials(
                Credentials(
                    settings.aws.access_key_id,
                    settings.aws.secret_access_key.get_secret_value(),
                    token.get_secret_value() if token else None,
                )
            )

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
        return await self._send(
            method, "" if key is None else self.prefix + key, query=query, headers=headers, body=body, expect=expect
        )

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
        path = f"{self._root}/{encode_path(whole_key)}"
        encoded = encode_query(query)
        credentials = await self._credentials.current()
        signed = self._signer.headers(credentials, method, self._host, path, query=encoded, headers=[*headers, *self._payer])
        url = f"{self._origin}{path}?{encoded}" if encoded else f"{self._origin}{path}"
        return await self._transport.send(Request(method, url, signed, body, expect))

    async def head(self, key: str) -> StoredObject | None:
        """The object as it is now; None if there is none. A HEAD has no error body, and without s3:ListBucket a missing object is
        a 403 (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html).
        """
        response = await self.send("HEAD", key, headers=[("x-amz-checksum-mode", "ENABLED")])
        if response.status == 404:
            return None
        if response.status != 200:
            raise self.failure(response, "look at", key)
        size = int(response.headers.get("content-length", 0))
        return stored(key, size, response.headers, believed=self.dialect.believed)

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
        if code == "SignatureDoesNotMatch":
            advice = f"; {_WRONG_KEY}"
        if self.dialect.extended and (response.status == 501 or b"nsupported header" in response.body):
            advice = f"; {_TOO_NEW}"
        elsewhere = response.headers.get("x-amz-bucket-region") or told.get("Region", "")
        if elsewhere and elsewhere != self.region and kind in (LocationMissing, Unauthenticated):
            kind = LocationMissing
            advice = f"; the bucket is in {elsewhere}, this route asks {self.region}: set AWS_REGION or the route's region"
        return kind(
            f"cannot {doing} {what!r}: {response.status} {code}{because}{advice}",
            retry_after=retry_after(response),
        )

    async def close(self) -> None:
        """The transport is shared and closed by who opened it."""
