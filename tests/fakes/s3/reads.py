"""GetObject, HeadObject and GetObjectAttributes: conditions, ranges, parts, checksums on request.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING

from tests.fakes.http import Response
from tests.fakes.http.ranges import BehindEndError, span
from tests.fakes.s3 import conditions, fields
from tests.fakes.s3.errors import S3Error, invalid_argument, invalid_request
from tests.fakes.s3.store import Versioning, check_readable
from tests.fakes.s3.xml import XML, document

if TYPE_CHECKING:
    from tests.fakes.s3.call import Call
    from tests.fakes.s3.store import Blob, Bucket, Store
    from tests.fakes.s3.xml import Value

_OVERRIDES = ("content-type", "content-language", "expires", "cache-control", "content-disposition", "content-encoding")


def read(store: Store, call: Call, *, new: bool) -> Response:
    blob = store.get(call.bucket, call.key, call.version_id)
    fields.check_customer_key(blob.fields.encryption, call.headers)
    conditions.check_read(call.headers, blob)
    if call.operation == "GetObject":
        check_readable(blob)
    headers = described(store.bucket(call.bucket), blob)
    headers += [("Accept-Ranges", "bytes"), *_archive_headers(blob)]
    headers = _overridden(call, headers)
    found = _part(call, blob, headers) or _span(call.headers.get("range", ""), blob)
    if new and found is None and call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        checksum = blob.whole_checksum
        headers += [(checksum.header, checksum.value), ("x-amz-checksum-type", checksum.type)]
    if found is None:
        return Response(200, headers, blob.data)
    start, end = found
    headers.append(("Content-Range", f"bytes {start}-{end - 1}/{len(blob.data)}"))
    return Response(206, headers, blob.data[start:end])


def described(home: Bucket, blob: Blob) -> list[tuple[str, str]]:
    headers = [("Last-Modified", formatdate(int(blob.modified), usegmt=True)), ("ETag", f'"{blob.etag}"'), *blob.fields.wire()]
    return headers + versioned(home, blob)


def versioned(home: Bucket, blob: Blob) -> list[tuple[str, str]]:
    """A bucket that never had versions does not speak of them."""
    return [] if home.versioning is Versioning.NEVER else [("x-amz-version-id", blob.version_id)]


def _archive_headers(blob: Blob) -> list[tuple[str, str]]:
    headers = [("x-amz-archive-status", blob.archive)] if blob.archive is not None else []
    if blob.restored:
        expiry = formatdate(blob.modified + 7 * 86400, usegmt=True)
        headers.append(("x-amz-restore", f'ongoing-request="false", expiry-date="{expiry}"'))
    return headers


def _overridden(call: Call, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A signed GET may say what some headers of its answer shall be."""
    asked = {name: call.query[f"response-{name}"] for name in _OVERRIDES if f"response-{name}" in call.query}
    if asked and "authorization" not in call.headers and "X-Amz-Signature" not in call.query:
        raise invalid_request("Request specific response headers cannot be used for anonymous GET requests.")
    return [header for header in headers if header[0].lower() not in asked] + list(asked.items())


def _part(call: Call, blob: Blob, headers: list[tuple[str, str]]) -> tuple[int, int] | None:
    if "partNumber" not in call.query:
        return None
    if "range" in call.headers:
        raise invalid_request("Cannot specify both Range header and partNumber query parameter")
    number, sizes = call.number("partNumber", 0), blob.parts or (len(blob.data),)
    if not 1 <= number <= 10_000:
        raise invalid_argument("Part number must be an integer between 1 and 10000, inclusive", "partNumber", str(number))
    if number > len(sizes):
        raise S3Error(416, "InvalidPartNumber", "The requested partnumber is not satisfiable", ActualPartCount=str(len(sizes)))
    if blob.parts:
        headers.append(("x-amz-mp-parts-count", str(len(blob.parts))))
    start = sum(sizes[: number - 1])
    return (start, start + sizes[number - 1]) if blob.data else None


def _span(header: str, blob: Blob) -> tuple[int, int] | None:
    size = len(blob.data)
    try:
        return span(header, size)
    except BehindEndError as behind:
        text = "The requested range is not satisfiable"
        raise S3Error(416, "InvalidRange", text, [behind.header], RangeRequested=header, ActualObjectSize=str(size)) from None


def attributes(store: Store, call: Call) -> Response:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html"""
    blob = store.get(call.bucket, call.key, call.version_id)
    fields.check_customer_key(blob.fields.encryption, call.headers)
    conditions.check_read(call.headers, blob)
    asked = {item.strip() for item in call.headers.get("x-amz-object-attributes", "").split(",")}
    if not asked - {""}:
        raise invalid_argument("No attributes were specified.", "x-amz-object-attributes", "")
    body: dict[str, Value] = {}
    if "ETag" in asked:
        body["ETag"] = blob.etag
    if "Checksum" in asked:
        checksum = blob.whole_checksum
        body["Checksum"] = {checksum.tag: checksum.value.partition("-")[0], "ChecksumType": checksum.type}
    if "ObjectParts" in asked and blob.parts:
        body["ObjectParts"] = {"PartsCount": len(blob.parts)}
    if "StorageClass" in asked:
        body["StorageClass"] = blob.fields.storage_class
    if "ObjectSize" in asked:
        body["ObjectSize"] = len(blob.data)
    headers = [XML, ("Last-Modified", formatdate(int(blob.modified), usegmt=True)), *versioned(store.bucket(call.bucket), blob)]
    return Response(200, headers, document("GetObjectAttributesResponse", body))
