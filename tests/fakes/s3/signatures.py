"""Signature Version 4, verified as AWS describes it: in the Authorization header, and in the query of a presigned URL.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from tests.fakes.s3.errors import S3Error, denied, invalid_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.fakes.s3.call import Call

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW = 15 * 60
LONGEST_EXPIRY = 7 * 24 * 3600
_HEADER = re.compile(r"AWS4-HMAC-SHA256\s+Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})")
_IN_QUERY = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")


@dataclass(frozen=True, slots=True)
class Identity:
    """Keys that this server knows. A `token` makes them temporary: without it, or after `expires`, they are not taken."""

    access_key: str
    secret_key: str
    token: str | None = None
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """A request whose signature is right. `signature`, `key`, `stamp` and `scope` go on in the chunks of a signed stream."""

    payload: str
    signature: str = ""
    key: bytes = b""
    stamp: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a signed request says about itself, wherever it says it."""

    credential: str
    names: tuple[str, ...]
    signature: str
    stamp: str
    payload: str
    token: str | None
    presigned: bool

    @property
    def code(self) -> str:
        return "AuthorizationQueryParametersError" if self.presigned else "AuthorizationHeaderMalformed"


class Gate:
    """Lets signed requests in. `clock` is that of the server: requests from another quarter of an hour are refused."""

    def __init__(self, identities: Mapping[str, Identity], clock: Callable[[], float]) -> None:
        self._identities = identities
        self._clock = clock

    def admit(self, call: Call, region: str) -> Admission | None:
        """None: nobody signed it. `region`: the one that the signature must name here."""
        header = call.headers.get("authorization")
        if header is not None and "X-Amz-Algorithm" in call.query:
            raise S3Error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if header is None and "X-Amz-Algorithm" not in call.query:
            if "Signature" in call.query:
                raise _unsupported()
            return None
        claim = _in_header(call, header) if header is not None else _in_query(call)
        access_key, scope = self._scope(claim, region)
        identity = self._identity(access_key, claim)
        self._in_time(call, claim)
        _all_signed(call, claim)
        key = _derived(identity.secret_key, scope)
        canonical = _canonical(call, claim)
        to_sign = "\n".join((ALGORITHM, claim.stamp, scope, hashlib.sha256(canonical).hexdigest()))
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        if not hmac.compare_digest(signature, claim.signature):
            raise _mismatch(access_key, to_sign, claim.signature, canonical)
        return Admission(claim.payload, signature, key, claim.stamp, scope)

    def _scope(self, claim: _Claim, region: str) -> tuple[str, str]:
        access_key, *rest = claim.credential.rsplit("/", 4)
        if len(rest) != 4 or rest[3] != "aws4_request":
            raise S3Error(400, claim.code, "The authorization header is malformed; the Credential is mal-formed; expecting ...")
        if rest[0] != claim.stamp[:8]:
            raise S3Error(400, claim.code, f'Invalid credential date "{rest[0]}". This date is not the same as X-Amz-Date.')
        if rest[2] != "s3":
            text = f'The authorization header is malformed; incorrect service "{rest[2]}". This endpoint belongs to "s3".'
            raise S3Error(400, claim.code, text)
        if rest[1] != region:
            text = f"The authorization header is malformed; the region '{rest[1]}' is wrong; expecting '{region}'"
            raise S3Error(400, claim.code, text, Region=region)
        return access_key, "/".join(rest)

    def _identity(self, access_key: str, claim: _Claim) -> Identity:
        identity = self._identities.get(access_key)
        if identity is None or (identity.token is not None and claim.token is None):
            text = "The AWS Access Key Id you provided does not exist in our records."
            raise S3Error(403, "InvalidAccessKeyId", text, AWSAccessKeyId=access_key)
        if claim.token != identity.token:
            raise S3Error(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
        if identity.expires is not None and self._clock() >= identity.expires:
            raise S3Error(400, "ExpiredToken", "The provided token has expired.")
        return identity

    def _in_time(self, call: Call, claim: _Claim) -> None:
        now, then = self._clock(), _moment(claim.stamp).timestamp()
        server = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if not claim.presigned:
            if abs(now - then) > SKEW:
                text = "The difference between the request time and the current time is too large."
                elements = {"RequestTime": claim.stamp, "ServerTime": server, "MaxAllowedSkewMilliseconds": str(SKEW * 1000)}
                raise S3Error(403, "RequestTimeTooSkewed", text, **elements)
            return
        seconds = call.query["X-Amz-Expires"]
        if not seconds.isdecimal():
            raise S3Error(400, claim.code, "X-Amz-Expires should be a number")
        if int(seconds) > LONGEST_EXPIRY:
            raise S3Error(400, claim.code, "X-Amz-Expires must be less than a week (in seconds); that is, less than 604800")
        if then - now > SKEW:
            raise denied("Request is not valid yet", ServerTime=server)
        if now > then + int(seconds):
            expired = datetime.fromtimestamp(then + int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise denied("Request has expired", **{"X-Amz-Expires": seconds, "Expires": expired, "ServerTime": server})


def _in_header(call: Call, header: str) -> _Claim:
    if header.startswith("AWS "):
        raise _unsupported()
    match = _HEADER.fullmatch(header.strip())
    if match is None:
        raise S3Error(400, "AuthorizationHeaderMalformed", "The authorization header that you provided is not valid.")
    payload = call.headers.get("x-amz-content-sha256")
    if payload is None:
        raise invalid_request("Missing required header for this request: x-amz-content-sha256")
    stamp = call.headers.get("x-amz-date", "")
    if not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
        raise denied("AWS authentication requires a valid Date or x-amz-date header")
    names = tuple(match[2].split(";"))
    return _Claim(match[1], names, match[3], stamp, payload, call.headers.get("x-amz-security-token"), presigned=False)


def _in_query(call: Call) -> _Claim:
    code = "AuthorizationQueryParametersError"
    if any(not call.query.get(name) for name in _IN_QUERY):
        raise S3Error(400, code, f"Query-string authentication version 4 requires the {', '.join(_IN_QUERY)} parameters.")
    if call.query["X-Amz-Algorithm"] != ALGORITHM:
        raise S3Error(400, code, 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    stamp = call.query["X-Amz-Date"]
    if not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
        raise S3Error(400, code, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    return _Claim(
        call.query["X-Amz-Credential"],
        tuple(call.query["X-Amz-SignedHeaders"].split(";")),
        call.query["X-Amz-Signature"],
        stamp,
        call.headers.get("x-amz-content-sha256") or call.query.get("X-Amz-Content-Sha256") or UNSIGNED,
        call.query.get("X-Amz-Security-Token"),
        presigned=True,
    )


def _all_signed(call: Call, claim: _Claim) -> None:
    """The host, and every header that means something to S3: otherwise somebody on the way could add one."""
    needed = {"host", *(name for name in call.headers if name.startswith("x-amz-"))}
    if claim.presigned:
        needed.discard("x-amz-content-sha256")
    if missing := sorted(needed - set(claim.names)):
        raise denied("There were headers present in the request which were not signed", HeadersNotSigned=", ".join(missing))


def _canonical(call: Call, claim: _Claim) -> bytes:
    pairs = sorted((_encoded(name), _encoded(value)) for name, value in call.pairs if name != b"X-Amz-Signature")
    lines = [f"{name}:{' '.join(call.headers.get(name, '').split())}\n".encode("latin-1") for name in sorted(claim.names)]
    return b"\n".join(
        (
            call.request.method.encode(),
            quote_from_bytes(call.path, safe="/-_.~").encode(),
            "&".join(f"{name}={value}" for name, value in pairs).encode(),
            b"".join(lines),
            ";".join(sorted(claim.names)).encode(),
            claim.payload.encode(),
        )
    )


def _encoded(raw: bytes) -> str:
    return quote_from_bytes(raw, safe="-_.~")


def _derived(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    return key


def _moment(stamp: str) -> datetime:
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise denied("AWS authentication requires a valid Date or x-amz-date header") from None


def _mismatch(access_key: str, to_sign: str, signature: str, canonical: bytes) -> S3Error:
    text = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    elements = {"AWSAccessKeyId": access_key, "StringToSign": to_sign, "SignatureProvided": signature}
    return S3Error(403, "SignatureDoesNotMatch", text, **elements, CanonicalRequest=canonical.decode("latin-1"))


def _unsupported() -> S3Error:
    return invalid_request("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
