"""A directory tree as a listing: the order of a bucket, from anywhere, in flat memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Forbidden, LocationMissing
from common.storage.file import FileReader
from common.storage.file_listing import Skipped, walk
from common.storage.file_tree import STAGING, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    return [stored.key for stored in walk(Tree(f"{root}/"), os.fsencode(after), Skipped(), window)]


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


def test_a_directory_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a directory that is not ours to read
    make(tmp_path, ["a", "locked/b", "z"])
    scandir = os.scandir
    locked = (tmp_path / "locked").stat().st_ino

    def refuse(descriptor: int) -> Any:
        if os.fstat(descriptor).st_ino == locked:
            raise PermissionError(13, "Permission denied")
        return scandir(descriptor)

    monkeypatch.setattr(os, "scandir", refuse)
    found = walk(Tree(f"{tmp_path}/"), b"", Skipped())

    # When it is walked
    # Then what comes before it comes, and the walk does not go on as if it were empty
    assert next(found).key == "a"
    with pytest.raises(Forbidden, match="/locked"):
        next(found)


def test_what_vanishes_is_left_out(tmp_path: Path) -> None:
    # Given a walk that has begun
    make(tmp_path, ["a/1", "b/1", "c/1"])
    found = walk(Tree(f"{tmp_path}/"), b"", Skipped())
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
