"""Objects in the memory of this process: the reference for what the storage contract means, and the backend of fast tests.

`memory://name` names a store. Reader and writer of one store find each other by that name and by nothing else, because a location
is all that the registry hands over; so the stores are a table of this module. A store is there from `create` until `drop`, as a
bucket is, and one that was not created is LocationMissing. Nothing is shared between processes.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.checksums import crc32c as checksum
from common.errors import (
    ChecksumMismatch,
    InvalidName,
    LocationMissing,
    PreconditionFailed,
    Refused,
    SourceChanged,
    SourceMissing,
    TooLarge,
    UploadLost,
)
from common.objects import StoredObject, Version
from common.storage.base import LARGEST_READ, MIB, TIB, Absent, Body, Content, Limits, Page, PartReceipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from common.config import Settings, StoreOptions
    from common.location import Location
    from common.objects import Headers, Span
    from common.storage.base import Precondition, Reader, Upload, Writer
    from common.transport.http import Transport

LIMITS = Limits(largest_object=5 * TIB, largest_put=64 * MIB, parallel_parts=True, on_this_machine=True)
LONGEST_KEY = 1024
PAGE = 1000


@dataclass(frozen=True, slots=True)
class _Stored:
    object: StoredObject
    data: bytes


class Store:
    """The objects of one `memory://name`, by their full key. Ordered by the UTF-8 bytes of the keys."""

    def __init__(self, name: str, clock: Callable[[], datetime]) -> None:
        self.name = name
        self.writes = 0
        """Objects made visible so far: tests count with it that nothing was written twice."""
        self.uploads: dict[str, _Upload] = {}
        self._objects: dict[bytes, _Stored] = {}
        self._order: list[bytes] = []
        self._generations = itertools.count(1)
        self._tokens = itertools.count(1)
        self._clock = clock

    def get(self, name: bytes) -> _Stored | None:
        return self._objects.get(name)

    def after(self, name: bytes, most: int) -> list[tuple[bytes, StoredObject]]:
        """Up to `most` objects whose keys follow `name`."""
        start = bisect_right(self._order, name)
        return [(key, self._objects[key].object) for key in self._order[start : start + most]]

    def open(self, upload: _Upload) -> str:
        """Take the upload in; the answer names it."""
        token = f"upload-{next(self._tokens)}"
        self.uploads[token] = upload
        return token

    def write(self, name: bytes, body: Body, precondition: Precondition) -> StoredObject:
        """The one place where an object becomes visible: precondition, checksum and write are one step of the event loop."""
        key = name.decode()
        there = self._objects.get(name)
        if isinstance(precondition, Absent):
            if there is not None:
                raise PreconditionFailed(f"{key!r} exists")
        elif there is None or there.object.version != precondition.version:
            raise PreconditionFailed(f"{key!r} is not the version that was seen")
        _compare(key, body.data, body.crc32c)
        version = Version(str(next(self._generations)))
        stored = StoredObject(key, len(body.data), version, self._clock(), body.headers, body.crc32c)
        if there is None:
            insort(self._order, name)
        self._objects[name] = _Stored(stored, body.data)
        self.writes += 1
        return stored

    def remove(self, key: str) -> None:
        """Take an object away, as someone else would: the contract has no delete, tests need one."""
        name = _encoded("", key)
        if self._objects.pop(name, None) is not None:
            del self._order[bisect_left(self._order, name)]


_stores: dict[str, Store] = {}


def create(name: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Store:
    """The store of that name, which is made if there is none."""
    return _stores.setdefault(name, Store(name, clock))


def drop(name: str) -> None:
    """Forget the store and everything in it."""
    _stores.pop(name, None)


def reader(location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Reader:  # noqa: ARG001
    """A reader of the store of that name, which need not exist yet."""
    return MemoryReader(location)


async def ready(location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> None:
    """Always."""


def writer(location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Writer:  # noqa: ARG001
    """A writer to the store of that name, which need not exist yet."""
    return MemoryWriter(location)


class _Side:
    """What reader and writer have in common: the way to the store, and looking."""

    def __init__(self, location: Location) -> None:
        self.limits = LIMITS
        self._location = location

    async def stat(self, key: str) -> StoredObject | None:
        store = await self._store()
        try:
            there = store.get(_encoded(self._location.prefix, key))
        except InvalidName:
            return None
        return None if there is None else replace(there.object, key=key)

    async def close(self) -> None:
        """Nothing is held: the store outlives its readers and writers."""

    async def _store(self) -> Store:
        await asyncio.sleep(0)  # a real backend lets others run at every call; a fake that does not hides their races
        store = _stores.get(self._location.bucket)
        if store is None:
            raise LocationMissing(f"there is no store {self._location}: it lives in one process, from create() to drop()")
        return store


class MemoryReader(_Side):
    """One store as a source."""

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        prefix = self._location.prefix.encode("utf-8", "surrogatepass")
        behind = prefix + (after or "").encode("utf-8", "surrogatepass")
        while True:
            store = await self._store()
            found = store.after(behind, PAGE + 1)
            inside = [replace(each, key=name[len(prefix) :].decode()) for name, each in found if name.startswith(prefix)]
            page = inside[:PAGE]
            more = len(inside) > PAGE
            yield Page(page, page[-1].key if more else None)
            if not more:
                return
            behind = prefix + page[-1].key.encode("utf-8", "surrogatepass")

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        store = await self._store()
        try:
            stored = store.get(_encoded(self._location.prefix, key))
        except InvalidName as error:
            raise SourceMissing(str(error)) from error
        if stored is None:
            raise SourceMissing(f"{self._location.url(key)} does not exist")
        if version is not None and stored.object.version != version:
            raise SourceChanged(f"{self._location.url(key)} is version {stored.object.version.token}, not {version.token}")
        if span is not None and span.end > len(stored.data):
            raise SourceChanged(f"{self._location.url(key)} has {len(stored.data)} bytes, the span ends at {span.end}")
        if span is None and len(stored.data) > LARGEST_READ:
            raise Refused(
                f"{self._location.url(key)}: more than the {LARGEST_READ} bytes that a read of a whole object may bring"
            )
        data = stored.data if span is None else stored.data[span.start : span.end]
        return Content(replace(stored.object, key=key), data)


class MemoryWriter(_Side):
    """One store as a destination."""

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        store = await self._store()
        name = _encoded(self._location.prefix, key)
        if len(body.data) > LIMITS.largest_put:
            raise TooLarge(f"{key!r}: one put takes {LIMITS.largest_put} bytes, this is {len(body.data)}")
        return replace(store.write(name, body, precondition), key=key)

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        store = await self._store()
        name = _encoded(self._location.prefix, key)
        if size > LIMITS.largest_object:
            raise TooLarge(f"{key!r}: an object has at most {LIMITS.largest_object} bytes, this is {size}")
        if token is not None and token in store.uploads:
            return store.uploads[token]
        upload = _Upload(store, key, name=name, size=size, headers=headers, precondition=precondition)
        if token is not None:
            del store.uploads[upload.token]  # unknown, and its first use says so
        return upload


class _Upload:
    """Parts by number, until they are put together."""

    def __init__(self, store: Store, key: str, *, name: bytes, size: int, headers: Headers, precondition: Precondition) -> None:
        self.token = store.open(self)
        self._store = store
        self._name = name
        self._key = key
        self._size = size
        self._headers = headers
        self._precondition = precondition
        self._parts: dict[int, tuple[int, bytes]] = {}

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        await self._still_known()
        if offset + len(data) > self._size:
            raise Refused(f"{self._key!r}: part {number} ends behind the {self._size} bytes of the upload")
        _compare(f"part {number} of {self._key}", data, crc32c)
        self._parts[number] = (offset, data)
        return PartReceipt(number, len(data), crc32c)

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        await self._still_known()
        data = b"".join(self._collect(receipts))
        if len(data) != self._size:
            raise Refused(f"{self._key!r}: the parts have {len(data)} bytes together, the upload {self._size}")
        stored = self._store.write(self._name, Body(data, crc32c, self._headers), self._precondition)
        del self._store.uploads[self.token]
        return replace(stored, key=self._key)

    async def abort(self) -> None:
        await asyncio.sleep(0)
        self._store.uploads.pop(self.token, None)
        self._parts.clear()

    async def _still_known(self) -> None:
        await asyncio.sleep(0)
        if self.token not in self._store.uploads:
            raise UploadLost(f"the upload of {self._key!r} is over: it was completed or aborted")

    def _collect(self, receipts: Sequence[PartReceipt]) -> list[bytes]:
        chosen = []
        position = 0
        for receipt in sorted(receipts, key=lambda receipt: receipt.number):
            offset, data = self._parts.get(receipt.number, (-1, b""))
            if (offset, len(data)) != (position, receipt.size):
                raise Refused(f"{self._key!r}: part {receipt.number} is not the part that its receipt names")
            chosen.append(data)
            position += len(data)
        return chosen


def _encoded(prefix: str, key: str) -> bytes:
    if not key:
        raise InvalidName("a key has at least one character")
    try:
        name = (prefix + key).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidName(f"{key!r} is not Unicode text: {error.reason}") from error
    if len(name) > LONGEST_KEY:
        raise InvalidName(f"{key[:40]!r}… has {len(name)} bytes, at most {LONGEST_KEY} are allowed")
    return name


def _compare(what: str, data: bytes, crc32c: int) -> None:
    found = checksum(data)
    if found != crc32c:
        raise ChecksumMismatch(f"{what}: the bytes have crc32c {found:08x}, {crc32c:08x} was announced")
