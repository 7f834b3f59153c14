"""Requests to one GCS bucket, over the JSON API and in one place the XML API: addresses, tokens, resources, and what their
errors mean to us.

https://cloud.google.com/storage/docs/json_api/v1/objects and .../status-codes
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import unescape

from common.advice import ANONYMOUS, set_option
from common.errors import ChecksumMismatch, Forbidden, ObjectError, RateLimited, Refused, Unavailable
from common.objects import Headers, StoredObject, Version
from common.storage.base import Absent
from common.storage.google_errors import STATUSES, explanation
from common.storage.header_text import CONTROL, encoding, is_unicode
from common.storage.metadata import MOST_METADATA, fitting, placed
from common.storage.names import SOURCE_MODIFIED
from common.storage.source_time import GSUTIL_MTIME, MOST_ADDED, MTIME, as_gsutil, as_rclone_on_gcs, moment, of_file
from common.transport.aws import encode_query
from common.transport.google import STORAGE_SCOPE, Anonymous, GoogleTokens, identity, send
from common.transport.http import Request, retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common.config import Settings, StoreOptions
    from common.location import Location
    from common.storage.base import Precondition
    from common.transport.google import TokenSource
    from common.transport.http import Response, Transport

PUBLIC_ENDPOINT = "https://storage.googleapis.com"
FIELDS = (
    "name,size,generation,updated,crc32c,md5Hash,storageClass,contentType,cacheControl,contentDisposition,contentEncoding,"
    "contentLanguage,metadata,customTime,temporaryHold,eventBasedHold,retention,kmsKeyName,customerEncryption,contexts"
)
RESOURCE_BYTES = 256 * 1024
"""An object's resource holds at most 8 KiB of metadata and little more."""

_LARGEST = MOST_METADATA["gs"]
_XML_ERROR = re.compile(rb"<Error><Code>([^<]{1,100})</Code><Message>([^<]*)</Message>")
_OF_ROLES = frozenset({"forbidden", "insufficientPermissions", "AccessDenied"})
_BY_REASON = {
    "retentionPolicyNotMet": "the bucket's retention policy keeps the present object until it has run out",
    "objectUnderActiveHold": "the present object is under a hold: release it, or leave it as it is",
    "accountDisabled": "the project's account is disabled: see its billing",
    "quotaExceeded": "a quota of the project is used up: see IAM & Admin, Quotas",
    "countryBlocked": "Google does not serve this country",
    "sslRequired": "the endpoint must be https",
}
"""https://cloud.google.com/storage/docs/json_api/v1/status-codes#403-forbidden"""
_RATE_REASONS = {"rateLimitExceeded", "userRateLimitExceeded"}
_CARRIED = {
    "content_type": "contentType",
    "cache_control": "cacheControl",
    "content_disposition": "contentDisposition",
    "content_encoding": "contentEncoding",
    "content_language": "contentLanguage",
    "custom_time": "customTime",
}
_UNCARRIED = ("temporaryHold", "eventBasedHold", "retention", "kmsKeyName", "customerEncryption", "contexts")


