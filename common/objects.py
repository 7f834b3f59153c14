"""What an object is, seen from outside: key, size, version, and what it carries along."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


UNSIZED = -1
"""The size of what has none before it is read: the export of a document. At most `Limits.largest_unsized` bytes will come."""


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Version:
    """Which bytes are meant.

    `token` is opaque and compared as a string: an S3 ETag without its quotes, a GCS generation, a file's
    "mtime-size-inode" and its ctime. It is never read as a content hash (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html).
    `id` is the store's own name of it: an S3 version id, the id of a file on Drive; None where it has none. S3 is never read by
    it, because S3 keeps versions that have been replaced, and those must not go over newer ones.
    """

    token: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Headers:
    """What is stored beside the bytes and carried along. None means the source does not say."""

    content_type: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    metadata: Mapping[str, str] = field(default_factory=_nothing)
    """User metadata, lower-case names without the provider's prefix."""
    expires: str | None = None
    """A date of HTTP, as somebody wrote it."""
    website_redirect: str | None = None
    """Where a bucket that is a website leads whoever asks for the object."""
    custom_time: str | None = None
    """RFC 3339: what lifecycle rules of GCS go by."""
    storage_class: str | None = None
    """To a writer: the class to store the object in, in the destination's words; None leaves it to the location. A reader says
    `StoredObject.storage_class`."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as its store describes it. `key` is relative to the location, exactly as stored, never a path.

    A listing fills key, size, version and modified (UTC); headers and checksums are filled by stat, read and put where the store
    has them. `crc32c` and `crc64nvme` are the unsigned values over the whole object, `md5` is 32 lower-case hex digits; each is
    None where the store does not vouch for it. `digests` are its other checksums of all bytes (crc32, sha1, sha256), in
    lower-case hex digits.
    """

    key: str
    size: int
    version: Version
    modified: datetime | None = None
    headers: Headers = field(default_factory=Headers)
    crc32c: int | None = None
    crc64nvme: int | None = None
    md5: str | None = None
    digests: Mapping[str, str] = field(default_factory=_nothing)
    storage_class: str | None = None
    tags: int = 0
    """How many it has, as far as the store tells unasked; they are not carried."""
    nanoseconds: int = 0
    """What `modified` cannot hold: 0 to 999, behind its microsecond."""
    uncarried: Mapping[str, str] = field(default_factory=_nothing)
    """What else the store says of it, and nobody here carries, by the store's own names: holds, locks, keys, what is new."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` (included) to `end` (excluded) of an object; never empty."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a span runs forward and is not empty, got {self.start}..{self.end}")

    def __len__(self) -> int:
        return self.end - self.start
