"""A directory tree as a listing: the order of a bucket, from anywhere, in flat memory."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Forbidden, LocationMissing, Unavailable
from common.objects import StoredObject
from common.storage.base import Fault
from common.storage.file import FileReader
from common.storage.file_listing import LeftOut, walk
from common.storage.file_tree import STAGING, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.storage.file_listing import Entry

NAME = st.text(alphabet="ab-.0 \u00e9\uffee\U00010000", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)


def make(root: Path, keys: Sequence[str]) -> list[str]:
    """Those of the files that can be beside each other, in the order of their bytes."""
    made = []
    for key in keys:
        path = root / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
        except OSError:
            continue
        made.append(key)
    return sorted(made, key=os.fsencode)


def walked(root: Path, after: str = "", window: int = 50_000) -> list[str]:
    entries = list(walk(Tree(f"{root}/"), os.fsencode(after), window))
    assert not [entry for entry in entries if isinstance(entry, Fault)]
    return [entry.key for entry in entries if isinstance(entry, StoredObject)]


@settings(max_examples=60, deadline=None)
@given(paths=st.lists(PATH, max_size=12, unique=True), after=PATH, window=st.integers(1, 4))
def test_any_tree_is_listed_as_a_bucket_would_be(paths: list[str], after: str, window: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        # Given any tree
        made = make(Path(name), paths)

        # When it is walked, with any number of names in memory
        # Then each file comes once, in the order of the bytes of its key
        assert walked(Path(name), window=window) == made

        # And behind any key, whether it is there or not, everything that follows
        assert walked(Path(name), after, window) == [key for key in made if os.fsencode(key) > os.fsencode(after)]
        for key in made:
            assert walked(Path(name), key, window) == made[made.index(key) + 1 :]


async def test_pages_hang_together(tmp_path: Path) -> None:
    # Given seven files and pages of three
    made = make(tmp_path, ["a", "b/c", "b/d", "b-", "e/f/g", "h", "i"])

    # When they are listed
    pages = [page async for page in FileReader(f"{tmp_path}/", page=3).list()]

    # Then the last page knows that it is the last
    assert [[stored.key for stored in page.objects] for page in pages] == [made[:3], made[3:6], made[6:]]
    assert [page.after for page in pages] == [made[2], made[5], None]

    # And a listing that ends with a full page has no empty one behind it
    (tmp_path / "i").unlink()
    pages = [page async for page in FileReader(f"{tmp_path}/", page=3).list()]
    assert [page.after for page in pages] == [made[2], None]


def test_what_lies_before_the_checkpoint_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a hundred directories
    made = make(tmp_path, [f"{number:03}/{name}" for number in range(100) for name in "ab"])
    opened = 0
    scandir = os.scandir

    def count(descriptor: int) -> Any:
        nonlocal opened
        opened += 1
        return scandir(descriptor)

    monkeypatch.setattr(os, "scandir", count)

    # When the walk resumes in the last but one
    found = walked(tmp_path, "098/a")

    # Then only the root and two of them are read
    assert found == made[-3:]
    assert opened == 3


def test_only_a_window_of_names_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a directory of forty files and a window of ten
    made = make(tmp_path, [f"{number * 7 % 40:02}" for number in range(40)])
    scandir = os.scandir
    opened = 0

    def count(descriptor: int) -> Any:
        nonlocal opened
        opened += 1
        return scandir(descriptor)

    monkeypatch.setattr(os, "scandir", count)

    # When it is walked
    # Then it is read once for each window
    assert walked(tmp_path, window=10) == made
    assert opened == 4


Walked = list[tuple[str, str]]


def seen(root: Path, after: str = "") -> Walked:
    """Each entry with what it is: an object, the category of a fault, or the reason for which it is left out."""
    return [(entry.key, kind(entry)) for entry in walk(Tree(f"{root}/"), os.fsencode(after))]


def kind(entry: Entry) -> str:
    if isinstance(entry, Fault):
        return entry.error.category.value
    return f"{entry.reason} {entry.entries}" if isinstance(entry, LeftOut) else "object"


def fails_in(directory: Path, call: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this system call fails for that directory and for no other."""
    number, real = directory.stat().st_ino, getattr(os, call)

    def fail(*arguments: Any, **named: Any) -> Any:
        descriptor = named.get("dir_fd", arguments[0])
        if isinstance(descriptor, int) and os.fstat(descriptor).st_ino == number:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, fail)


@pytest.mark.parametrize(
    ("call", "code", "category"),
    [
        ("scandir", errno.EACCES, "forbidden"),
        ("scandir", errno.EIO, "unavailable"),
        ("scandir", errno.ESTALE, "unavailable"),
        ("stat", errno.EACCES, "forbidden"),  # it may be read and not searched
    ],
)
def test_a_directory_that_cannot_be_read_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, category: str
) -> None:
    # Given a directory among others that cannot be read
    make(tmp_path, ["a", "lost+found/b", "lost+found/c", "z/z"])
    fails_in(tmp_path / "lost+found", call, code, monkeypatch)

    # When the tree is walked
    # Then all that can be read comes, and the directory is named once, with what to do about directories
    assert seen(tmp_path) == [("a", "object"), ("lost+found/", category), ("z/z", "object")]
    (fault,) = (entry for entry in walk(Tree(f"{tmp_path}/"), b"") if isinstance(entry, Fault))
    assert f"{tmp_path}/lost+found" in str(fault.error)
    assert ("chmod" in str(fault.error)) == (category == "forbidden")
    # And behind it nothing is said of it again
    assert seen(tmp_path, "lost+found0") == [("z/z", "object")]


