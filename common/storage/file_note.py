"""What a file keeps beside its bytes: headers, user metadata and checksum, as JSON in one extended attribute.

The note belongs to the bytes that it was written with. Whoever edits the file later does not know of it, so it carries their
size and modification time, and is as good as absent when the file has others: a stale checksum or source version would be a
false proof.
"""

from __future__ import annotations

import errno
import json
import mimetypes
import os
import posixpath
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.errors import InvalidName, Refused
from common.objects import Headers, StoredObject, Version
from common.storage.file_tree import FULL, failure, is_gone, segments
from common.storage.metadata import HEADERS, fitting
from common.storage.names import SOURCE_MODE, SOURCE_MODIFIED
from common.storage.source_time import as_iso, of_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.storage.file_tree import Tree

ATTRIBUTE = "user.bucketbrigade"
FORMAT = 1

_NAMED = tuple(HEADERS)
_UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_TOO_LONG = (errno.E2BIG, errno.ERANGE)
_ROOM = (65536, 32768, 16384, 8000, 4000, 3500, 3000, 2000, 1000, 500)
"""XFS keeps 64 KiB, ext4 what is left of a block that all attributes of a file share."""
MOST_ROOM = _ROOM[0]
_SPARE_BLOCKS = 8
"""What a filesystem may need for one attribute beside its bytes."""
_MODE = re.compile(r"[0-7]{3,4}")
_PERMISSIONS = 0o777
"""setuid, setgid and the sticky bit are never carried: whoever may write to a bucket is not to make programs that run as somebody
else."""
_LARGEST_CRC32C = 2**32 - 1
_LARGEST_NUMBERS = (2**63 - 1, -(2**63))
"""Size and time of a file, at their longest."""

_TOKEN = re.compile(r"(-?\d+-\d+-\d+)(--?\d+)?")

_types = mimetypes.MimeTypes()
_COMPRESSED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "br": "application/octet-stream",
}


@dataclass(frozen=True, slots=True)
class Note:
    headers: Headers = field(default_factory=Headers)
    crc32c: int | None = None


def describe(key: str, status: os.stat_result, note: Note | None = None) -> StoredObject:
    """The file as an object. Without a note the content type is guessed from the name, and nothing else is known but who may read
    and write it, which the file itself says in any case.
    """
    mode = {SOURCE_MODE: f"{status.st_mode & _PERMISSIONS:03o}"}
    if note is None:
        headers, crc32c = Headers(content_type=_guess(key), metadata=mode), None
    else:
        headers, crc32c = replace(note.headers, metadata={**note.headers.metadata, **mode}), note.crc32c
    nanoseconds = status.st_mtime_ns % 1000
    return StoredObject(key, status.st_size, Version(token(status)), _modified(status), headers, crc32c, nanoseconds=nanoseconds)


