"""Uploads in parts: what a part may be, what makes an object of them, and which checksum that object has.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.fakes.http import Response
from tests.fakes.s3 import checksums, conditions, fields
from tests.fakes.s3.checksums import COMPOSITE, FULL, Checksum
from tests.fakes.s3.conditions import WriteCondition
from tests.fakes.s3.errors import S3Error, conflict, invalid_argument, invalid_request, malformed_xml, no_upload, not_implemented
from tests.fakes.s3.objects import timestamp
from tests.fakes.s3.payload import receive
from tests.fakes.s3.store import Content, check_readable
from tests.fakes.s3.xml import XML, document, parse

if TYPE_CHECKING:
    from tests.fakes.s3.call import Call
    from tests.fakes.s3.objects import Objects
    from tests.fakes.s3.signatures import Admission
    from tests.fakes.s3.store import Blob, Store
    from tests.fakes.s3.xml import Value

SMALLEST = 5 * 1024 * 1024
"""What every part but the last must have."""
MOST = 10_000


@dataclass(slots=True)
class Part:
    data: bytes
    etag: str
    modified: float
    checksum: Checksum | None


@dataclass(slots=True)
class Upload:
    """`algorithm` and `kind`: what was said when it began; None: nothing was."""

    id: str
    bucket: str
    key: str
    fields: fields.Fields
    begun: float
    algorithm: str | None = None
    kind: str | None = None
    parts: dict[int, Part] = field(default_factory=dict)
    void: bool = False
    """A conditional completion met a conflict: the upload is to be begun anew."""


class Uploads:
    """The uploads under way."""

    def __init__(self, store: Store, objects: Objects, *, new: bool) -> None:
        self._store = store
        self._objects = objects
        self._new = new
        self.open: dict[str, Upload] = {}

    async def begin(self, call: Call, admission: Admission | None) -> Response:
        self._store.bucket(call.bucket)
        await receive(call, admission, new=self._new)
        algorithm = call.headers.get("x-amz-checksum-algorithm") if self._new else None
        kind: str | None = None
        if algorithm is not None:
            algorithm = checksums.algorithm_named(algorithm)
            kind = checksums.kind(algorithm, call.headers.get("x-amz-checksum-type"))
        described = self._objects.fields_of(call)
        upload = Upload(secrets.token_urlsafe(48), call.bucket, call.key, described, self._store.clock(), algorithm, kind)
        self.open[upload.id] = upload
        headers = [XML, *described.encryption.headers()]
        if algorithm is not None and kind is not None:
            headers += [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)]
        body = document("InitiateMultipartUploadResult", {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id})
        return Response(200, headers, body)

    async def part(self, call: Call, admission: Admission | None) -> Response:
        number, upload = _part_number(call), self.find(call)
        fields.check_customer_key(upload.fields.encryption, call.headers)
        payload = await receive(call, admission, new=self._new)
        self.find(call)  # it may have been aborted while the bytes came
        checksum = self._checked(upload, payload.checksum, payload.data)
        part = self._keep(upload, number, payload.data, checksum)
        headers = [("ETag", f'"{part.etag}"'), *upload.fields.encryption.headers()]
        return Response(200, headers + ([(part.checksum.header, part.checksum.value)] if part.checksum else []))

    def _checked(self, upload: Upload, claimed: Checksum | None, data: bytes) -> Checksum | None:
        """A part has the algorithm of its upload, if that named one. Without a checksum of its own it gets one, but not where
        parts must name theirs.
        """
        wanted = upload.algorithm
        if claimed is not None and wanted not in {None, claimed.algorithm}:
            raise _type_mismatch(wanted, claimed.algorithm)
        if claimed is None and wanted is not None:
            if upload.kind == COMPOSITE:
                raise _type_mismatch(wanted, None)
            return checksums.of(wanted, data)
        return claimed

    def _keep(self, upload: Upload, number: int, data: bytes, checksum: Checksum | None) -> Part:
        hidden = upload.fields.encryption.hides_md5
        etag = secrets.token_hex(16) if hidden else hashlib.md5(data, usedforsecurity=False).hexdigest()
        upload.parts[number] = Part(data, etag, self._store.clock(), checksum)
        return upload.parts[number]

    async def copy_part(self, call: Call, admission: Admission | None) -> Response:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html"""
        await receive(call, admission, new=False)
        number, upload = _part_number(call), self.find(call)
        name, _, version_id = call.headers["x-amz-copy-source"].partition("?versionId=")
        bucket, _, key = unquote(name).removeprefix("/").partition("/")
        source = self._store.get(bucket, key, version_id or None)
        check_readable(source)
        prefix = "x-amz-copy-source-"
        conditions.check_read({n.removeprefix(prefix): v for n, v in call.headers.items() if n.startswith(prefix)}, source)
        data = source.data
        if "x-amz-copy-source-range" in call.headers:
            first, _, last = call.headers["x-amz-copy-source-range"].removeprefix("bytes=").partition("-")
            if int(last) >= len(data):
                raise invalid_argument("Range specified is not valid for source object of size: " + str(len(data)))
            data = data[int(first) : int(last) + 1]
        checksum = checksums.of(upload.algorithm, data) if upload.algorithm else None
        part = self._keep(upload, number, data, checksum)
        return Response(
            200, [XML], document("CopyPartResult", {"LastModified": timestamp(part.modified), "ETag": f'"{part.etag}"'})
        )

    async def complete(self, call: Call, admission: Admission | None) -> Response:
        upload = self.find(call)
        home = self._store.bucket(call.bucket)
        condition = WriteCondition.of(call.headers, home, call.key, new=self._new)
        body = await call.request.body.read()
        wanted = self._wanted(upload, body)
        if upload.void:
            raise conflict("If-None-Match", call.key)
        content = self._assembled(call, upload, wanted)
        try:
            blob = self._store.put(call.bucket, call.key, content, condition)
        except S3Error as error:
            upload.void = error.status == 409
            raise
        del self.open[upload.id]
        return self._completed(call, blob)

    def _completed(self, call: Call, blob: Blob) -> Response:
        fields_said: dict[str, Value] = {
            "Location": f"http://{call.headers.get('host', '')}{call.request.path}",
            "Bucket": call.bucket,
            "Key": call.key,
            "ETag": f'"{blob.etag}"',
        }
        if self._new:
            fields_said |= {blob.whole_checksum.tag: blob.whole_checksum.value, "ChecksumType": blob.whole_checksum.type}
        body = document("CompleteMultipartUploadResult", fields_said)
        return Response(200, [XML, *self._objects.written(self._store.bucket(call.bucket), blob)[1:]], body)

    def _wanted(self, upload: Upload, body: bytes) -> list[Part]:
        """The parts that the client lists, in ascending order and each as it was uploaded."""
        try:
            listed = parse(body, "CompleteMultipartUpload").findall("Part")
        except ValueError:
            raise malformed_xml() from None
        if not 0 < len(listed) <= MOST:
            raise malformed_xml()
        numbers = [int(entry.findtext("PartNumber") or 0) for entry in listed]
        if any(one >= other for one, other in pairwise(numbers)):
            text = "The list of parts was not in ascending order. Parts must be ordered by part number."
            raise S3Error(400, "InvalidPartOrder", text, UploadId=upload.id)
        found: list[Part] = []
        for place, (number, entry) in enumerate(zip(numbers, listed, strict=True)):
            part, etag = upload.parts.get(number), (entry.findtext("ETag") or "").strip('"')
            claims = {a: entry.findtext(f"Checksum{a}") for a in checksums.ALGORITHMS if entry.findtext(f"Checksum{a}")}
            if part is None or part.etag != etag or not self._same_checksum(upload, part, claims, number):
                raise _invalid_part(upload, number, etag)
            if len(part.data) < SMALLEST and place < len(listed) - 1:
                raise _too_small(part, number)
            found.append(part)
        return found

    def _same_checksum(self, upload: Upload, part: Part, claims: dict[str, str | None], number: int) -> bool:
        if not self._new:
            return True
        if upload.kind == COMPOSITE and not claims:
            algorithm = (upload.algorithm or "").lower()
            text = (
                f"The upload was created using a {algorithm} checksum. The complete request must include the checksum for each "
                f"part. It was missing for part {number} in the request."
            )
            raise invalid_request(text)
        return all(part.checksum is not None and part.checksum == Checksum(name, value or "") for name, value in claims.items())

    def _assembled(self, call: Call, upload: Upload, parts: list[Part]) -> Content:
        data = b"".join(part.data for part in parts)
        digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False).hexdigest()
        sizes = tuple(len(part.data) for part in parts)
        checksum = self._whole(call, upload, parts, data) if self._new else None
        return Content(data, upload.fields, checksum, f"{digest}-{len(parts)}", sizes)

    def _whole(self, call: Call, upload: Upload, parts: list[Part], data: bytes) -> Checksum | None:
        """The checksum of the object. A size or checksum that the client says, and that is not so, makes no object."""
        size = call.headers.get("x-amz-mp-object-size")
        if size is not None and int(size) != len(data):
            text = f"The provided 'x-amz-mp-object-size' header value {size} does not match what was computed: {len(data)}"
            raise invalid_request(text)
        kind, claimed = call.headers.get("x-amz-checksum-type"), checksums.declared(call.headers, {})
        if kind is not None and kind != (upload.kind or FULL):
            raise S3Error(400, "BadDigest", f"The {kind} checksum type does not match that of the upload.")
        if upload.algorithm is None:
            whole = None if claimed is None else checksums.of("CRC64NVME", data)
        elif upload.kind == COMPOSITE:
            whole = checksums.composite(upload.algorithm, [part.checksum for part in parts if part.checksum is not None])
        else:
            whole = checksums.of(upload.algorithm, data)
        if claimed is not None and whole is not None:
            checksums.well_formed(claimed)
            if (claimed.algorithm, claimed.value.partition("-")[0]) != (whole.algorithm, whole.value.partition("-")[0]):
                raise checksums.wrong(claimed)
        return whole

    def abort(self, call: Call) -> Response:
        del self.open[self.find(call).id]
        return Response(204)

    def find(self, call: Call) -> Upload:
        self._store.bucket(call.bucket)
        upload = self.open.get(call.query.get("uploadId", ""))
        if upload is None or (upload.bucket, upload.key) != (call.bucket, call.key):
            raise no_upload(call.query.get("uploadId", ""))
        return upload

    def list_parts(self, call: Call) -> Response:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html"""
        upload = self.find(call)
        after, most = call.number("part-number-marker", 0), min(call.number("max-parts", 1000), 1000)
        numbers = sorted(number for number in upload.parts if number > after)
        shown: list[Value] = [self._listed(number, upload.parts[number]) for number in numbers[:most]]
        body: dict[str, Value] = {"Bucket": call.bucket, "Key": call.key, "UploadId": upload.id, "PartNumberMarker": after}
        if numbers[:most]:
            body["NextPartNumberMarker"] = numbers[:most][-1]
        body |= {"MaxParts": most, "IsTruncated": len(numbers) > most, "StorageClass": upload.fields.storage_class}
        if upload.algorithm is not None:
            body |= {"ChecksumAlgorithm": upload.algorithm, "ChecksumType": upload.kind}
        return Response(200, [XML], document("ListPartsResult", {**body, "Part": shown}))

    def _listed(self, number: int, part: Part) -> dict[str, Value]:
        said: dict[str, Value] = {"PartNumber": number, "LastModified": timestamp(part.modified), "ETag": f'"{part.etag}"'}
        if part.checksum is not None:
            said[part.checksum.tag] = part.checksum.value
        return {**said, "Size": len(part.data)}

    def list_uploads(self, call: Call) -> Response:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html"""
        if "delimiter" in call.query:
            raise not_implemented()
        self._store.bucket(call.bucket)
        prefix, most = call.query.get("prefix", ""), min(call.number("max-uploads", 1000), 1000)
        after = (call.query.get("key-marker", "").encode(), call.query.get("upload-id-marker", "\U0010ffff"))
        found = sorted(
            (upload for upload in self.open.values() if upload.bucket == call.bucket and upload.key.startswith(prefix)),
            key=lambda upload: (upload.key.encode(), upload.id),
        )
        if call.query.get("key-marker"):
            found = [upload for upload in found if (upload.key.encode(), upload.id) > after]
        shown: list[Value] = [
            {"Key": each.key, "UploadId": each.id, "Initiated": timestamp(each.begun), "StorageClass": each.fields.storage_class}
            for each in found[:most]
        ]
        body: dict[str, Value] = {"Bucket": call.bucket, "Prefix": prefix, "MaxUploads": most, "IsTruncated": len(found) > most}
        if len(found) > most:
            body |= {"NextKeyMarker": found[most - 1].key, "NextUploadIdMarker": found[most - 1].id}
        return Response(200, [XML], document("ListMultipartUploadsResult", {**body, "Upload": shown}))


def _part_number(call: Call) -> int:
    text = call.query.get("partNumber", "")
    if not (text.isdecimal() and 1 <= int(text) <= MOST):
        raise invalid_argument(f"Part number must be an integer between 1 and {MOST}, inclusive", "partNumber", text)
    return int(text)


def _type_mismatch(wanted: str | None, actual: str | None) -> S3Error:
    names = [(name or "null").lower() for name in (wanted, actual)]
    text = f"Checksum Type mismatch occurred, expected checksum Type: {names[0]}, actual checksum Type: {names[1]}"
    return invalid_request(text)


def _invalid_part(upload: Upload, number: int, etag: str) -> S3Error:
    text = (
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity "
        "tag may not match the part's entity tag."
    )
    return S3Error(400, "InvalidPart", text, UploadId=upload.id, PartNumber=str(number), ETag=etag)


def _too_small(part: Part, number: int) -> S3Error:
    text = "Your proposed upload is smaller than the minimum allowed size"
    sizes = {"ProposedSize": str(len(part.data)), "MinSizeAllowed": str(SMALLEST)}
    return S3Error(400, "EntityTooSmall", text, **sizes, PartNumber=str(number), ETag=part.etag)
