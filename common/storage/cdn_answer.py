"""What an edge answered, held against what S3 said before: either it is exactly the object's bytes, or there is a reason.

An edge keeps what it once fetched (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/Expiration.html), may pack
it, caches ranges apart from each other, and answers with pages of its own. A status of 200 proves nothing here: version, length,
encoding and range do, and the checksum where S3 keeps one.
"""

from __future__ import annotations

import re
from contextlib import suppress
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from common.storage import proof
from common.storage.s3_headers import etag, from_wire

if TYPE_CHECKING:
    from common.objects import Span, StoredObject
    from common.transport.cloudfront import Signed
    from common.transport.http import Response


class Reason(StrEnum):
    """Why bytes came from S3 and not from the edge. The values are in logs."""

    NAME = "name"
    """The key cannot be asked for at an edge as it stands."""
    STALE = "stale"
    """Another version, or none named."""
    COMPRESSED = "compressed"
    """Not the stored bytes: packed on the way, or unpacked."""
    TRUNCATED = "truncated"
    """Another number of bytes than the object has."""
    RANGE = "range"
    """Not the range that was asked for."""
    CORRUPT = "corrupt"
    """The bytes do not match the checksum that S3 keeps."""
    MISSING = "missing"
    """The origin has no such object for the edge: it is not there, or the distribution may not read it."""
    EXPIRED = "expired"
    """The policy is over, or has not begun, by the edge's clock."""
    SIGNATURE = "signature"
    """The edge does not accept the signature, the policy or the key id, or no such thing was sent."""
    REFUSED = "refused"
    """A 403 or another error page that names none of these: a firewall, a country, a domain that is not the distribution's."""
    BROKEN = "broken"
    """No answer, or one that ended before the length that it announced, or went on behind it."""
    RESTING = "resting"
    """Not asked, because it gave no answer a moment ago (`cdn_rest`)."""
    UNAVAILABLE = "unavailable"
    """The edge or its origin is away or asks for fewer requests."""


class Declined(Exception):  # noqa: N818 - not an error: the way back to S3
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,80})</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,300})</Message>")
_OF_THE_SIGNATURE = re.compile(r"(Missing|Invalid|Malformed)(Key|Policy|Signature)")
_OF_THE_ORIGIN = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchVersion"})
_FROM_S3 = (b"<RequestId>", b"<HostId>")
"""S3 names its request in an error, CloudFront does not: so much tells one AccessDenied from the other."""


async def accept(response: Response, span: Span | None, due: StoredObject, signed: Signed) -> bytes:
    """The bytes of `span` (None: all) of the version `due`. Raises Declined for anything else."""
    if response.status not in (200, 206):
        raise _refusal(response, signed)
    named = response.headers.get("etag", "")
    if etag(named) != due.version.token:
        raise Declined(Reason.STALE, f"the edge holds version {etag(named) or 'unknown'}, S3 {due.version.token}")
    encoding = from_wire(response.headers).content_encoding
    if named.startswith("W/") or encoding != due.headers.content_encoding:
        # CloudFront weakens the ETag of what it packs
        # (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/ServingCompressedFiles.html).
        raise Declined(Reason.COMPRESSED, f"encoding {encoding}, stored with {due.headers.content_encoding}, ETag {named}")
    _check_range(response, span, due)
    expected = due.size if span is None else len(span)
    if len(response.body) != expected:
        raise Declined(Reason.TRUNCATED, f"{expected} bytes were due, {len(response.body)} came")
    if span is None and (kind := await proof.difference(response.body, due)) is not None:
        raise Declined(Reason.CORRUPT, f"the bytes do not match the {kind} that S3 keeps of them")
    return response.body


def _check_range(response: Response, span: Span | None, due: StoredObject) -> None:
    if response.status == 200:
        if span is not None and len(span) != due.size:
            raise Declined(Reason.RANGE, f"asked for bytes {span.start}-{span.end - 1}, the answer is the whole object")
        return
    said = response.headers.get("content-range", "")
    match = _RANGE.fullmatch(said)
    if span is None or match is None:
        raise Declined(Reason.RANGE, f"an answer in part, to a request for {'all' if span is None else 'a range'}: {said[:80]!r}")
    first, last, size = (int(number) for number in match.groups())
    if (first, last + 1) != (span.start, span.end):
        raise Declined(Reason.RANGE, f"asked for bytes {span.start}-{span.end - 1}, got {said}")
    if size != due.size:
        raise Declined(Reason.TRUNCATED, f"the edge holds {size} bytes of {due.size}")


def _refusal(response: Response, signed: Signed) -> Declined:
    """Why there is no object in the answer. Whoever compares bytes has no use for the difference; whoever has to mend it does."""
    code_found, message_found = _CODE.search(response.body), _MESSAGE.search(response.body)
    code = code_found[1].decode() if code_found else ""
    message = message_found[1].decode("utf-8", "replace") if message_found else "no message"
    detail = f"{response.status} {code or 'without a code'}: {message}"
    if response.status == 429 or response.status >= 500:
        return Declined(Reason.UNAVAILABLE, detail)
    if response.status == 416:
        return Declined(Reason.STALE, f"{detail}; the edge holds a shorter version")
    if _OF_THE_SIGNATURE.fullmatch(code):
        return Declined(Reason.SIGNATURE, f"{detail}; check key_id, the key pair and the distribution's key group")
    if code in _OF_THE_ORIGIN or response.status == 404 or (code == "AccessDenied" and _is_of_s3(response.body)):
        return Declined(Reason.MISSING, f"{detail}; check that the distribution's origin is this bucket, and may read it")
    if code == "AccessDenied":
        return _policy_refused(response, signed, detail)
    return Declined(Reason.REFUSED, f"{detail}; check the domain, and the distribution's firewall and restrictions")


def _is_of_s3(body: bytes) -> bool:
    return any(mark in body for mark in _FROM_S3)


def _policy_refused(response: Response, signed: Signed, detail: str) -> Declined:
    """CloudFront says the same to an expired URL, one from elsewhere and one that was forged; its clock is in the answer."""
    clock = _clock(response)
    if clock is not None and signed.expires is not None and clock >= signed.expires:
        return Declined(Reason.EXPIRED, f"{detail}; the URL ended {clock - signed.expires} s before: check this machine's clock")
    if clock is not None and signed.begins is not None and clock < signed.begins:
        return Declined(Reason.EXPIRED, f"{detail}; the URL begins in {signed.begins - clock} s: check not_before and the clock")
    if signed.expires is None:
        return Declined(Reason.SIGNATURE, f'{detail}; the distribution may want signed URLs: set signing = "canned" or "custom"')
    return Declined(Reason.SIGNATURE, f"{detail}; check the key pair, hash, source_ip and the distribution's key group")


def _clock(response: Response) -> int | None:
    with suppress(ValueError, TypeError):
        return int(parsedate_to_datetime(response.headers["date"]).timestamp()) if "date" in response.headers else None
    return None
