"""The XML API's multipart uploads: parts in any order, put together by a last request.

https://cloud.google.com/storage/docs/multipart-uploads: no preconditions (400 NotImplemented, .../request-preconditions), no MD5
of the whole, parts of 5 MiB and more but for the last, and an upload that is over is not known any more.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from tests.fakes.gcs import names, uploads
from tests.fakes.gcs.errors import GcsError
from tests.fakes.gcs.preconditions import Preconditions
from tests.fakes.gcs.resources import writable
from tests.fakes.gcs.store import Content, Hashes
from tests.fakes.http import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.gcs.call import Call
    from tests.fakes.gcs.store import Blob, Store

MOST_PARTS = 10_000
SMALLEST_PART = 5 * 1024 * 1024

_META = "x-goog-meta-"
_CARRIED = {
    "content-type": "contentType",
    "cache-control": "cacheControl",
    "content-disposition": "contentDisposition",
    "content-encoding": "contentEncoding",
    "content-language": "contentLanguage",
    "x-goog-storage-class": "storageClass",
    "x-goog-custom-time": "customTime",
}
_CONDITIONS = ("x-goog-if-generation-match", "x-goog-if-metageneration-match", "if-match", "if-none-match")
_XML = ("Content-Type", "application/xml; charset=UTF-8")


@dataclass(slots=True)
class Upload:
    bucket: str
    name: str
    fields: dict[str, Any]
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    """By number, from 1: the ETag and the bytes."""


class Multiparts:
    """The uploads that are under way. `smallest` is a parameter so that tests need not move megabytes."""

    def __init__(self, store: Store, *, smallest: int = SMALLEST_PART) -> None:
        self._store = store
        self._smallest = smallest
        self._open: dict[str, Upload] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, call: Call) -> Response:
        _refuse_conditions(call)
        self._store.bucket(call.bucket)
        upload_id = secrets.token_urlsafe(48)
        name = names.check_object(call.key)
        self._open[upload_id] = Upload(call.bucket, name, _fields(call.request.headers))
        return _document(
            "InitiateMultipartUploadResult",
            f"<Bucket>{call.bucket}</Bucket><Key>{escape(name)}</Key><UploadId>{upload_id}</UploadId>",
        )

    async def part(self, call: Call) -> Response:
        _refuse_conditions(call)
        upload = self._find(call)
        number = call.query.get("partNumber", "")
        if not number.isdecimal() or not 1 <= int(number) <= MOST_PARTS:
            raise GcsError(400, "InvalidArgument", f"A part number is from 1 to {MOST_PARTS}.")
        data = await call.request.body.read()
        hashes = Hashes.start(md5=True)
        hashes.add(data)
        declared = uploads.declared_hashes({}, call)
        if "content-md5" in call.request.headers:
            declared["md5"].append(call.request.headers["content-md5"])
        try:
            uploads.check_hashes(hashes, declared)
        except GcsError as error:
            raise GcsError(400, "BadDigest", *error.messages) from None
        etag = f'"{secrets.token_hex(16)}"'
        upload.parts[int(number)] = (etag, data)
        return Response(200, [("ETag", etag), ("x-goog-hash", f"crc32c={hashes.crc32c},md5={hashes.md5}")])

    async def complete(self, call: Call) -> Response:
        _refuse_conditions(call)
        upload = self._find(call)
        pieces = self._named(upload, await call.request.body.read())
        hashes = Hashes.start(md5=False)
        for piece in pieces:
            hashes.add(piece)
        content = Content(b"".join(pieces), hashes.crc32c, None, upload.fields)
        blob: Blob = self._store.put(upload.bucket, upload.name, content, Preconditions())
        del self._open[call.query["uploadId"]]
        answer = _document(
            "CompleteMultipartUploadResult",
            f"<Bucket>{blob.bucket}</Bucket><Key>{escape(blob.name)}</Key><ETag>&quot;{blob.generation}&quot;</ETag>",
        )
        answer.headers.append(("x-goog-hash", f"crc32c={blob.crc32c}"))
        return answer

    def abort(self, call: Call) -> Response:
        self._find(call)
        del self._open[call.query["uploadId"]]
        return Response(204)

    def _find(self, call: Call) -> Upload:
        self._store.bucket(call.bucket)
        upload = self._open.get(call.query.get("uploadId", ""))
        if upload is None or (upload.bucket, upload.name) != (call.bucket, call.key):
            raise GcsError(404, "NoSuchUpload", "The requested upload was not found.")
        return upload

    def _named(self, upload: Upload, body: bytes) -> list[bytes]:
        """The bytes of the parts that the request names."""
        try:
            listed = [_listed(part) for part in ET.fromstring(body) if part.tag.endswith("Part")]
        except (ET.ParseError, ValueError, TypeError):
            raise GcsError(400, "MalformedCompleteMultipartUploadRequest", "The XML is not well-formed.") from None
        if not listed:
            raise GcsError(400, "MalformedCompleteMultipartUploadRequest", "The request names no part.")
        numbers = [number for number, _ in listed]
        if numbers != sorted(set(numbers)):
            raise GcsError(400, "InvalidPartOrder", "The parts are not in ascending order.")
        pieces = []
        for number, etag in listed:
            kept, data = upload.parts.get(number, ("", b""))
            if kept.strip('"') != etag.strip('"') or not kept:
                raise GcsError(400, "InvalidPart", f"There is no part {number} with the ETag {etag}.")
            pieces.append(data)
        if any(len(piece) < self._smallest for piece in pieces[:-1]):
            raise GcsError(400, "EntityTooSmall", f"A part but the last is smaller than {self._smallest} bytes.")
        return pieces


def _listed(part: ET.Element) -> tuple[int, str]:
    found = {child.tag.rpartition("}")[2]: child.text or "" for child in part}
    return int(found.get("PartNumber", "")), found.get("ETag", "")


def _fields(headers: Mapping[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {field: headers[name] for name, field in _CARRIED.items() if name in headers}
    metadata = {name[len(_META) :]: value for name, value in headers.items() if name.startswith(_META)}
    return writable(body | ({"metadata": metadata} if metadata else {}))


def _refuse_conditions(call: Call) -> None:
    if any(name in call.request.headers for name in _CONDITIONS):
        raise GcsError(400, "NotImplemented", "A header or query you provided requested a function that is not implemented.")


def _document(root: str, inside: str) -> Response:
    text = f"<?xml version='1.0' encoding='UTF-8'?><{root} xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{inside}</{root}>"
    return Response(200, [_XML], text.encode())
