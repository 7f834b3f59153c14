"""Files as a destination: inside the directory or not at all, and what is kept beside the bytes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from common.errors import InvalidName, PreconditionFailed, Refused
from common.objects import Headers, Version
from common.storage.base import Absent, Matches
from common.storage.file import LIMITS
from common.storage.file_tree import Tree
from common.storage.file_writer import FileWriter
from common.storage.names import SOURCE_MODE, SOURCE_MODIFIED
from tests.unit.storage.disk import DATA, STAGED, body, everything, failing, files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "key",
    [
        "../escape",
        "a/../../escape",
        "/etc/escape",
        "a//b",
        "a/",
        "",
        ".",
        "a/./b",
        "nul\0",
        "x" * 256,
        f"{STAGED}/x",
        f"a/{STAGED}",
    ],
)
async def test_a_key_that_is_no_path_is_refused(root: Path, writer: FileWriter, key: str) -> None:
    # Given a key that names nothing below the directory
    # When it is written
    # Then the answer says why, and nothing is written anywhere
    with pytest.raises(InvalidName):
        await writer.put(key, body(), Absent())
    with pytest.raises(InvalidName):
        await writer.begin(key, 1, Headers(), Absent())
    assert await writer.stat(key) is None
    assert everything(root.parent) == ["root"]


async def test_no_link_leads_out(root: Path, writer: FileWriter) -> None:
    # Given links to a directory and a file outside
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"theirs")
    (root / "directory").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    (root / "dangling").symlink_to(outside / "new")

    # When somebody writes through them, also believing to know what is there
    status = (outside / "file").stat()
    theirs = Matches(Version(f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"))
    for key in ("directory/new", "directory/deep/new", "file", "dangling"):
        with pytest.raises(InvalidName):
            await writer.put(key, body(), Absent())
        with pytest.raises(PreconditionFailed):
            await writer.put(key, body(), theirs)
    with pytest.raises(PreconditionFailed):
        await writer.put("directory/file", body(), theirs)

    # Then nothing outside has changed
    assert files(outside) == ["file"]
    assert (outside / "file").read_bytes() == b"theirs"


async def test_a_file_is_no_directory_and_a_directory_no_file(root: Path, writer: FileWriter) -> None:
    # Given a file and a directory
    await writer.put("file", body(), Absent())
    await writer.put("directory/file", body(), Absent())

    # When keys need the one to be the other
    # Then the answer is about the name: S3 holds both, a filesystem cannot
    for key in ("file/below", "file/below/deeper", "directory"):
        with pytest.raises(InvalidName):
            await writer.put(key, body(), Absent())
    assert files(root) == ["directory/file", "file"]


async def test_the_source_s_time_is_the_file_s(root: Path, writer: FileWriter) -> None:
    # Given an object that tells when its source was modified
    # When it is put
    await writer.put("key", body(metadata={SOURCE_MODIFIED: "2020-02-29T12:34:56.789012+02:00"}), Absent())

    # Then that is the file's time, to the microsecond
    assert (root / "key").stat().st_mtime_ns == 1_582_972_496_789_012_000


@pytest.mark.parametrize("text", ["", "yesterday", "2020-02-29T12:34:56", "9999-99-99"])
async def test_a_time_that_cannot_be_understood_is_none(root: Path, writer: FileWriter, text: str) -> None:
    # Given metadata from elsewhere
    # When the object is put
    stored = await writer.put("key", body(metadata={SOURCE_MODIFIED: text}), Absent())

    # Then the file's time is now, and the metadata are kept as they are
    assert stored.modified is not None
    assert abs((root / "key").stat().st_mtime - stored.modified.timestamp()) < 0.001
    found = await writer.stat("key")
    assert found is not None
    assert found.headers.metadata == {SOURCE_MODIFIED: text, SOURCE_MODE: "644"}


async def test_a_filesystem_without_attributes_keeps_the_bytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a filesystem without extended attributes
    monkeypatch.setattr(os, "setxattr", failing(errno.ENOTSUP))
    monkeypatch.setattr(os, "getxattr", failing(errno.ENOTSUP))

    # When a writer is opened and a file put
    writer = FileWriter.open(Tree(f"{root}/"), LIMITS)
    stored = await writer.put("key", body(metadata={"owner": "someone"}), Absent())

    # Then the writer says that metadata are not kept, and the answer does not claim that they were
    assert not writer.limits.keeps_metadata
    assert stored.headers.metadata == {SOURCE_MODE: "644"}
    assert (root / "key").read_bytes() == DATA
    found = await writer.stat("key")
    assert found is not None
    assert found.headers.metadata == {SOURCE_MODE: "644"}


async def test_metadata_that_do_not_fit_are_not_dropped_in_silence(root: Path, writer: FileWriter) -> None:
    # Given more metadata than any filesystem of Linux keeps with a file
    # When the object is put
    with pytest.raises(Refused, match="metadata"):
        await writer.put("key", body(metadata={"long": "x" * 70_000}), Absent())

    # Then nothing is there
    assert files(root) == []