def _modified(status: os.stat_result) -> datetime | None:
    """None for a time that no calendar has: filesystems keep any number."""
    try:
        moment = datetime.fromtimestamp(status.st_mtime_ns // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.replace(microsecond=status.st_mtime_ns % 1_000_000_000 // 1000)


def stat_file(tree: Tree, key: str) -> StoredObject | None:
    """The file with its headers; None if there is none, also where there can be none."""
    try:
        with tree.file(segments(key)) as (descriptor, status):
            return describe(key, status, read_note(descriptor, status))
    except InvalidName:
        return None
    except OSError as error:
        if is_gone(error):
            return None
        raise failure(error, tree.root + key) from error


def token(status: os.stat_result) -> str:
    """Changes with every edit that the filesystem's clock can tell from the one before, and with every replacement. Who writes a
    file in place may put its modification time back, but not its change time: that is told where it is another.
    """
    plain = _plain(status)
    return plain if status.st_ctime_ns == status.st_mtime_ns else f"{plain}-{status.st_ctime_ns}"


def is_version(status: os.stat_result, version: str) -> bool:
    """Whether the file is of this version; also of one that an older release has noted, without the change time."""
    return version in (token(status), _plain(status))


def may_be_same(one: str, other: str) -> bool:
    """Whether the two versions of a file differ in its change time alone: a link, a new owner or mode move it as an edit does."""
    first, second = _TOKEN.fullmatch(one), _TOKEN.fullmatch(other)
    return first is not None and second is not None and first[1] == second[1]


def _plain(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"


def read_note(descriptor: int, status: os.stat_result) -> Note | None:
    """The note of these very bytes; None if there is none, it is of other bytes, or it is not ours."""
    try:
        text = os.getxattr(descriptor, ATTRIBUTE)
    except OSError as error:
        if error.errno in (errno.ENODATA, *_UNSUPPORTED):
            return None
        raise
    try:
        fields = json.loads(text)
        if (fields["format"], fields["size"], fields["mtime_ns"]) != (FORMAT, status.st_size, status.st_mtime_ns):
            return None
        crc32c = fields["crc32c"]
        headers = Headers(
            **{name: str(fields["headers"][name]) for name in _NAMED if name in fields["headers"]},
            metadata={str(name): str(value) for name, value in fields["metadata"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Note(headers, crc32c) if type(crc32c) is int else None


def write_note(descriptor: int, note: Note, key: str, room: int | None = None) -> None:
    """Keep the note with the file, whose bytes and modification time are final. Raises Refused if it is longer than `room`, the
    most that this filesystem keeps where that is known, and OSError where the disk is full.
    """
    status = os.fstat(descriptor)
    text = _encoded(note, status.st_size, status.st_mtime_ns)
    reason = f"{len(text)} bytes of headers and metadata are more than this filesystem keeps with a file"
    if room is not None and len(text) > room:
        raise Refused(f"{key!r}: {reason} ({room})")
    try:
        os.setxattr(descriptor, ATTRIBUTE, text)
    except OSError as error:
        if error.errno in _TOO_LONG or (room is None and error.errno == errno.ENOSPC and not _is_full(descriptor, len(text))):
            raise Refused(f"{key!r}: {reason} ({error.strerror})") from error
        raise


def _is_full(descriptor: int, size: int) -> bool:
    """Whether so many bytes may find no room because nothing does. ext4 has one block for all attributes of a file, and says "no
    space left on device" of that, too.
    """
    about = os.fstatvfs(descriptor)
    return about.f_bavail * about.f_frsize < size + _SPARE_BLOCKS * about.f_frsize


def _encoded(note: Note, size: int, mtime_ns: int) -> bytes:
    named = {name: value for name in _NAMED if (value := getattr(note.headers, name)) is not None}
    return json.dumps(
        {
            "format": FORMAT,
            "size": size,
            "mtime_ns": mtime_ns,
            "crc32c": note.crc32c,
            "headers": named,
            "metadata": dict(note.headers.metadata),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode("utf-8", "surrogatepass")


def kept(headers: Headers, room: int, *, modes: bool = True) -> Headers:
    """What of them a note of at most `room` bytes holds, and what a file has without one: a time and, with `modes`, a mode."""
    if room == 0:
        return Headers(metadata=_of_itself(headers.metadata, modes=modes))
    if not modes and SOURCE_MODE in headers.metadata:
        headers = replace(headers, metadata={name: value for name, value in headers.metadata.items() if name != SOURCE_MODE})

    def fits(metadata: Mapping[str, str]) -> bool:
        return len(_encoded(Note(replace(headers, metadata=metadata), _LARGEST_CRC32C), *_LARGEST_NUMBERS)) <= room

    metadata = fitting(headers.metadata, fits)
    return headers if metadata is headers.metadata else replace(headers, metadata=metadata)


def _of_itself(metadata: Mapping[str, str], *, modes: bool) -> dict[str, str]:
    time = of_file(metadata)
    own = {} if time is None else {SOURCE_MODIFIED: as_iso(time)}
    return own | ({SOURCE_MODE: metadata[SOURCE_MODE]} if modes and SOURCE_MODE in metadata else {})


def room_for_notes(descriptor: int) -> int | None:
    """Bytes that a note may have on the filesystem of this open file: what it takes of the tried ones, 0 for no note at all, None
    where a disk without room does not tell.
    """
    for size in _ROOM:
        try:
            os.setxattr(descriptor, ATTRIBUTE, b" " * size)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return 0
            if error.errno == errno.EDQUOT or (error.errno in FULL and _is_full(descriptor, size)):
                return None
            if error.errno not in (*_TOO_LONG, *FULL):
                raise
        else:
            return size
    return 0


def source_mode(metadata: Mapping[str, str]) -> int | None:
    """The permissions that the metadata tell; None where they tell none that can be understood."""
    text = metadata.get(SOURCE_MODE, "")
    return int(text, 8) & _PERMISSIONS if _MODE.fullmatch(text) else None


def _guess(key: str) -> str | None:
    """From the name's end. A compressed file is its compression: no Content-Encoding is claimed for it."""
    kind, encoding = _types.guess_type(posixpath.basename(key))
    return kind if encoding is None else _COMPRESSED.get(encoding, "application/octet-stream")