class GcsClient:
    """One bucket at one endpoint. `send` never raises for a status, `failure` turns one into our error.

    Raises Unauthenticated when it is made and no identity can be had: that is better known at the start than for each object.
    """

    def __init__(self, location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> None:
        self.bucket = location.bucket
        self.prefix = location.prefix
        endpoint = options.endpoint or settings.google.storage_endpoint
        self.origin = str(endpoint or PUBLIC_ENDPOINT).rstrip("/")
        self.at_google = endpoint is None
        self._transport = transport
        # An emulator has no identities; a real token must not be sent to one.
        anonymous = endpoint or options.anonymous
        self._anonymous = options.anonymous
        # The JSON API wants it in the query, the XML API in a header: https://cloud.google.com/storage/docs/requester-pays
        self._project = [("userProject", options.user_project)] if options.user_project else []
        self._payer = [("x-goog-user-project", options.user_project)] if options.user_project else []
        self._tokens: TokenSource = Anonymous() if anonymous else GoogleTokens(partial(identity, settings.google, STORAGE_SCOPE))

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        expect: int = RESOURCE_BYTES,
    ) -> Response:
        return await send(self._transport, self._tokens, Request(method, url, [*headers, *self._payer], body, expect))

    def object_url(self, key: str, query: Sequence[tuple[str, str]] = ()) -> str:
        name = quote((self.prefix + key).encode("utf-8", "surrogateescape"), safe="")
        return self._with(f"{self.origin}/storage/v1/b/{quote(self.bucket, safe='')}/o/{name}", query)

    def list_url(self, query: Sequence[tuple[str, str]]) -> str:
        return self._with(f"{self.origin}/storage/v1/b/{quote(self.bucket, safe='')}/o", query)

    def permissions_url(self, *permissions: str) -> str:
        query = [("permissions", permission) for permission in permissions]
        return self._with(f"{self.origin}/storage/v1/b/{quote(self.bucket, safe='')}/iam/testPermissions", query)

    def upload_url(self, query: Sequence[tuple[str, str]]) -> str:
        return self._with(f"{self.origin}/upload/storage/v1/b/{quote(self.bucket, safe='')}/o", query)

    def move_url(self, key: str, to: str, query: Sequence[tuple[str, str]]) -> str:
        target = quote((self.prefix + to).encode("utf-8", "surrogateescape"), safe="")
        return self._with(f"{self.object_url(key)}/moveTo/o/{target}", query)

    def xml_url(self, key: str, query: Sequence[tuple[str, str]]) -> str:
        """Of the XML API, which alone takes parts in any order."""
        name = quote((self.prefix + key).encode("utf-8", "surrogateescape"), safe="/~")
        return self._with(f"{self.origin}/{quote(self.bucket, safe='')}/{name}", query)

    def name(self, key: str | None) -> str:
        return f"gs://{self.bucket}" if key is None else f"gs://{self.bucket}/{self.prefix}{key}"

    def failure(self, response: Response, doing: str, key: str | None) -> ObjectError:
        """The error that an answer means. `doing` says what was tried, for people: "read", "write", "list"."""
        reason, message = _explanation(response.body)
        kind = STATUSES.get(response.status) or (Unavailable if response.status >= 500 else Refused)
        if kind is Forbidden and reason in _RATE_REASONS:
            kind = RateLimited
        elif response.status == 400 and (reason == "BadDigest" or _speaks_of_checksums(message)):
            kind = ChecksumMismatch
        advised = _advice(response.status, reason, message, kind, anonymous=self._anonymous)
        advice = f"; {advised}" if advised else ""
        said = f": {message.rstrip('. ')}" if message else ""
        return kind(
            f"cannot {doing} {self.name(key)!r}: {response.status}{f' {reason}' if reason else ''}{said}{advice}",
            retry_after=retry_after(response),
        )

    def stored(self, resource: dict[str, Any]) -> StoredObject:
        """The object that a resource describes (https://cloud.google.com/storage/docs/json_api/v1/objects#resource)."""
        crc32c, md5 = resource.get("crc32c"), resource.get("md5Hash")
        carried = {field: resource[name] for field, name in _CARRIED.items() if resource.get(name)}
        if "content_encoding" in carried and (left := encoding(carried.pop("content_encoding"))) is not None:
            carried["content_encoding"] = left
        return StoredObject(
            key=resource["name"][len(self.prefix) :],
            size=int(resource["size"]),
            version=Version(str(resource["generation"])),
            modified=moment(resource.get("updated")),
            headers=Headers(**carried, metadata=_texts(resource.get("metadata") or {})),
            crc32c=int.from_bytes(base64.b64decode(crc32c), "big") if crc32c else None,
            md5=base64.b64decode(md5).hex() if md5 else None,
            storage_class=resource.get("storageClass"),
            uncarried={name: _said(resource[name]) for name in _UNCARRIED if resource.get(name)},
        )

    def resource(self, response: Response, doing: str, key: str) -> StoredObject:
        """The object in a 200's body. An answer that is not one is no proof: Unavailable, so that somebody looks again."""
        try:
            return self.stored(json.loads(response.body))
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"cannot {doing} {self.name(key)!r}: the answer is not an object's resource: {error!r}") from error

    def _with(self, url: str, query: Sequence[tuple[str, str]]) -> str:
        asked = [*query, *self._project]
        return f"{url}?{encode_query(asked)}" if asked else url


