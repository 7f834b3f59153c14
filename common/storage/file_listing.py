"""A directory tree as a bucket's listing: every entry once, in ascending order of the UTF-8 bytes of its key, in flat memory.

A directory sorts as its name + "/", since that is how the keys below it begin: "a-b", then "a/c", then "ab". One directory is
read as often as it takes to have its names in order a window at a time, so memory is at most two windows of names for each
directory on the way down, however many files there are. Nothing is open between two pages.

What is no object has its place in that order, too: a listing that is resumed counts each entry once (and says of a directory
that cannot be read once more that it cannot, if it ended there).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import Forbidden
from common.objects import StoredObject
from common.storage.base import Fault
from common.storage.file_note import describe
from common.storage.file_tree import STAGING, decoded, failure, is_gone, is_nobodys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.errors import ObjectError
    from common.storage.file_tree import Tree

WINDOW = 50_000
"""Names of one directory in memory at once, about 100 bytes each. A directory of n names is read n / WINDOW times."""

STATS = 1_000
"""Files that are looked at while their directory is open."""

SYMLINK = "symlink"
SPECIAL = "special_file"
STAGED = "staging"
_STAGING = STAGING + b"/"
_PERMIT = "give this user the right to (chmod u+rx, or its group), or make what is below it a location of its own"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is no object, and why: one entry, or all of a staging directory."""

    key: str
    reason: str
    entries: int = 1


Entry = StoredObject | Fault | LeftOut


def walk(tree: Tree, after: bytes, window: int = WINDOW) -> Iterator[Entry]:
    """Every entry whose key follows `after`, in order. Directories that end before it are not opened.

    A directory below the location that cannot be read, or only in part, is a Fault, and the walk goes on behind it. What vanishes
    during the walk is left out; what appears may or may not be seen, as in any listing. Raises what the location's own directory
    raises, and what would fail wherever the walk went on (no file may be opened any more).
    """
    pending = [_entries(tree, b"", after, window)]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
        elif isinstance(entry, bytes):
            rest = after[len(entry) :] if after.startswith(entry) else b""
            pending.append(_entries(tree, entry, rest, window))
        else:
            yield entry


def _entries(tree: Tree, prefix: bytes, after: bytes, window: int) -> Iterator[Entry | bytes]:
    """What is in one directory, in order, behind `after`; of directories the prefix of their keys."""
    faults: list[Fault] = []
    names, more = _names(_resumed(_scan(tree, prefix, faults), after), window)
    while True:
        for start in range(0, len(names), STATS):
            yield from _looked_at(tree, prefix, names[start : start + STATS], faults)
            if faults:
                break
        if faults:
            yield faults[0]  # once for a directory: the rest of it would say the same
            return
        if not more:
            return
        last = names[-1]
        names, more = _names((name for name in _scan(tree, prefix, faults) if name > last), window)


def _resumed(names: Iterator[bytes], after: bytes) -> Iterator[bytes]:
    """The names behind `after`, and the directory that `after` itself is in: it may hold more."""
    return (name for name in names if name > after or (name[-1:] == b"/" and after.startswith(name) and name != _STAGING))


def _names(names: Iterator[bytes], most: int) -> tuple[list[bytes], bool]:
    """The first `most` of the names in order; and whether there are more."""
    kept: list[bytes] = []
    bound: bytes | None = None
    for name in names:
        if bound is not None and name > bound:
            continue
        kept.append(name)
        if len(kept) > 2 * most:
            kept.sort()
            del kept[most + 1 :]  # one more than wanted, so that "are there more" needs no second look
            bound = kept[-1]
    kept.sort()
    return kept[:most], len(kept) > most


def _scan(tree: Tree, prefix: bytes, faults: list[Fault]) -> Iterator[bytes]:
    """The names in a directory as the kernel gives them, directories with a slash at their end; as many as can be had."""
    try:
        with tree.directory(_steps(prefix)) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)  # as scandir decoded it, by the locale: these are the kernel's bytes
                yield name + b"/" if _is_directory(entry) else name
    except OSError as error:
        _failed(tree, prefix, error, faults)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # some filesystems ask for a look here: the one to come tells what is wrong with the entry
        return False


def _looked_at(tree: Tree, prefix: bytes, names: list[bytes], faults: list[Fault]) -> list[Entry | bytes]:
    found: list[Entry | bytes] = []
    try:
        with tree.directory(_steps(prefix)) as descriptor:
            for name in names:
                if name == _STAGING:
                    found += _staged(prefix, descriptor)
                elif name.endswith(b"/"):
                    found.append(prefix + name)
                elif (entry := _look(tree, prefix, name, descriptor)) is not None:
                    found.append(entry)
    except OSError as error:
        _failed(tree, prefix, error, faults)
    return found


def _look(tree: Tree, prefix: bytes, name: bytes, descriptor: int) -> Entry | None:
    """None for what has gone. Raises OSError for what is not the entry's own."""
    try:
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        if is_nobodys(error) or isinstance(error, PermissionError):  # the right to look is the directory's
            raise
        key = decoded(prefix + name)
        return Fault(key, failure(error, tree.root + key))
    if stat.S_ISREG(status.st_mode):
        return describe(decoded(prefix + name), status)
    if stat.S_ISDIR(status.st_mode):
        return None  # it has become one since the names were read; the next listing shows what is in it
    return LeftOut(decoded(prefix + name), SYMLINK if stat.S_ISLNK(status.st_mode) else SPECIAL)


def _staged(prefix: bytes, parent: int) -> list[Entry | bytes]:
    """The staging directory of a location: uploads under way are files, and none of them an object yet."""
    key = decoded(prefix + _STAGING)
    try:
        descriptor = os.open(STAGING, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        if is_nobodys(error):
            raise
        return [] if is_gone(error) else [LeftOut(key, STAGED)]  # another user's: its writer has it to itself
    try:
        entries = len(os.listdir(descriptor))  # noqa: PTH208 - pathlib cannot list a descriptor
    finally:
        os.close(descriptor)
    return [LeftOut(key, STAGED, entries)] if entries else []


def _failed(tree: Tree, prefix: bytes, error: OSError, faults: list[Fault]) -> None:
    """Note what a directory's error means. Raises it where it is not this directory's alone."""
    if is_gone(error):
        return
    where = f"the directory {tree.path(_steps(prefix))}"
    told: ObjectError = failure(error, where)
    if isinstance(error, PermissionError):
        told = Forbidden(f"{where} cannot be read: {_PERMIT}")
    if not prefix or is_nobodys(error):
        raise told from error
    faults.append(Fault(decoded(prefix), told))


def _steps(prefix: bytes) -> list[bytes]:
    return prefix.split(b"/")[:-1]
