"""Keys as paths below one directory, and the kernel's errors as ours.

A key comes from somebody else's bucket. It must not name anything outside the location's directory, so every step of a path is
opened by itself, below the directory that was opened before it, and symbolic links are never followed (`..` is refused as a
name before that). Only the location's own directory may be a link: the operator wrote it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from common.errors import Forbidden, InvalidName, LocationMissing, ObjectError, Refused, TooLarge, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STAGING = b".brigade-uploads"
"""The directory, directly in the location's own, where files are written before they get their name. No key may use the name."""

LONGEST_SEGMENT = 255

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = _DIRECTORY | os.O_NOFOLLOW

FULL = (errno.ENOSPC, errno.EDQUOT)
"""There is no room just now. It passes, and says nothing about the object."""
_NOBODYS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_AWAY = {
    *FULL,
    *_NOBODYS,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
_REASONS = {
    errno.ENOSPC: "no space left on the device; free some, the object is tried again",
    errno.EDQUOT: "the disk quota is used up; raise it, the object is tried again",
    errno.EROFS: "the filesystem is mounted read-only; mount it read-write, the object is tried again",
    errno.EMFILE: "this process has too many files open (ulimit -n); the object is tried again",
    errno.ENFILE: "the machine has too many files open (fs.file-max); the object is tried again",
    errno.EACCES: "permission denied: give this user the right to it, or take it out of the location",
}


def failure(error: OSError, what: str) -> ObjectError:
    """The error of ours that tells what the kernel said about `what`."""
    code = error.errno or 0
    text = f"{what}: {_REASONS.get(code, error.strerror or str(error))}"
    if code in _AWAY:
        away = Unavailable(text)
        away.of_location = code in (*FULL, errno.EROFS)
        return away
    if code in _FORBIDDEN:
        return Forbidden(text)
    if code in _NAME:
        return InvalidName(text)
    if code == errno.EFBIG:
        return TooLarge(text)
    return Refused(text)


@contextmanager
def told(what: str) -> Iterator[None]:
    """An OSError inside leaves as an error of ours about `what`."""
    try:
        yield
    except OSError as error:
        raise failure(error, what) from error


def is_nobodys(error: OSError) -> bool:
    """Whether the error is this process's or the machine's, whatever the file: every other one would fail like it."""
    return error.errno in _NOBODYS


def is_gone(error: OSError) -> bool:
    """Whether the error says that there is no such file: nothing, a link, or a file where a directory would have to be."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def encoded(text: str) -> bytes:
    """The bytes of a name or path. Names are bytes to the kernel and UTF-8 to us, whatever the locale says: `os.fsencode` goes by
    that, and a walk and a reader that do not agree lose files. Raises UnicodeEncodeError for what stands for no bytes.
    """
    return text.encode("utf-8", "surrogateescape")


def decoded(name: bytes) -> str:
    """The text of a name; `encoded` gives the same bytes back, whatever they are."""
    return name.decode("utf-8", "surrogateescape")


def segments(key: str) -> list[bytes]:
    """The steps of the path that the key stands for. Raises InvalidName with the reason if it stands for none."""
    try:
        name = encoded(key)
    except UnicodeEncodeError as error:
        raise InvalidName(f"{key!r} is not Unicode text: {error.reason}") from error
    if not name:
        raise InvalidName("an empty key is not a file name")
    if b"\0" in name:
        raise InvalidName(f"{key!r} holds a NUL, which no file name can")
    if name.endswith(b"/"):
        raise InvalidName(f"{key!r} ends with '/': that is a directory, not a file")
    steps = name.split(b"/")
    for step in steps:
        if step in (b"", b".", b".."):
            raise InvalidName(f"{key!r} has the segment {decoded(step)!r}, which is not a file name")
        if len(step) > LONGEST_SEGMENT:
            raise InvalidName(f"{key[:60]!r}… has a segment of {len(step)} bytes, a file name has at most {LONGEST_SEGMENT}")
        if step == STAGING:
            raise InvalidName(f"{key!r} uses the name {decoded(STAGING)!r}, which is kept for uploads under way")
    return steps


class Tree:
    """One directory and everything below it. Holds nothing open; safe in any thread."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.folds = False
        """The filesystem takes names that differ in their case alone for one: told by whoever has found out."""

    def look_at_case(self, name: bytes, parent: int) -> None:
        """Raises InvalidName where this name leads to an entry of another one. A directory is read for it, where the filesystem
        folds case and nowhere else.
        """
        if self.folds and (other := _folded(name, parent)) is not None:
            raise InvalidName(f"{decoded(name)!r} and {decoded(other)!r} are one name to this filesystem, which folds their case")

    def path(self, steps: Sequence[bytes]) -> str:
        """For messages only: nothing is ever opened by this."""
        return self.root + decoded(b"/".join(steps))

    @contextmanager
    def directory(self, steps: Sequence[bytes], *, create: bool = False) -> Iterator[int]:
        """A descriptor of the directory. Raises OSError where it cannot be opened (see `is_gone`), LocationMissing for the root.

        With `create` missing directories are made, and each is on the disk before the next is begun.
        """
        current = self._open_root()
        try:
            for step in steps:
                self.look_at_case(step, current)
                below = _enter(step, current, create=create)
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)

    @contextmanager
    def file(self, steps: Sequence[bytes]) -> Iterator[tuple[int, os.stat_result]]:
        """A descriptor of the regular file, open for reading, and what it is like. Raises OSError, as `directory` does.

        Anything else that bears the name (a pipe, a device, a link, a directory) is as good as nothing: ENOENT.
        """
        with self.directory(steps[:-1]) as parent:
            # Opening a pipe would wait for its other end, opening a device may do anything: look before.
            self.look_at_case(steps[-1], parent)
            if not stat.S_ISREG(os.stat(steps[-1], dir_fd=parent, follow_symlinks=False).st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file")
            descriptor = os.open(steps[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file")
            yield descriptor, status
        finally:
            os.close(descriptor)

    def _open_root(self) -> int:
        try:
            return os.open(encoded(self.root), _DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                text = f"there is no directory {self.root}: create it, or mount what belongs there"
                raise LocationMissing(text) from error
            raise failure(error, f"the directory {self.root}") from error


def _folded(name: bytes, parent: int) -> bytes | None:
    """The entry that a name leads to without being its name."""
    try:
        number = os.stat(name, dir_fd=parent, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return None
    with os.scandir(parent) as entries:
        found = {os.fsencode(entry.name): entry.inode() for entry in entries}
    if name in found:
        return None
    return next((other for other, inode in found.items() if inode == number), None)


def _enter(step: bytes, parent: int, *, create: bool) -> int:
    try:
        return os.open(step, _BELOW, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):  # somebody else was faster, which is as good
        os.mkdir(step, dir_fd=parent)
        os.fsync(parent)
    return os.open(step, _BELOW, dir_fd=parent)