def resource_fields(headers: Headers) -> dict[str, Any]:
    """The part of a resource that a write stores beside the bytes."""
    fields: dict[str, Any] = {name: value for field, name in _CARRIED.items() if (value := getattr(headers, field)) is not None}
    if headers.storage_class is not None:
        fields["storageClass"] = headers.storage_class
    if headers.metadata:
        fields["metadata"] = _with_times(headers.metadata)
    return fields


def _with_times(metadata: Mapping[str, str]) -> dict[str, str]:
    """With the time of the file where rclone and gcloud look for it, unless the source has entries of these names."""
    time = of_file(metadata) if SOURCE_MODIFIED in metadata else None
    times = {} if time is None else {MTIME: as_rclone_on_gcs(time), GSUTIL_MTIME: as_gsutil(time)}
    return times | dict(metadata)


def kept(headers: Headers) -> Headers:
    """What of them GCS takes: without what it has no place for, control characters, and metadata that are too long together."""
    headers = placed(headers, "gs", lambda _, value: is_unicode(value) and not CONTROL(value))
    metadata = fitting(headers.metadata, _fits)
    return headers if metadata is headers.metadata else replace(headers, metadata=metadata)


def _fits(metadata: Mapping[str, str]) -> bool:
    if 4 * len("".join((*metadata, *metadata.values()))) + MOST_ADDED <= _LARGEST:  # no character has more than four bytes
        return True
    metadata = _with_times(metadata)
    return len("".join((*metadata, *metadata.values())).encode("utf-8", "surrogatepass")) <= _LARGEST


def _advice(status: int, reason: str, message: str, kind: type[ObjectError], *, anonymous: bool) -> str:
    """What helps, as far as the reason tells; nothing where it does not. A role cures no retention policy."""
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    text = message.lower()
    if "user project" in text or "requester pays" in text:
        return f"the bucket's requester pays: {set_option('user_project', 'PROJECT')}"
    if "organization's policy" in text or "vpc service controls" in text:
        return "a perimeter of VPC Service Controls or an organization policy forbids it: its administrator can say which"
    if "billing" in text:
        return "billing is off or in arrears for the project: see its billing account"
    if kind is Forbidden and (status == 401 or not reason or reason in _OF_ROLES):
        return ANONYMOUS if anonymous else "check this identity's role on the bucket (roles/storage.objectUser)"
    return ""


def _texts(entries: dict[str, Any]) -> dict[str, str]:
    """Strings at GCS; other servers of its protocol keep what they were given."""
    return {name: _said(value) for name, value in entries.items()}


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _speaks_of_checksums(message: str) -> bool:
    return "match" in message and ("crc32c" in message.lower() or "md5" in message.lower())


def condition(precondition: Precondition) -> tuple[str, str]:
    """The query parameter that makes a write conditional."""
    return ("ifGenerationMatch", "0" if isinstance(precondition, Absent) else precondition.version.token)


def _explanation(body: bytes) -> tuple[str, str]:
    """(reason, message) of an error body, Google's JSON or the XML API's."""
    if (xml := _XML_ERROR.search(body)) is not None:
        return xml[1].decode("utf-8", "replace"), unescape(xml[2].decode("utf-8", "replace"))[:300]
    return explanation(body)
