"""The body of an upload, read whole, unwrapped and compared with everything that the client said about it beforehand.

A body may come framed in chunks of its own (`aws-chunked`), each signed or none, with a checksum behind the last:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fakes.s3 import checksums
from tests.fakes.s3.errors import S3Error, not_implemented, too_large
from tests.fakes.s3.signatures import UNSIGNED

if TYPE_CHECKING:
    from tests.fakes.s3.call import Call
    from tests.fakes.s3.checksums import Checksum
    from tests.fakes.s3.signatures import Admission

LARGEST = 5 * 1024**3
"""Of one PUT or one part: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
_EMPTY = hashlib.sha256(b"").hexdigest()
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes that are what the client says they are. `checksum`: the one it sent along, if it did."""

    data: bytes
    checksum: Checksum | None


async def receive(call: Call, admission: Admission | None, *, new: bool) -> Payload:
    """`new`: this server knows checksums beyond Content-MD5, and bodies with trailers."""
    _check_length(call)
    kind = admission.payload if admission is not None else call.headers.get("x-amz-content-sha256", UNSIGNED)
    if not new and kind.endswith("-TRAILER"):
        raise not_implemented("x-amz-content-sha256")
    data = await call.request.body.read()
    trailers: dict[str, str] = {}
    if kind.startswith("STREAMING-"):
        data, trailers = _unwrapped(call, data, kind, admission)
    elif kind != UNSIGNED and hashlib.sha256(data).hexdigest() != kind:
        text = "The provided 'x-amz-content-sha256' header does not match what was computed."
        elements = {"ClientComputedContentSHA256": kind, "S3ComputedContentSHA256": hashlib.sha256(data).hexdigest()}
        raise S3Error(400, "XAmzContentSHA256Mismatch", text, **elements)
    _check_md5(call, data)
    if not new:
        return Payload(data, None)
    claimed = checksums.declared(call.headers, trailers)
    if claimed is not None:
        checksums.check(claimed, data)
    return Payload(data, claimed)


def _check_length(call: Call) -> None:
    decoded, length = call.headers.get("x-amz-decoded-content-length"), call.headers.get("content-length")
    if decoded is None and length is None:
        raise S3Error(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    size = int(decoded or length or 0)
    if size > LARGEST:
        raise too_large(size, LARGEST)


def _check_md5(call: Call, data: bytes) -> None:
    claimed = call.headers.get("content-md5")
    if claimed is None:
        return
    try:
        raw = base64.b64decode(claimed, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 16:
        raise S3Error(400, "InvalidDigest", "The Content-MD5 you specified was invalid.", **{"Content-MD5": claimed})
    actual = hashlib.md5(data, usedforsecurity=False).digest()
    if raw != actual:
        elements = {"ExpectedDigest": claimed, "CalculatedDigest": base64.b64encode(actual).decode()}
        raise S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.", **elements)


def _unwrapped(call: Call, raw: bytes, kind: str, admission: Admission | None) -> tuple[bytes, dict[str, str]]:
    if kind not in {UNSIGNED_TRAILER, _SIGNED, _SIGNED_TRAILER} or "x-amz-decoded-content-length" not in call.headers:
        raise not_implemented("x-amz-content-sha256")
    signed = _Chain(admission) if kind != UNSIGNED_TRAILER and admission is not None else None
    pieces: list[bytes] = []
    at = 0
    while True:
        end = raw.find(b"\r\n", at)
        match = _CHUNK.fullmatch(raw[at:end]) if end >= 0 else None
        if match is None:
            raise _incomplete()
        size = int(match[1], 16)
        piece = raw[end + 2 : end + 2 + size]
        if signed is not None:
            signed.check("PAYLOAD", (match[2] or b"").decode(), _EMPTY, hashlib.sha256(piece).hexdigest())
        at = end + 2 + size
        if not size:
            break
        if len(piece) != size or raw[at : at + 2] != b"\r\n":
            raise _incomplete()
        pieces.append(piece)
        at += 2
    data = b"".join(pieces)
    if len(data) != int(call.headers["x-amz-decoded-content-length"]):
        raise _incomplete()
    return data, _trailers(call, raw[at:], signed if kind == _SIGNED_TRAILER else None)


def _trailers(call: Call, raw: bytes, signed: _Chain | None) -> dict[str, str]:
    lines = [line.partition(":") for line in raw.decode("latin-1").split("\r\n") if line.strip()]
    found = {name.strip().lower(): value.strip() for name, _, value in lines}
    signature = found.pop("x-amz-trailer-signature", "")
    promised = {name.strip().lower() for name in call.headers.get("x-amz-trailer", "").split(",") if name.strip()}
    if set(found) != promised:
        raise S3Error(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed.")
    if signed is not None:
        text = "".join(f"{name}:{value}\n" for name, value in found.items())
        signed.check("TRAILER", signature, hashlib.sha256(text.encode("latin-1")).hexdigest())
    return found


class _Chain:
    """The signatures of chunks, each over the one before."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._last = admission.signature

    def check(self, what: str, claimed: str, *hashes: str) -> None:
        admission = self._admission
        to_sign = "\n".join((f"AWS4-HMAC-SHA256-{what}", admission.stamp, admission.scope, self._last, *hashes))
        self._last = hmac.digest(admission.key, to_sign.encode(), "sha256").hex()
        if claimed != self._last:
            text = "The request signature we calculated does not match the signature you provided."
            raise S3Error(403, "SignatureDoesNotMatch", text, StringToSign=to_sign, SignatureProvided=claimed)


def _incomplete() -> S3Error:
    text = "You did not provide the number of bytes specified by the Content-Length HTTP header"
    return S3Error(400, "IncompleteBody", text)
