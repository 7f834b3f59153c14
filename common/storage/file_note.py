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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.errors import InvalidName, Refused
from common.objects import Headers, StoredObject, Version
from common.storage.file_tree import failure, is_gone, segments
from common.storage.metadata import fitting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.storage.file_tree import Tree

ATTRIBUTE = "user.bucketbrigade"
FORMAT = 1

_NAMED = ("content_type", "cache_control", "content_disposition", "content_encoding", "content_language")
_UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_TOO_LONG = (errno.ENOSPC, errno.E2BIG, errno.ERANGE)
_ROOM = (65536, 32768, 16384, 8000, 4000, 3500, 3000, 2000, 1000, 500)
"""XFS keeps 64 KiB, ext4 what is left of a block that all attributes of a file share."""
_LARGEST_CRC32C = 2**32 - 1
_LARGEST_NUMBERS = (2**63 - 1, -(2**63))
"""Size and time of a file, at their longest."""

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
    """The file as an object. Without a note the content type is guessed from the name, and nothing else is known."""
    known = note or Note(Headers(content_type=_guess(key)))
    return StoredObject(
        key,
        status.st_size,
        Version(token(status)),
        _modified(status),
        known.headers,
        known.crc32c,
        nanoseconds=status.st_mtime_ns % 1000,
    )


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
    """Changes with every edit that the filesystem's clock can tell from the one before, and with every replacement."""
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


def write_note(descriptor: int, note: Note, key: str) -> None:
    """Keep the note with the file, whose bytes and modification time are final. Raises Refused if it is too long to be kept."""
    status = os.fstat(descriptor)
    text = _encoded(note, status.st_size, status.st_mtime_ns)
    try:
        os.setxattr(descriptor, ATTRIBUTE, text)
    except OSError as error:
        if error.errno in _TOO_LONG:  # ext4 has one block for all attributes of a file, and calls it "no space left"
            reason = f"{len(text)} bytes of headers and metadata are more than this filesystem keeps with a file"
            raise Refused(f"{key!r}: {reason} ({error.strerror})") from error
        raise


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


def kept(headers: Headers, room: int) -> Headers:
    """What of them a note of at most `room` bytes holds; nothing where there are no notes."""
    if room == 0:
        return Headers()

    def fits(metadata: Mapping[str, str]) -> bool:
        return len(_encoded(Note(replace(headers, metadata=metadata), _LARGEST_CRC32C), *_LARGEST_NUMBERS)) <= room

    metadata = fitting(headers.metadata, fits)
    return headers if metadata is headers.metadata else replace(headers, metadata=metadata)


def room_for_notes(descriptor: int) -> int:
    """Bytes that a note may have on the filesystem of this open file: what it takes of the tried ones, 0 for no note at all."""
    for size in _ROOM:
        try:
            os.setxattr(descriptor, ATTRIBUTE, b" " * size)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return 0
            if error.errno not in _TOO_LONG:
                raise
        else:
            return size
    return 0


def _guess(key: str) -> str | None:
    """From the name's end. A compressed file is its compression: no Content-Encoding is claimed for it."""
    kind, encoding = _types.guess_type(posixpath.basename(key))
    return kind if encoding is None else _COMPRESSED.get(encoding, "application/octet-stream")
