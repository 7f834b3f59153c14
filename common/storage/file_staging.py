"""The directory in which files are written before they get their name, and the one step that gives it to them.

It lies directly in the location's directory, so that the step is a rename within one filesystem, and is there only while uploads
are. One place for all of them, and not a hidden file beside each target: what a crash leaves is found without a walk over
millions of directories, and an abandoned upload leaves no directory behind.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import InvalidName, ObjectError, PreconditionFailed, Unavailable
from common.storage.file_note import is_version, room_for_notes
from common.storage.file_tree import STAGING, failure, is_gone, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.objects import Version
    from common.storage.file_tree import Tree

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_LOCKS = (errno.ENOLCK, errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_TRIES = 10
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Filesystem:
    """What the filesystem of a location can do. Found out by trying."""

    room: int
    """Bytes that it keeps beside those of a file; 0 without extended attributes."""
    modes: int | None
    """The permissions that a file of ours may have: all but those that the umask forbids. None where files have none."""
    folds: bool
    """Names that differ in their case alone are the same file."""


class Staging:
    """The staging directory of one tree. Holds nothing open; safe in any thread."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def create(self, size: int, mode: int = 0o666) -> str:
        """A new file with room for `size` bytes (0: no room is kept); the answer is its name. It has what the umask leaves of the
        mode.
        """
        name = f"{secrets.token_hex(16)}.part"
        with told(f"an upload in {self._tree.root}"):
            descriptor = self._create(name, mode)
            try:
                if size:
                    _reserve(descriptor, size)
            except OSError:
                self.remove(name)
                raise
            finally:
                os.close(descriptor)
        return name

    @contextmanager
    def file(self, name: str) -> Iterator[int]:
        """The file, open for reading and writing. Raises OSError."""
        with self._tree.directory([STAGING]) as directory:
            try:
                descriptor = os.open(name, _OPEN, dir_fd=directory)
            except PermissionError:  # it had the mode of its source already when the step that would have published it failed
                os.chmod(name, 0o600, dir_fd=directory)
                descriptor = os.open(name, _OPEN, dir_fd=directory)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Take the file away, if it is still there."""
        try:
            with self._tree.directory([STAGING]) as directory:
                os.unlink(name, dir_fd=directory)
        except OSError as error:
            if not is_gone(error):
                raise failure(error, f"the upload {name} in {self._tree.root}") from error

    def link(self, name: str, target: bytes, parent: int, key: str) -> None:
        """Give the file the name `target` if nothing has it. Raises PreconditionFailed, InvalidName, OSError."""
        with self._tree.directory([STAGING]) as directory, _locked(parent):
            try:
                os.link(name, target, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
            except OSError as error:
                there = _look(target, parent)
                if there is not None:
                    self._tree.look_at_case(target, parent)
                    _stands_there(there, key)
                if error.errno not in _NO_LINKS:
                    raise
                os.rename(name, target, src_dir_fd=directory, dst_dir_fd=parent)

    def replace(self, name: str, target: bytes, parent: int, key: str, version: Version) -> None:
        """Give the file the name `target` if the file of this version has it. Raises PreconditionFailed, OSError."""
        with self._tree.directory([STAGING]) as directory, _locked(parent):
            there = _look(target, parent)
            self._tree.look_at_case(target, parent)
            if there is None or not stat.S_ISREG(there.st_mode) or not is_version(there, version.token):
                raise PreconditionFailed(f"{key!r} is not the version that was seen")
            os.rename(name, target, src_dir_fd=directory, dst_dir_fd=parent)

    def sweep(self, before: float) -> int:
        """Remove files that were last written to before that time (unix seconds); how many.

        The inode's change time counts: the modification time is set to the source's shortly before the end.
        """
        removed = 0
        try:
            with self._tree.directory([STAGING]) as directory:
                for name in os.listdir(directory):  # noqa: PTH208 - pathlib cannot list a descriptor
                    with suppress(FileNotFoundError):  # another writer sweeps too
                        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode) and status.st_ctime < before:
                            os.unlink(name, dir_fd=directory)
                            removed += 1
        except OSError as error:
            if not is_gone(error):
                raise failure(error, self._tree.root) from error
        return removed

    def filesystem(self) -> Filesystem | None:
        """What it can do; None where a disk without room does not let it be known. Raises ObjectError for a directory that cannot
        be written to.
        """
        name = self.create(0, 0o777)
        try:
            with told(self._tree.root), self.file(name) as descriptor:
                allowed = stat.S_IMODE(os.fstat(descriptor).st_mode)
                room = room_for_notes(descriptor)
                modes = allowed if _keeps_modes(descriptor) else None
                return None if room is None else Filesystem(room, modes, self._folds(name))
        finally:
            self.remove(name)
            self.tidy()

    def _folds(self, name: str) -> bool:
        with self._tree.directory([STAGING]) as directory:
            return _look(name.upper().encode(), directory) is not None

    def tidy(self) -> None:
        """Take the directory away if it is empty."""
        with suppress(OSError, ObjectError), self._tree.directory([]) as root:
            os.rmdir(STAGING, dir_fd=root)

    def _create(self, name: str, mode: int) -> int:
        for _ in range(_TRIES):
            with self._tree.directory([]) as root, suppress(FileExistsError):
                os.mkdir(STAGING, 0o700, dir_fd=root)
            with suppress(FileNotFoundError), self._tree.directory([STAGING]) as directory:
                return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=directory)
        # Another writer closed each time between the two calls: it does so only when its last upload has ended.
        raise Unavailable(f"{self._tree.root}: the directory for uploads vanishes as fast as it is made")


def _keeps_modes(descriptor: int) -> bool:
    """Whether a file can be told who may do what: FAT takes it in silence or refuses, and network filesystems do either."""
    try:
        for mode in (0o700, 0o600):
            os.fchmod(descriptor, mode)
            if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
                return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return False
    return True


def _reserve(descriptor: int, size: int) -> None:
    """Room on the disk now, so that a full one is noticed before the first byte is fetched; a hole where that is not known."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        os.ftruncate(descriptor, size)


@contextmanager
def _locked(directory: int) -> Iterator[None]:
    """The directory is ours among those who ask. Only for the moment of a compare and a rename."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        yield
        return
    try:
        yield
    finally:
        fcntl.flock(directory, fcntl.LOCK_UN)


def _look(name: bytes, parent: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _stands_there(status: os.stat_result, key: str) -> None:
    if stat.S_ISREG(status.st_mode):
        raise PreconditionFailed(f"{key!r} exists")
    kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a symbolic link or a special file"
    raise InvalidName(f"{key!r} has the name of {kind}")
