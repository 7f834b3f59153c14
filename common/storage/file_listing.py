"""A directory tree as a bucket's listing: every file once, in ascending order of the UTF-8 bytes of its key, in flat memory.

A directory sorts as its name + "/", since that is how the keys below it begin: "a-b", then "a/c", then "ab". One directory is
read as often as it takes to have its names in order a window at a time, so memory is at most two windows of names for each
directory on the way down, however many files there are. Nothing is open between two pages.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import Forbidden
from common.storage.file_note import describe
from common.storage.file_tree import STAGING, failure, is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.objects import StoredObject
    from common.storage.file_tree import Tree

WINDOW = 50_000
"""Names of one directory in memory at once, about 100 bytes each. A directory of n names is read n / WINDOW times."""

STATS = 1_000
"""Files that are looked at while their directory is open."""


@dataclass(slots=True)
class Skipped:
    """What the walk left out, for the log."""

    links: int = 0
    special: int = 0


def walk(tree: Tree, after: bytes, skipped: Skipped, window: int = WINDOW) -> Iterator[StoredObject]:
    """Every file whose key follows `after`, in order. Directories that end before it are not opened.

    Raises Forbidden, naming the directory, where one cannot be read: leaving it out would look like an empty one. What
    vanishes during the walk is left out; what appears may or may not be seen, as in any listing.
    """
    pending = [_entries(tree, b"", after, skipped, window)]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
        elif isinstance(entry, bytes):
            rest = after[len(entry) :] if after.startswith(entry) else b""
            pending.append(_entries(tree, entry, rest, skipped, window))
        else:
            yield entry


def _entries(tree: Tree, prefix: bytes, after: bytes, skipped: Skipped, window: int) -> Iterator[StoredObject | bytes]:
    """The files (as objects) and directories (as the prefix of their keys) of one directory, in order, behind `after`."""
    names, more = _names(_resumed(_scan(tree, prefix, skipped), after), window)
    while True:
        for start in range(0, len(names), STATS):
            yield from _looked_at(tree, prefix, names[start : start + STATS])
        if not more:
            return
        last = names[-1]
        names, more = _names((name for name in _scan(tree, prefix, Skipped()) if name > last), window)


def _resumed(names: Iterator[bytes], after: bytes) -> Iterator[bytes]:
    """The names behind `after`, and the directory that `after` itself is in: it may hold more."""
    return (name for name in names if name > after or (name.endswith(b"/") and after.startswith(name)))


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


def _scan(tree: Tree, prefix: bytes, skipped: Skipped) -> Iterator[bytes]:
    try:
        with tree.directory(_steps(prefix)) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if name != STAGING:
                        yield name + b"/"
                elif entry.is_file(follow_symlinks=False):
                    yield name
                elif entry.is_symlink():
                    skipped.links += 1
                else:
                    skipped.special += 1
    except OSError as error:
        if is_gone(error):
            return
        what = f"the directory {tree.path(_steps(prefix))}"
        if isinstance(error, PermissionError):
            raise Forbidden(f"{what} cannot be read: give this user the right to, or take it out of the location") from error
        raise failure(error, what) from error


def _looked_at(tree: Tree, prefix: bytes, names: list[bytes]) -> list[StoredObject | bytes]:
    found: list[StoredObject | bytes] = []
    try:
        with tree.directory(_steps(prefix)) as descriptor:
            for name in names:
                if name.endswith(b"/"):
                    found.append(prefix + name)
                    continue
                try:
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.append(describe(os.fsdecode(prefix + name), status))
    except OSError as error:
        if is_gone(error):
            return []
        raise failure(error, f"the directory {tree.path(_steps(prefix))}") from error
    return found


def _steps(prefix: bytes) -> list[bytes]:
    return prefix.split(b"/")[:-1]
