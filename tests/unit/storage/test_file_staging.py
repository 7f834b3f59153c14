"""Uploads to files: holes, leftovers of crashed runs, and that nothing is left beside the objects."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest

from common.errors import ObjectError, PreconditionFailed, UploadLost
from common.objects import Headers, Version
from common.storage.base import Absent, Matches
from common.storage.file import LIMITS
from common.storage.file_tree import Tree
from common.storage.file_writer import DAY, FileWriter
from common.storage.names import SOURCE_MODIFIED
from tests.unit.storage.disk import DATA, body, everything, files

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_hole_is_not_an_object(root: Path, writer: FileWriter) -> None:
    # Given an upload of two parts of which only the second arrived
    upload = await writer.begin("large", 2 * len(DATA), Headers(), Absent())
    receipt = await upload.part(1, len(DATA), DATA, google_crc32c.value(DATA))

    # When it is completed, with the receipts there are, or with one that was made up
    for receipts in ([receipt], [receipt, receipt]):
        with pytest.raises(ObjectError):
            await upload.complete(receipts, google_crc32c.value(DATA + DATA))
    with pytest.raises(ObjectError):
        await upload.part(2, len(DATA) + 1, DATA, google_crc32c.value(DATA))

    # Then there is no object
    assert await writer.stat("large") is None


async def test_what_a_crash_left_is_removed_when_it_is_old(root: Path, writer: FileWriter) -> None:
    # Given an upload whose process died
    upload = await writer.begin("large", len(DATA), Headers(), Absent())
    await upload.part(0, 0, DATA, google_crc32c.value(DATA))
    (staged,) = files(root)
    assert upload.token in staged
    written = (root / staged).stat().st_ctime

    # When a writer is opened within a day
    FileWriter.open(Tree(f"{root}/"), LIMITS, now=written + DAY - 1)

    # Then the upload may still be somebody's
    assert files(root) == [staged]

    # And when one is opened later, it is not
    FileWriter.open(Tree(f"{root}/"), LIMITS, now=written + DAY + 1)
    assert files(root) == []
    with pytest.raises(UploadLost):
        await upload.part(0, 0, DATA, google_crc32c.value(DATA))


async def test_an_old_source_does_not_make_an_upload_old(root: Path, writer: FileWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an object from 1990, whose upload is about to get its name
    headers = Headers(metadata={SOURCE_MODIFIED: "1990-01-01T00:00:00+00:00"})
    upload = await writer.begin("old", len(DATA), headers, Absent())
    receipt = await upload.part(0, 0, DATA, google_crc32c.value(DATA))
    link = os.link

    def sweep_first(*arguments: Any, **named: Any) -> None:
        FileWriter.open(Tree(f"{root}/"), LIMITS)
        link(*arguments, **named)

    monkeypatch.setattr(os, "link", sweep_first)

    # When another writer sweeps at that moment
    await upload.complete([receipt], google_crc32c.value(DATA))

    # Then the upload was not taken for a leftover
    assert (root / "old").read_bytes() == DATA


async def test_nothing_is_left_beside_the_objects(root: Path, writer: FileWriter) -> None:
    # Given a writer that has put, uploaded, failed and aborted
    await writer.put("a/b", body(), Absent())
    upload = await writer.begin("c/d/e", 10, Headers(), Absent())
    await upload.abort()
    with pytest.raises(PreconditionFailed):
        await writer.put("a/b", body(), Absent())
    with pytest.raises(PreconditionFailed):
        await writer.put("f/g", body(), Matches(Version("1-2-3")))

    # When it is closed
    await writer.close()

    # Then there is what was asked for: no staging directory, and no directories of objects that never were
    assert everything(root) == ["a", "a/b"]


async def test_closing_one_writer_does_not_disturb_another(root: Path, writer: FileWriter) -> None:
    # Given many writers of one directory, which open, put and close all the time
    async def work(number: int) -> None:
        for turn in range(5):
            each = FileWriter.open(Tree(f"{root}/"), LIMITS)
            await each.put(f"{number}/{turn}", body(), Absent())
            await each.close()

    # When they do so at the same time
    await asyncio.gather(*(work(number) for number in range(8)))

    # Then every object is there
    await writer.close()
    assert len(files(root)) == 40


async def test_the_umask_decides_who_may_read(root: Path, writer: FileWriter) -> None:
    # Given an operator's umask
    before = os.umask(0o027)
    try:
        # When a file is put
        await writer.put("directory/file", body(), Absent())
    finally:
        os.umask(before)

    # Then it decides, for files and directories
    assert (root / "directory/file").stat().st_mode & 0o777 == 0o640
    assert (root / "directory").stat().st_mode & 0o777 == 0o750
