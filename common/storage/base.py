"""The storage contract: five verbs to read, four to write, and what differs between backends as data.

A read asks for a span and gets that span as one buffer. Spans are never larger than a part, so that memory is bounded by
whoever asks; there is no half-read stream to close, a short answer cannot be taken for the end, and a retry repeats one
request. Delete, rename and ACLs are left out on purpose: a replicator that cannot delete cannot lose data.

Every method raises only `common.errors.ObjectError` kinds (and CancelledError). Readers and writers are used by many
coroutines of one event loop at once; they are not thread-safe. `close` may be called twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from common.errors import ObjectError
    from common.objects import Headers, Span, StoredObject, Version


MIB = 1024 * 1024
TIB = 1024 * 1024 * MIB
LARGEST_READ = 64 * MIB
"""A read of a whole object brings no more than this into memory."""


def _everything(headers: Headers) -> Headers:
    return headers


def _never(_one: str, _other: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a backend can do, as data. Sizes in bytes."""

    largest_object: int
    largest_put: int
    """The largest object that one `put` may write; larger ones go through `begin`."""
    part_multiple: int = 1
    """Every part but the last is a multiple of this."""
    smallest_part: int = 1
    """Every part but the last is at least this large."""
    most_parts: int = 1_000_000
    parallel_parts: bool = False
    """Parts may be written at the same time and in any order."""
    preconditions: bool = True
    """The service itself refuses a write whose precondition does not hold; False: we look before we write."""
    ordered_listing: bool = True
    """`list` yields keys in ascending order of their UTF-8 bytes and can start after a key."""
    parallel_listing: bool = False
    """The reader is a `RangesReader`."""
    largest_unsized: int = 0
    """`list` and `stat` may say UNSIZED of an object, which then has at most this many bytes and is only read whole."""
    compares_bytes: bool = True
    """Wrong bytes never appear under an object's name: the service compares what arrives with a checksum, or we do before it is
    there. False: an object that says what it was made from may still be of other bytes."""
    on_this_machine: bool = False
    """The bytes come from this machine and stay there: nothing on the way can damage them unseen."""
    reads_by_key: bool = True
    """A pinned read fails once the key holds another version; False: the version is found without its key, which may mean
    something else by now. Who is about to write over something asks `stat` first."""
    may_be_same: Callable[[str, str], bool] = _never
    """Whether two version tokens differ only in what may change without the bytes. Such a version is compared with what was
    copied before anything is written."""
    lists_as_it_is: bool = True
    """What is listed was there a moment ago; False: at a time that may be long ago, as an inventory's."""
    tells_changes: bool = False
    """The reader is a `ChangesReader`."""
    keeps_metadata: bool = True
    """User metadata is stored with the object: the source version can be found there when the cache is lost."""
    kept: Callable[[Headers], Headers] = _everything
    """What of these headers a write can store here: all, or what is left without those that do not fit. A writer that is given
    others raises Refused."""


@dataclass(frozen=True, slots=True)
class Absent:
    """Write only if nothing is there."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Write only over this version."""

    version: Version


Precondition = Absent | Matches


@dataclass(frozen=True, slots=True)
class Content:
    """The answer to a read: the object that the bytes belong to (whole size, version, headers) and the bytes asked for.

    Of a whole object whose checksum is told, the reader has compared it with the bytes.
    """

    object: StoredObject
    data: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """An entry of a listing that names something which cannot be replicated as it stands: a directory that cannot be read, an
    entry without what an object needs. It fails alone; the entries around it go on.
    """

    key: str
    """What the entry is called, relative to the location; may be a directory."""
    error: ObjectError


