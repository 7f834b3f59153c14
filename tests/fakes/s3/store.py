"""What the service keeps: buckets, and of each key its versions. In memory, with the conditions that guard every write.

Every method runs without giving up the event loop, so that check and change are one step, as they are in the real service.
Versions: https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.fakes.s3 import checksums
from tests.fakes.s3.errors import S3Error, denied, invalid_argument, no_bucket, no_key, no_version
from tests.fakes.s3.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.s3.checksums import Checksum
    from tests.fakes.s3.conditions import WriteCondition

NULL = "null"
ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_BUCKET_NAME = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_VERSION_ID = re.compile(r"[A-Za-z0-9._-]{1,1024}")


class Versioning(StrEnum):
    NEVER = ""
    ENABLED = "Enabled"
    SUSPENDED = "Suspended"


@dataclass(slots=True, eq=False)
class Blob:
    """One version of an object. A delete marker has no bytes. `parts`: sizes, of an object that was uploaded in parts."""

    key: str
    data: bytes
    etag: str
    version_id: str
    modified: float
    fields: Fields
    checksum: Checksum | None = None
    parts: tuple[int, ...] = ()
    delete_marker: bool = False
    restored: bool = False
    """A copy of the archived bytes can be read for a while."""
    archive: str | None = None
    """The tier to which Intelligent-Tiering has moved it, which no listing tells."""

    @property
    def whole_checksum(self) -> Checksum:
        """Without one of its own an object gets CRC64NVME, reckoned when somebody asks for it."""
        if self.checksum is None:
            self.checksum = checksums.of("CRC64NVME", self.data)
        return self.checksum

    @property
    def is_archived(self) -> bool:
        return not self.restored and (self.fields.storage_class in ARCHIVED or self.archive is not None)


@dataclass(slots=True)
class Bucket:
    name: str
    created: float
    region: str
    versioning: Versioning = Versioning.NEVER
    requester_pays: bool = False
    public: bool = False
    """Anybody may read and list, unsigned."""
    encryption: tuple[str, str | None] = ("AES256", None)
    """What objects get that do not ask for another."""
    versions: dict[str, list[Blob]] = field(default_factory=dict)
    """Of each key, the newest last."""
    deleted: dict[str, int] = field(default_factory=dict)
    """How often each key was deleted: a conditional write in mid-flight sees whether it happened meanwhile."""
    _sorted: list[str] | None = None

    def current(self, key: str) -> Blob | None:
        """None where nothing is, and where the newest version is a delete marker."""
        newest = self.newest(key)
        return None if newest is None or newest.delete_marker else newest

    def newest(self, key: str) -> Blob | None:
        found = self.versions.get(key)
        return found[-1] if found else None

    def sorted_keys(self) -> list[str]:
        """All keys, also those with nothing but a delete marker, in the order of their UTF-8 bytes."""
        if self._sorted is None:
            self._sorted = sorted(self.versions, key=lambda key: key.encode())
        return self._sorted

    def add(self, blob: Blob) -> None:
        kept = self.versions.setdefault(blob.key, [])
        if not kept:
            self._sorted = None
        if blob.version_id == NULL:
            kept[:] = [other for other in kept if other.version_id != NULL]
        kept.append(blob)

    def drop(self, blob: Blob) -> None:
        self.versions[blob.key].remove(blob)
        if not self.versions[blob.key]:
            del self.versions[blob.key]
            self._sorted = None


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be written. `etag`: of an object made of parts; of others it is reckoned here."""

    data: bytes
    fields: Fields
    checksum: Checksum | None = None
    etag: str | None = None
    parts: tuple[int, ...] = ()


