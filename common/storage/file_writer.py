"""Writing files whole or not at all.

A file is written under a name of its own in the staging directory, gets its note, is put on the disk (fsync), and only then
appears under its key, in one step. What is promised:
 * Absent: the kernel's `link` refuses an existing name. Nobody's file is ever overwritten, whoever wrote it.
 * Matches: the file is compared and then replaced by `rename` while the directory is locked (flock). Our writers on one machine
   exclude each other; a program that does not take the lock and writes in the microseconds between compare and rename is
   overwritten.
 * On filesystems without hard links, Absent is as good as Matches; without locks (some network filesystems), both rely on the
   compare alone.
 * After an answer of success the bytes and the name survive a power cut, as far as the disk keeps its word about fsync.
A staging file that nobody has written to for a day belongs to a crashed run, and is removed when a writer is opened.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from common.checksums import crc32c as checksum
from common.errors import (
    ChecksumMismatch,
    InvalidName,
    ObjectError,
    PreconditionFailed,
    Refused,
    TooLarge,
    Unavailable,
    UploadLost,
)
from common.storage.base import MIB, Absent, PartReceipt
from common.storage.file_note import MOST_ROOM, Note, describe, kept, source_mode, stat_file, write_note
from common.storage.file_staging import Staging
from common.storage.file_tree import failure, is_gone, segments
from common.storage.source_time import of_file
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.objects import Headers, StoredObject
    from common.storage.base import Body, Limits, Precondition, Upload
    from common.storage.file_staging import Filesystem
    from common.storage.file_tree import Tree

DAY = 24 * 3600.0
BLOCK = MIB
"""How much of a finished upload is in memory while it is read back."""

log = get_logger(__name__)


class FileWriter:
    """One directory as a destination. Holds nothing open between calls; every call does its work in a thread."""

    def __init__(self, tree: Tree, staging: Staging, limits: Limits) -> None:
        self.limits = replace(limits, kept=self._kept)
        self._tree = tree
        self._staging = staging
        self._filesystem: Filesystem | None = None
        self._unknown = False
        """What it can do could not be found out when the writer was opened."""

    @classmethod
    def open(cls, tree: Tree, limits: Limits, *, now: float | None = None) -> FileWriter:
        """A writer that knows what its filesystem keeps (`limits.kept`, `limits.keeps_metadata`), with leftovers removed.

        A directory that cannot be used is not reported here but by every call, as other backends do; the first that finds it
        usable then asks what it keeps.
        """
        writer = cls(tree, Staging(tree), limits)
        moment = time.time() if now is None else now
        try:
            if removed := writer._staging.sweep(moment - DAY):
                log.info("removed what crashed uploads left behind", action="staging_swept", location=tree.root, files=removed)
            writer._learn()
        except ObjectError as error:
            writer._unknown = True
            log.debug("the directory cannot be looked at", action="staging_unknown", location=tree.root, error=str(error))
        return writer

    def _learn(self) -> Filesystem:
        """What the filesystem can do, asked once. Raises ObjectError where that cannot be known now."""
        if self._filesystem is not None:
            return self._filesystem
        found = self._staging.filesystem()
        if found is None:
            raise failure(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), self._tree.root)
        if not found.room:
            log.warning(
                "this filesystem has no extended attributes: metadata is not kept, and a lost cache means copying again",
                action="metadata_not_kept",
                location=self._tree.root,
            )
        self._tree.folds = found.folds
        self.limits = replace(self.limits, keeps_metadata=found.room > 0)
        self._filesystem = found
        return found

    def _kept(self, headers: Headers) -> Headers:
        """All that any filesystem keeps, while it is not known what this one does: then `_fitting` looks again."""
        known = self._filesystem
        return kept(headers, MOST_ROOM) if known is None else kept(headers, known.room, modes=known.modes is not None)

    def _fitting(self, key: str, headers: Headers) -> Filesystem:
        """What the filesystem can do, and that it keeps these headers. Raises Refused; Unavailable where they were chosen before
        that was known, to be chosen again.
        """
        known = self._learn()
        if (known.room or self._unknown) and self._kept(headers) != headers:
            kind = Unavailable if self._unknown else Refused
            raise kind(f"{key!r}: its headers and metadata are more than this filesystem keeps with a file ({known.room} bytes)")
        return known

    async def stat(self, key: str) -> StoredObject | None:
        return await asyncio.to_thread(stat_file, self._tree, key)

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        return await asyncio.to_thread(self._put, key, body, precondition)

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        return await asyncio.to_thread(self._begin, key, size, headers, precondition, token)

    async def close(self) -> None:
        """Take the staging directory away if nothing is in it. Uploads under way keep it."""
        await asyncio.to_thread(self._staging.tidy)

    def _put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        steps = segments(key)
        if len(body.data) > self.limits.largest_put:
            raise TooLarge(f"{key!r}: one put takes {self.limits.largest_put} bytes, this is {len(body.data)}")
        _compare(key, checksum(body.data), body.crc32c)
        self._fitting(key, body.headers)
        name = self._staging.create(0)
        try:
            with self._staging.file(name) as descriptor:
                write_all(descriptor, body.data, 0)
                return self._appear(descriptor, name, key, Note(body.headers, body.crc32c), precondition)
        except OSError as error:
            raise failure(error, self._tree.path(steps)) from error
        finally:
            self._staging.remove(name)

    def _begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None) -> FileUpload:
        segments(key)
        if size > self.limits.largest_object:
            raise TooLarge(f"{key!r}: an object has at most {self.limits.largest_object} bytes, this is {size}")
        if token is None:
            self._fitting(key, headers)
        name = self._staging.create(size) if token is None else token
        return FileUpload(self, self._staging, name=name, key=key, size=size, headers=headers, precondition=precondition)

    def _appear(self, descriptor: int, name: str, key: str, about: Note, precondition: Precondition) -> StoredObject:
        """Give the file, whose bytes are there and compared, all that it keeps beside them, and its name. It is described as it
        is afterwards: its name, and the loss of the one in the staging directory, move its change time.
        """
        note = self._finish(descriptor, key, about)
        self._publish(name, key, segments(key), precondition)
        self._staging.remove(name)
        return describe(key, os.fstat(descriptor), note)

    def _finish(self, descriptor: int, key: str, about: Note) -> Note:
        """Time, note, mode, disk: in this order, since the note names the time, a mode may forbid to write a note, and the disk
        is to have all of it.
        """
        known = self._learn()
        modified = of_file(about.headers.metadata)
        moment = time.time_ns() if modified is None else modified
        os.utime(descriptor, ns=(moment, moment))
        note = about if known.room else Note(crc32c=about.crc32c)
        if known.room:
            write_note(descriptor, note, key, known.room)
        mode = source_mode(about.headers.metadata)
        if mode is not None and known.modes is not None:
            os.fchmod(descriptor, mode & known.modes)
        os.fsync(descriptor)
        return note

    def _publish(self, name: str, key: str, steps: Sequence[bytes], precondition: Precondition) -> None:
        """Give the finished file its name, and put the name on the disk."""
        absent = isinstance(precondition, Absent)
        try:
            with self._tree.directory(steps[:-1], create=absent) as parent:
                if isinstance(precondition, Absent):
                    self._staging.link(name, steps[-1], parent, key)
                else:
                    self._staging.replace(name, steps[-1], parent, key, precondition.version)
                os.fsync(parent)
        except OSError as error:
            where = self._tree.path(steps)
            if is_gone(error) and not absent:
                raise PreconditionFailed(f"{where} is gone") from error
            if error.errno == errno.ENOENT:
                raise UploadLost(f"{where}: the uploaded file vanished from the staging directory") from error
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise InvalidName(f"{where} needs a directory where there is a file or a symbolic link") from error
            if error.errno == errno.EXDEV:
                text = f"{where} is on another filesystem than {self._tree.root}: make it a route of its own"
                raise Refused(text) from error
            raise failure(error, where) from error


class FileUpload:
    """A staging file that parts are written into, at their offsets, in any order and at the same time."""

    def __init__(
        self,
        writer: FileWriter,
        staging: Staging,
        *,
        name: str,
        key: str,
        size: int,
        headers: Headers,
        precondition: Precondition,
    ) -> None:
        self.token = name
        self._writer = writer
        self._staging = staging
        self._key = key
        self._size = size
        self._headers = headers
        self._precondition = precondition

    async def part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        return await asyncio.to_thread(self._part, number, offset, data, crc32c)

    async def complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        return await asyncio.to_thread(self._complete, receipts, crc32c)

    async def abort(self) -> None:
        await asyncio.to_thread(self._staging.remove, self.token)

    def _part(self, number: int, offset: int, data: bytes, crc32c: int) -> PartReceipt:
        if offset + len(data) > self._size:
            raise Refused(f"{self._key!r}: part {number} ends behind the {self._size} bytes of the upload")
        _compare(f"part {number} of {self._key}", checksum(data), crc32c)
        try:
            with self._staging.file(self.token) as descriptor:
                write_all(descriptor, data, offset)
        except OSError as error:
            raise self._failure(error) from error
        return PartReceipt(number, len(data), crc32c)

    def _complete(self, receipts: Sequence[PartReceipt], crc32c: int) -> StoredObject:
        if sorted(receipt.number for receipt in receipts) != list(range(len(receipts))):
            raise Refused(f"{self._key!r}: the receipts are not those of the parts 0 to {len(receipts) - 1}, each once")
        if (total := sum(receipt.size for receipt in receipts)) != self._size:
            raise Refused(f"{self._key!r}: the parts have {total} bytes together, the upload {self._size}")
        try:
            with self._staging.file(self.token) as descriptor:
                _compare(self._key, _checksum(descriptor, self._size), crc32c)
                about = Note(self._headers, crc32c)
                return self._writer._appear(descriptor, self.token, self._key, about, self._precondition)  # noqa: SLF001 - one backend, two classes
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> ObjectError:
        if is_gone(error):
            return UploadLost(f"the upload of {self._key!r} is over: it was completed, aborted, or left alone for too long")
        return failure(error, self._key)


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """All of the data, however the kernel cuts it."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest = rest[written:]
        offset += written


def _checksum(descriptor: int, size: int) -> int:
    """Of what the file really holds: read back, since a part that was never written leaves a hole and no error."""
    crc32c = 0
    for start in range(0, size, BLOCK):
        crc32c = checksum(os.pread(descriptor, min(BLOCK, size - start), start), crc32c)
    return crc32c


def _compare(what: str, found: int, announced: int) -> None:
    if found != announced:
        raise ChecksumMismatch(f"{what}: the bytes have crc32c {found:08x}, {announced:08x} was announced")