def _none_left_out() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. `after` resumes the listing behind this page; None on the last page.

    Where an object is dearer to make than to list, `objects` is a `common.storage.listed.Listed`.
    """

    objects: Sequence[StoredObject]
    after: str | None
    faults: Sequence[Fault] = ()
    left_out: Mapping[str, int] = field(default_factory=_none_left_out)
    """Entries that the reader leaves out on purpose, counted by reason: one lower-case word or two joined by "_"."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a put stores. `crc32c` is of `data`; the backend sends it along and compares the service's own."""

    data: bytes
    crc32c: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class PartReceipt:
    """Proof that part `number` (from 0) arrived; `token` is the backend's own (an S3 part ETag), "" where it has none."""

    number: int
    size: int
    crc32c: int
    token: str = ""
    stored: bool = True
    """False: the upload keeps the bytes until `complete`; in another process they are to be given to it again."""
    crc64nvme: int | None = None
    """Filled in by who moves the parts, for a source that keeps this checksum."""


class Reader(Protocol):
    """One source location."""

    limits: Limits

    async def stat(self, key: str) -> StoredObject | None:
        """The object as it is now, with headers; None if there is none."""
        ...

    def list(self, after: str | None = None) -> AsyncIterator[Page]:
        """Pages of the whole location, behind the checkpoint `after` (a value of `Page.after`). One page in memory at a time."""
        ...

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        """The bytes of `span` (None: the whole object, which may be empty), pinned to `version` (None: whatever is there).

        A whole object that turns out to be larger than LARGEST_READ is an error, not a surprise in memory. The object that comes
        with the bytes has its headers when the bytes start at 0; later spans need not repeat them.

        Raises SourceChanged when the source holds another version now (even if it keeps this one beside it), SourceMissing when
        it holds none. Exactly `len(span)` bytes come back, or an error.
        """
        ...

    async def close(self) -> None: ...


class ChangesReader(Reader, Protocol):
    """A reader of a service that tells what has changed, which for a large location costs far less than to list it."""

    async def mark(self) -> str | None:
        """A value for `list` that brings, at any later time, what has changed from now on; perhaps more than that, and everything
        where the service has forgotten so much. None: not for this location.
        """
        ...


class RangesReader(Reader, Protocol):
    """A reader whose `Page.after` is the last key of its page, and whose `list` may perhaps begin behind any text, so that ranges
    of the listing can be listed side by side.
    """

    async def divisible(self, after: str | None, keys: Sequence[str]) -> bool:
        """Whether it may. The service is asked where that is not known of it: `keys` are of a page that it listed behind `after`.
        False where it is not certain.
        """
        ...

    async def indivisible(self) -> None:
        """A range was found to lack keys that the one before it went on to: whatever `divisible` said is not so."""
        ...


class Writer(Protocol):
    """One destination location."""

    @property
    def limits(self) -> Limits:
        """`preconditions` may change while a service is found out; everything else stays."""
        ...

    async def stat(self, key: str) -> StoredObject | None:
        """The object as it is now, with headers and checksum where the service has one; None if there is none."""
        ...

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        """Write the object whole or not at all. The answer is the service's own word: size, version, checksum.

        Raises PreconditionFailed, ChecksumMismatch (then nothing was stored), InvalidName.
        """
        ...

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        """Open an upload of `size` bytes in parts. Nothing is visible before `Upload.complete`.

        With the `token` of an upload that was begun with the same arguments, perhaps by a process that is no more: go on with
        that one. Whether it is still known shows at its first use (UploadLost).
        """
        ...

    async def close(self) -> None: ...


class Upload(Protocol):
    """An upload under way. Parts are numbered from 0; in sequence unless `Limits.parallel_parts`."""

    token: str
    """Names the upload at the service and outlives this process. A secret where it grants access: never logged."""

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        """Store one part. May be called again with the same number and bytes after an error: nothing is stored twice.

        Raises UploadLost when the service no longer knows the upload.
        """
        ...

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        """Make the object visible, whole. `crc32c` is of all bytes; it is compared with the service's own where there is one.

        Raises PreconditionFailed, ChecksumMismatch.
        """
        ...

    async def abort(self) -> None:
        """Give the upload up and free what it holds at the service. Safe at any time, also twice."""
        ...
