"""Which operation a request asks for, of which bucket and key. The names are AWS's own; faults, counters and tests use them.

Bucket and key stand in the path, or the bucket in the host name:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from tests.fakes.s3.errors import S3Error, not_implemented

if TYPE_CHECKING:
    from tests.fakes.http import Request

_AWS = re.compile(r"(?:(?P<bucket>.+)\.)?s3(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-\d))?\.amazonaws\.com")
_LOCAL = re.compile(r"(?P<bucket>.+)\.localhost(?P<region>)")
LONGEST_KEY = 1024

_ON_BUCKET = {
    ("GET", "location"): "GetBucketLocation",
    ("GET", "versioning"): "GetBucketVersioning",
    ("PUT", "versioning"): "PutBucketVersioning",
    ("GET", "requestPayment"): "GetBucketRequestPayment",
    ("PUT", "requestPayment"): "PutBucketRequestPayment",
    ("GET", "encryption"): "GetBucketEncryption",
    ("PUT", "encryption"): "PutBucketEncryption",
    ("GET", "versions"): "ListObjectVersions",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "list-type"): "ListObjectsV2",
    ("POST", "delete"): "DeleteObjects",
    ("GET", ""): "ListObjects",
    ("PUT", ""): "CreateBucket",
    ("HEAD", ""): "HeadBucket",
    ("DELETE", ""): "DeleteBucket",
}
_ON_OBJECT = {
    ("POST", "uploads"): "CreateMultipartUpload",
    ("PUT", "uploadId"): "UploadPart",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("GET", "uploadId"): "ListParts",
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("DELETE", "tagging"): "DeleteObjectTagging",
    ("GET", "attributes"): "GetObjectAttributes",
    ("POST", "restore"): "RestoreObject",
    ("GET", ""): "GetObject",
    ("HEAD", ""): "HeadObject",
    ("PUT", ""): "PutObject",
    ("DELETE", ""): "DeleteObject",
}
_OTHERS = (
    "acl|cors|lifecycle|policy|tagging|logging|notification|replication|website|object-lock|legal-hold|retention|torrent|select"
)
_SUBRESOURCES = [*dict.fromkeys(name for _, name in (*_ON_BUCKET, *_ON_OBJECT) if name), *_OTHERS.split("|")]


@dataclass
class Call:
    """A request with its meaning. `region` is that of the endpoint it was sent to; None for the global one."""

    request: Request
    request_id: str
    operation: str = ""
    bucket: str = ""
    key: str = ""
    region: str | None = None
    charged: bool = False
    """The requester pays, and has said that he does."""
    notes: list[str] = field(default_factory=list)

    @cached_property
    def headers(self) -> dict[str, str]:
        return self.request.headers

    @cached_property
    def query(self) -> dict[str, str]:
        """Decoded; of a repeated name the last value counts."""
        return {name.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape") for name, value in self.pairs}

    @cached_property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """The query in the order in which it came."""
        parts = (part.partition("=") for part in self.request.query_string.split("&") if part)
        return [(_decoded(name), _decoded(value)) for name, _, value in parts]

    @cached_property
    def path(self) -> bytes:
        return _decoded(self.request.path)

    @property
    def silent(self) -> bool:
        return self.request.method == "HEAD"

    @property
    def version_id(self) -> str | None:
        return self.query.get("versionId")

    def number(self, name: str, default: int) -> int:
        """A number of the query, not negative."""
        text = self.query.get(name)
        if text is None or text == "":
            return default
        if not re.fullmatch(r"\d{1,10}", text) or int(text) > 2**31 - 1:
            elements = {"ArgumentName": name, "ArgumentValue": text}
            raise S3Error(400, "InvalidArgument", f"Provided {name} not an integer or within integer range", **elements)
        return int(text)


def understand(request: Request, request_id: str, home: str) -> Call:
    """`home`: the region of an endpoint whose name says none. Raises S3Error for what is not in the API."""
    call = Call(request, request_id, region=home)
    host = request.headers.get("host", "").partition(":")[0].lower()
    place = _AWS.fullmatch(host) or _LOCAL.fullmatch(host)
    if _AWS.fullmatch(host):
        call.region = (place and place["region"]) or None
    path = call.path.removeprefix(b"/")
    if place and place["bucket"]:
        name, key = place["bucket"].encode(), path
    else:
        name, _, key = path.partition(b"/")
    call.bucket = name.decode("utf-8", "replace")
    call.operation = _operation(call, bool(key))
    try:
        call.key = key.decode()
    except UnicodeDecodeError:
        raise S3Error(400, "InvalidURI", "Couldn't parse the specified URI.") from None
    if len(key) > LONGEST_KEY:
        elements = {"Size": str(len(key)), "MaxSizeAllowed": str(LONGEST_KEY)}
        raise S3Error(400, "KeyTooLongError", "Your key is too long", **elements)
    return call


def _operation(call: Call, on_object: bool) -> str:
    method = call.request.method
    if not call.bucket:
        if method != "GET":
            raise _no_method(call)
        return "ListBuckets"
    table = _ON_OBJECT if on_object else _ON_BUCKET
    asked = [name for name in _SUBRESOURCES if name in call.query]
    for name in asked or [""]:
        if (method, name) in table:
            operation = table[method, name]
            copies = "x-amz-copy-source" in call.headers
            return {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}.get(operation, operation) if copies else operation
    if asked:
        raise not_implemented()
    raise _no_method(call)


def _no_method(call: Call) -> S3Error:
    text = "The specified method is not allowed against this resource."
    return S3Error(405, "MethodNotAllowed", text, Method=call.request.method, ResourceType="OBJECT" if call.key else "BUCKET")


def _decoded(text: str) -> bytes:
    """An unescaped plus is a space, in the path too."""
    return unquote_to_bytes(text.replace("+", " "))
