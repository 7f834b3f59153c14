"""Downloads: ranges, checksums in headers, and decompressive transcoding.

https://cloud.google.com/storage/docs/json_api/v1/objects/get and https://cloud.google.com/storage/docs/transcoding
"""

from __future__ import annotations

import gzip
import zlib
from email.utils import formatdate
from typing import TYPE_CHECKING

from tests.fakes.gcs.errors import GcsError
from tests.fakes.gcs.preconditions import Preconditions, number
from tests.fakes.gcs.resources import etag
from tests.fakes.http import Framing, Response
from tests.fakes.http.ranges import BehindEndError, span

if TYPE_CHECKING:
    from tests.fakes.gcs.call import Call
    from tests.fakes.gcs.store import Blob, Store


def find(store: Store, call: Call) -> Blob:
    """The object that a get asks for, its preconditions checked."""
    blob = store.get(call.bucket, call.key or "", number(call.query, "generation"))
    Preconditions.of(call.query).check_read(blob)
    _check_etag(call, blob)
    return blob


def media(store: Store, call: Call) -> Response:
    blob = find(store, call)
    headers = _headers(blob)
    accepted = call.request.headers.get("accept-encoding", "")
    if _transcoded(blob, accepted) and (plain := _gunzip(blob.data)) is not None:
        headers += [("Warning", "214 UploadServer gunzipped"), ("X-Guploader-Response-Body-Transformations", "gunzipped")]
        return Response(200, headers, plain, Framing.CHUNKED)
    if "contentEncoding" in blob.fields:
        headers.append(("Content-Encoding", blob.fields["contentEncoding"]))
    found = _span(call.request.headers.get("range", ""), len(blob.data))
    if found is None:
        return Response(200, headers, blob.data)
    start, end = found
    headers.append(("Content-Range", f"bytes {start}-{end - 1}/{len(blob.data)}"))
    return Response(206, headers, blob.data[start:end])


def _headers(blob: Blob) -> list[tuple[str, str]]:
    """X-Goog-Hash is always of the whole stored object: not of a range, and not of what transcoding makes of it."""
    hashes = f"crc32c={blob.crc32c}" + (f",md5={blob.md5}" if blob.md5 else "")
    fields = blob.fields
    headers = [
        ("Content-Type", fields.get("contentType", "application/octet-stream")),
        ("ETag", etag(blob.generation, blob.metageneration)),
        ("Last-Modified", formatdate(blob.updated, usegmt=True)),
        ("Cache-Control", fields.get("cacheControl", "no-cache, no-store, max-age=0, must-revalidate")),
        ("Vary", "Accept-Encoding"),
        ("X-Goog-Generation", str(blob.generation)),
        ("X-Goog-Metageneration", str(blob.metageneration)),
        ("X-Goog-Storage-Class", fields.get("storageClass", "STANDARD")),
        ("X-Goog-Hash", hashes),
        ("X-Goog-Stored-Content-Encoding", fields.get("contentEncoding", "identity")),
        ("X-Goog-Stored-Content-Length", str(len(blob.data))),
    ]
    for name, header in (("contentDisposition", "Content-Disposition"), ("contentLanguage", "Content-Language")):
        if name in fields:
            headers.append((header, fields[name]))
    return headers


def _check_etag(call: Call, blob: Blob) -> None:
    current = etag(blob.generation, blob.metageneration)
    wanted, unwanted = (_etags(call.request.headers.get(name, "")) for name in ("if-match", "if-none-match"))
    if wanted and not wanted & {current, "*"}:
        raise GcsError(412, "conditionNotMet", "Precondition Failed")
    if unwanted & {current, "*"}:
        raise GcsError(304, "notModified", "Not Modified")


def _etags(header: str) -> set[str]:
    return {item.strip().strip('"') for item in header.split(",") if item.strip()}


def _transcoded(blob: Blob, accepted: str) -> bool:
    """Stored as gzip, and the client does not say that it takes gzip."""
    if blob.fields.get("contentEncoding") != "gzip" or "no-transform" in blob.fields.get("cacheControl", ""):
        return False
    return "gzip" not in {item.partition(";")[0].strip().lower() for item in accepted.split(",")}


def _gunzip(data: bytes) -> bytes | None:
    """None when the bytes are not gzip, whatever the metadata says; then they are served as they are."""
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None


def _span(header: str, size: int) -> tuple[int, int] | None:
    try:
        return span(header, size)
    except BehindEndError as behind:
        error = GcsError(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
        error.headers.append(behind.header)
        raise error from None