class Store:
    """Buckets and objects, plus `writes`: every (bucket, key, version id) that was ever made, in order."""

    def __init__(self, clock: Callable[[], float], region: str) -> None:
        self.clock = clock
        self.region = region
        self.buckets: dict[str, Bucket] = {}
        self.writes: list[tuple[str, str, str]] = []

    def create_bucket(self, name: str, region: str | None = None) -> Bucket:
        if not _BUCKET_NAME.fullmatch(name) or ".." in name:
            raise S3Error(400, "InvalidBucketName", "The specified bucket is not valid.", BucketName=name)
        if name in self.buckets:
            text = "Your previous request to create the named bucket succeeded and you already own it."
            raise S3Error(409, "BucketAlreadyOwnedByYou", text, BucketName=name)
        self.buckets[name] = Bucket(name, self.clock(), region or self.region)
        return self.buckets[name]

    def delete_bucket(self, name: str) -> None:
        if self.bucket(name).versions:
            raise S3Error(409, "BucketNotEmpty", "The bucket you tried to delete is not empty", BucketName=name)
        del self.buckets[name]

    def bucket(self, name: str) -> Bucket:
        try:
            return self.buckets[name]
        except KeyError:
            raise no_bucket(name) from None

    def get(self, bucket: str, key: str, version_id: str | None = None) -> Blob:
        """The version asked for, or the current one. https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html"""
        home = self.bucket(bucket)
        if version_id is None:
            newest = home.newest(key)
            if newest is None:
                raise no_key(key)
            if newest.delete_marker:
                error = no_key(key)
                error.headers += [("x-amz-delete-marker", "true"), ("x-amz-version-id", newest.version_id)]
                raise error
            return newest
        blob = self.version(home, key, version_id)
        if blob.delete_marker:
            headers = [("x-amz-delete-marker", "true"), ("Allow", "DELETE"), ("x-amz-version-id", version_id)]
            text = "The specified method is not allowed against this resource."
            raise S3Error(405, "MethodNotAllowed", text, headers, Method="GET", ResourceType="DeleteMarker")
        return blob

    def version(self, home: Bucket, key: str, version_id: str) -> Blob:
        if not _VERSION_ID.fullmatch(version_id):
            raise invalid_argument("Invalid version id specified", "versionId", version_id)
        for blob in home.versions.get(key, ()):
            if blob.version_id == version_id:
                return blob
        raise no_version(key, version_id)

    def put(self, bucket: str, key: str, content: Content, condition: WriteCondition) -> Blob:
        """Write whole or not at all."""
        home = self.bucket(bucket)
        condition.check(home, key)
        version_id = new_version_id() if home.versioning is Versioning.ENABLED else NULL
        etag = content.etag or self._etag(content)
        blob = Blob(key, content.data, etag, version_id, self.clock(), content.fields, content.checksum, content.parts)
        home.add(blob)
        self.writes.append((bucket, key, version_id))
        return blob

    def _etag(self, content: Content) -> str:
        """The MD5 of the bytes, unless they were encrypted with a key that is not S3's own: then it is no hash of them
        (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).
        """
        if content.fields.encryption.hides_md5:
            return secrets.token_hex(16)
        return hashlib.md5(content.data, usedforsecurity=False).hexdigest()

    def delete(self, bucket: str, key: str, version_id: str | None = None) -> Blob | None:
        """The version that went, or the marker that came; None when nothing was there to delete."""
        home = self.bucket(bucket)
        home.deleted[key] = home.deleted.get(key, 0) + 1
        if version_id is not None:
            try:
                blob = self.version(home, key, version_id)
            except S3Error as error:
                if error.code == "NoSuchVersion":
                    return None
                raise
            home.drop(blob)
            return blob
        if home.versioning is Versioning.NEVER:
            current = home.current(key)
            if current is not None:
                home.drop(current)
            return None
        version_id = new_version_id() if home.versioning is Versioning.ENABLED else NULL
        marker = Blob(key, b"", "", version_id, self.clock(), Fields(), delete_marker=True)
        home.add(marker)
        return marker


def new_version_id() -> str:
    return secrets.token_urlsafe(24).replace("-", ".")


def check_readable(blob: Blob) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html: archived bytes must be restored first."""
    if not blob.is_archived:
        return
    elements = {"StorageClass": blob.fields.storage_class}
    if blob.archive is not None:
        elements["AccessTier"] = blob.archive
    raise S3Error(403, "InvalidObjectState", "The operation is not valid for the object's storage class", **elements)


def check_payer(home: Bucket, said: str | None) -> bool:
    """True when the requester is charged. https://docs.aws.amazon.com/AmazonS3/latest/userguide/ObjectsinRequesterPaysBuckets.html"""
    if not home.requester_pays:
        return False
    if said != "requester":
        raise denied()
    return True
