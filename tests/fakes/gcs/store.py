"""What the service keeps: buckets, live objects, generations. In memory, with the checks that guard every write.

Every method runs without giving up the event loop, so that check and change are one step, as they are in the real service.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import google_crc32c

from tests.fakes.gcs.errors import GcsError, no_bucket, no_object, rate_limited

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.gcs.preconditions import Preconditions


@dataclass(slots=True)
class Hashes:
    """Running checksums: large uploads are hashed piece by piece, so that no single request stops the server for long."""

    crc: int = 0
    digest: Any = None

    @classmethod
    def start(cls, *, md5: bool) -> Hashes:
        return cls(0, hashlib.md5(usedforsecurity=False) if md5 else None)

    def add(self, data: bytes) -> None:
        self.crc = google_crc32c.extend(self.crc, data)
        if self.digest is not None:
            self.digest.update(data)

    @property
    def crc32c(self) -> str:
        """Base64 of the big-endian value: https://cloud.google.com/storage/docs/json_api/v1/objects#crc32c"""
        return base64.b64encode(self.crc.to_bytes(4, "big")).decode()

    @property
    def md5(self) -> str | None:
        return None if self.digest is None else base64.b64encode(self.digest.digest()).decode()


@dataclass(slots=True)
class Blob:
    """A live object. `fields` holds what a client may write: contentType, metadata, cacheControl, ..."""

    bucket: str
    name: str
    data: bytes
    crc32c: str
    md5: str | None
    fields: dict[str, Any]
    generation: int
    metageneration: int
    created: float
    updated: float
    components: int | None = None


@dataclass(slots=True)
class Content:
    """What is to be written: bytes, their checksums as the server computed them, and the writable fields."""

    data: bytes
    crc32c: str
    md5: str | None
    fields: dict[str, Any]
    components: int | None = None


@dataclass(slots=True)
class Bucket:
    name: str
    created: float
    blobs: dict[str, Blob] = field(default_factory=dict)
    _sorted: list[str] | None = None

    def names(self) -> list[str]:
        """All names in the order of their UTF-8 bytes, which is that of their code points. Sorted only when something changed."""
        if self._sorted is None:
            self._sorted = sorted(self.blobs)
        return self._sorted

    def changed(self) -> None:
        self._sorted = None


class Store:
    """Buckets and objects, plus `writes`: every (bucket, name, generation) that was ever made, in order."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, rate_limit: bool = False, data_limit: int | None = None
    ) -> None:
        self.clock = clock
        self.rate_limit = rate_limit
        self.data_limit = data_limit
        self.buckets: dict[str, Bucket] = {}
        self.writes: list[tuple[str, str, int]] = []
        self.stored_bytes = 0
        self._last_generation = 0
        self._last_write: dict[tuple[str, str], float] = {}

    def create_bucket(self, name: str) -> Bucket:
        if name in self.buckets:
            text = "Your previous request to create the named bucket succeeded and you already own it."
            raise GcsError(409, "conflict", text)
        self.buckets[name] = Bucket(name, self.clock())
        return self.buckets[name]

    def delete_bucket(self, name: str) -> None:
        if self.bucket(name).blobs:
            raise GcsError(409, "conflict", "The bucket you tried to delete is not empty.")
        del self.buckets[name]

    def bucket(self, name: str) -> Bucket:
        try:
            return self.buckets[name]
        except KeyError:
            raise no_bucket() from None

    def find(self, bucket: str, name: str) -> Blob | None:
        return self.bucket(bucket).blobs.get(name)

    def get(self, bucket: str, name: str, generation: int | None = None) -> Blob:
        """The live object; another generation than the live one is gone, because no versions are kept."""
        blob = self.find(bucket, name)
        if blob is None or generation not in {None, blob.generation}:
            raise no_object(bucket, name)
        return blob

    def put(self, bucket: str, name: str, content: Content, preconditions: Preconditions) -> Blob:
        """Write whole or not at all."""
        home = self.bucket(bucket)
        old = home.blobs.get(name)
        preconditions.check_write(old)
        growth = len(content.data) - (len(old.data) if old else 0)
        if self.data_limit is not None and self.stored_bytes + growth > self.data_limit:
            raise GcsError(403, "quotaExceeded", f"This server was told to hold at most {self.data_limit} bytes.")
        self.check_rate(bucket, name)
        now = self.clock()
        generation = self._last_generation = max(self._last_generation + 1, int(now * 1_000_000))
        blob = Blob(
            bucket, name, content.data, content.crc32c, content.md5, content.fields, generation, 1, now, now, content.components
        )
        if old is None:
            home.changed()
        home.blobs[name] = blob
        self.stored_bytes += growth
        self.writes.append((bucket, name, generation))
        return blob

    def touch(self, blob: Blob, fields: dict[str, Any]) -> None:
        """New metadata for a live object: same generation, next metageneration."""
        self.check_rate(blob.bucket, blob.name)
        blob.fields = fields
        blob.metageneration += 1
        blob.updated = self.clock()

    def delete(self, blob: Blob) -> None:
        self.check_rate(blob.bucket, blob.name)
        self.forget(blob)

    def forget(self, blob: Blob) -> None:
        home = self.bucket(blob.bucket)
        del home.blobs[blob.name]
        home.changed()
        self.stored_bytes -= len(blob.data)

    def check_rate(self, bucket: str, name: str) -> None:
        """One mutation a second for each object name: https://cloud.google.com/storage/quotas#objects"""
        if not self.rate_limit:
            return
        now = self.clock()
        if now - self._last_write.get((bucket, name), float("-inf")) < 1:
            raise rate_limited(bucket, name)
        self._last_write[bucket, name] = now
