"""Objects written, copied, tagged, restored and deleted in one request.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.fakes.http import Response
from tests.fakes.s3 import checksums, conditions, fields, reads
from tests.fakes.s3.conditions import ANY, WriteCondition
from tests.fakes.s3.errors import S3Error, invalid_request, malformed_xml, precondition_failed
from tests.fakes.s3.payload import receive
from tests.fakes.s3.store import Content, check_readable
from tests.fakes.s3.xml import XML, document, parse

if TYPE_CHECKING:
    from collections.abc import Collection
    from xml.etree.ElementTree import Element

    from tests.fakes.s3.call import Call
    from tests.fakes.s3.signatures import Admission
    from tests.fakes.s3.store import Blob, Bucket, Store
    from tests.fakes.s3.xml import Value


class Objects:
    """`new`: the server knows checksums and conditional writes. `keys`: its KMS keys, None for any."""

    def __init__(self, store: Store, *, new: bool, keys: Collection[str] | None) -> None:
        self._store = store
        self._new = new
        self._keys = keys

    def fields_of(self, call: Call) -> fields.Fields:
        return fields.of(call.headers, self._store.bucket(call.bucket).encryption, self._keys, new=self._new)

    async def put(self, call: Call, admission: Admission | None) -> Response:
        home = self._store.bucket(call.bucket)
        described = self.fields_of(call)
        condition = WriteCondition.of(call.headers, home, call.key, new=self._new)
        payload = await receive(call, admission, new=self._new)
        blob = self._store.put(call.bucket, call.key, Content(payload.data, described, payload.checksum), condition)
        headers = self.written(home, blob)
        if self._new:
            whole = blob.whole_checksum
            headers += [(whole.header, whole.value), ("x-amz-checksum-type", whole.type)]
        return Response(200, headers)

    def written(self, home: Bucket, blob: Blob) -> list[tuple[str, str]]:
        return [("ETag", f'"{blob.etag}"'), *blob.fields.encryption.headers(), *reads.versioned(home, blob)]

    async def copy(self, call: Call, admission: Admission | None) -> Response:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""
        await receive(call, admission, new=False)
        name, _, query = call.headers["x-amz-copy-source"].partition("?versionId=")
        bucket, _, key = unquote(name).removeprefix("/").partition("/")
        source = self._store.get(bucket, key, query or None)
        prefix = "x-amz-copy-source-"
        wanted = {name.removeprefix(prefix): value for name, value in call.headers.items() if name.startswith(prefix)}
        try:
            conditions.check_read(wanted, source)
        except S3Error:
            raise precondition_failed("x-amz-copy-source-If-Match") from None
        check_readable(source)
        described = self.fields_of(call)
        if call.headers.get("x-amz-metadata-directive", "COPY") == "COPY":
            if (bucket, key) == (call.bucket, call.key) and "x-amz-storage-class" not in call.headers:
                text = "This copy request is illegal because it is trying to copy an object to itself without changing it."
                raise invalid_request(text)
            described = replace(
                described, headers=source.fields.headers, metadata=source.fields.metadata, tags=source.fields.tags
            )
        algorithm = call.headers.get("x-amz-checksum-algorithm") or (source.checksum.algorithm if source.checksum else None)
        checksum = checksums.of(checksums.algorithm_named(algorithm), source.data) if algorithm else None
        blob = self._store.put(call.bucket, call.key, Content(source.data, described, checksum), ANY)
        body = document("CopyObjectResult", {"LastModified": timestamp(blob.modified), "ETag": f'"{blob.etag}"'})
        return Response(200, [XML, *self.written(self._store.bucket(call.bucket), blob)[1:]], body)

    def delete(self, call: Call) -> Response:
        if self._new and (match := call.headers.get("if-match")) is not None:
            current = self._store.bucket(call.bucket).current(call.key)
            if current is not None and match.strip('"') not in ("*", current.etag):
                raise precondition_failed("If-Match")
        gone = self._store.delete(call.bucket, call.key, call.version_id)
        return Response(204, _deletion(gone))

    async def delete_many(self, call: Call, admission: Admission | None) -> Response:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""
        payload = await receive(call, admission, new=self._new)
        if payload.checksum is None and "content-md5" not in call.headers and self._new:
            raise invalid_request("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
        root = _parsed(payload.data, "Delete")
        entries = root.findall("Object")
        if not 0 < len(entries) <= 1000:
            raise malformed_xml()
        deleted: list[Value] = []
        for entry in entries:
            key, version_id = entry.findtext("Key") or "", entry.findtext("VersionId")
            gone = self._store.delete(call.bucket, key, version_id)
            said: dict[str, Value] = {"Key": key, "VersionId": version_id}
            if gone is not None and gone.delete_marker:
                said |= {"DeleteMarker": True, "DeleteMarkerVersionId": gone.version_id}
            deleted.append(said)
        quiet = root.findtext("Quiet") == "true"
        return Response(200, [XML], document("DeleteResult", {"Deleted": [] if quiet else deleted}))

    async def tag(self, call: Call, admission: Admission | None) -> Response:
        blob = self._store.get(call.bucket, call.key, call.version_id)
        found: tuple[tuple[str, str], ...] = ()
        if call.operation == "PutObjectTagging":
            payload = await receive(call, admission, new=self._new)
            root = _parsed(payload.data, "Tagging")
            found = tuple((tag.findtext("Key") or "", tag.findtext("Value") or "") for tag in root.iter("Tag"))
        blob.fields = replace(blob.fields, tags=fields.check_tags(found))
        status = 200 if call.operation == "PutObjectTagging" else 204
        return Response(status, reads.versioned(self._store.bucket(call.bucket), blob))

    def tags(self, call: Call) -> Response:
        blob = self._store.get(call.bucket, call.key, call.version_id)
        tags: list[Value] = [{"Key": name, "Value": value} for name, value in blob.fields.tags]
        body = document("Tagging", {"TagSet": {"Tag": tags}})
        return Response(200, [XML, *reads.versioned(self._store.bucket(call.bucket), blob)], body)

    async def restore(self, call: Call, admission: Admission | None) -> Response:
        """At once, where the real service takes hours. https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html"""
        await receive(call, admission, new=self._new)
        blob = self._store.get(call.bucket, call.key, call.version_id)
        status = 200 if blob.restored else 202
        if status == 202 and not blob.is_archived:
            text = "Restore is not allowed for the object's current storage class"
            raise S3Error(403, "InvalidObjectState", text, StorageClass=blob.fields.storage_class)
        blob.restored = True
        return Response(status)


def _parsed(data: bytes, name: str) -> Element:
    try:
        return parse(data, name)
    except ValueError:
        raise malformed_xml() from None


def _deletion(gone: Blob | None) -> list[tuple[str, str]]:
    if gone is None:
        return []
    marker = [("x-amz-delete-marker", "true")] if gone.delete_marker else []
    return [*marker, ("x-amz-version-id", gone.version_id)]


def timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(moment * 1000) % 1000:03}Z"