def test_as_much_of_a_directory_as_can_be_read_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a directory that stops in the middle
    make(tmp_path, ["d/1", "d/2", "d/3", "z"])
    number, scandir = (tmp_path / "d").stat().st_ino, os.scandir

    class Stopping:
        def __init__(self, descriptor: int) -> None:
            self._entries = scandir(descriptor)
            self._left = 2 if os.fstat(descriptor).st_ino == number else 100

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self._entries.close()

        def __iter__(self) -> Self:
            return self

        def __next__(self) -> os.DirEntry[str]:
            if self._left == 0:
                raise OSError(errno.EIO, "Input/output error")
            self._left -= 1
            return next(self._entries)

    monkeypatch.setattr(os, "scandir", Stopping)

    # When the tree is walked
    found = seen(tmp_path)

    # Then what the kernel gave comes, the directory is named, and the walk goes on
    assert sorted(what for _, what in found) == ["object", "object", "object", "unavailable"]
    assert found[-2:] == [("d/", "unavailable"), ("z", "object")]


def test_one_file_that_cannot_be_looked_at_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a file of which the server has lost its handle
    make(tmp_path, ["a", "b", "c"])
    real = os.stat

    def stale(path: Any, **named: Any) -> Any:
        if path == b"b":
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(path, **named)

    monkeypatch.setattr(os, "stat", stale)

    # When the tree is walked, then that file is named and the others come
    assert seen(tmp_path) == [("a", "object"), ("b", "unavailable"), ("c", "object")]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_is_no_directorys_fault_ends_the_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    # Given a process that may open no more files
    make(tmp_path, ["a", "d/b"])
    fails_in(tmp_path / "d", "scandir", code, monkeypatch)
    found = walk(Tree(f"{tmp_path}/"), b"")
    assert next(found).key == "a"

    # When the walk goes on, then it stops with an error that passes: all that follows would be called unreadable
    with pytest.raises(Unavailable, match="/d"):
        next(found)


def test_the_locations_own_directory_is_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_in(tmp_path, "scandir", errno.EACCES, monkeypatch)
    with pytest.raises(Forbidden, match="cannot be read"):
        seen(tmp_path)


async def test_what_is_no_object_is_counted_once_wherever_a_listing_goes_on(tmp_path: Path) -> None:
    # Given files among links (one of them in a circle), a pipe, a socket, and an upload under way
    make(tmp_path, ["a", "d/file", f"{os.fsdecode(STAGING)}/x.part", "z"])
    (tmp_path / "d" / "link").symlink_to("file")
    (tmp_path / "circle").symlink_to(".")
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "s", stat.S_IFSOCK | 0o600)

    # When they are listed in pages of two, each by a reader that knows nothing of the others
    objects: list[str] = []
    left_out: Counter[str] = Counter()
    after: str | None = None
    for _ in range(10):
        page = await anext(aiter(FileReader(f"{tmp_path}/", page=2).list(after)))
        objects += [stored.key for stored in page.objects]
        left_out.update(page.left_out)
        after = page.after
        if after is None:
            break

    # Then every entry is there once
    assert objects == ["a", "d/file", "z"]
    assert left_out == {"symlink": 2, "special_file": 2, "staging": 1}
    assert after is None


def test_what_vanishes_is_left_out(tmp_path: Path) -> None:
    # Given a walk that has begun
    make(tmp_path, ["a/1", "b/1", "c/1"])
    found = walk(Tree(f"{tmp_path}/"), b"")
    assert next(found).key == "a/1"

    # When a directory vanishes under it
    (tmp_path / "b/1").unlink()
    (tmp_path / "b").rmdir()

    # Then the rest comes
    assert [stored.key for stored in found] == ["c/1"]


def test_uploads_under_way_are_not_objects(tmp_path: Path) -> None:
    # Given locations one in the other, both with uploads under way
    make(tmp_path, [f"{os.fsdecode(STAGING)}/x.part", f"inner/{os.fsdecode(STAGING)}/y.part", "inner/file"])

    # When the outer one is walked
    # Then only files that are done are there
    assert walked(tmp_path) == ["inner/file"]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    # Given a directory that nobody mounted, and a file where one should be
    (tmp_path / "file").touch()

    # When it is walked
    # Then the error says which
    for name in ("missing", "file"):
        with pytest.raises(LocationMissing, match=name):
            walked(tmp_path / name)


def test_a_tree_deeper_than_a_path_may_be_is_walked(tmp_path: Path) -> None:
    # Given a file at the end of a path of 15,000 bytes, where the kernel takes 4,096 at a time
    name = "d" * 99
    chain = [os.open(tmp_path, os.O_RDONLY)]
    for _ in range(150):
        os.mkdir(name, dir_fd=chain[-1])
        chain.append(os.open(name, os.O_RDONLY, dir_fd=chain[-1]))
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=chain[-1]))

    # When the tree is walked
    # Then the file is found
    assert walked(tmp_path) == [f"{name}/" * 150 + "file"]

    # (whoever clears the temporary directory goes by paths)
    os.unlink("file", dir_fd=chain[-1])
    while len(chain) > 1:
        os.close(chain.pop())
        os.rmdir(name, dir_fd=chain[-1])
    os.close(chain.pop())
