"""Files are written whole or not at all: whatever the disk does, whoever writes at the same time."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from common.errors import Forbidden, ObjectError, PreconditionFailed, Refused, TooLarge, Unavailable
from common.objects import Headers
from common.storage.base import Absent, Matches
from common.storage.file import LIMITS
from common.storage.file_tree import Tree
from common.storage.file_writer import FileWriter
from tests.unit.storage.disk import DATA, body, failing, files


async def test_a_file_is_on_the_disk_before_it_has_its_name(
    root: Path, writer: FileWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given somebody who watches what is done to the disk
    done: list[str] = []
    for name in ("fsync", "link", "mkdir"):
        original = getattr(os, name)

        def note(*arguments: Any, name: str = name, original: Any = original, **named: Any) -> Any:
            kind = ""
            if name == "fsync":
                kind = " directory" if Path(f"/proc/self/fd/{arguments[0]}").is_dir() else " file"
            done.append(name + kind)
            return original(*arguments, **named)

        monkeypatch.setattr(os, name, note)

    # When a file is put into a new directory
    await writer.put("new/file", body(), Absent())

    # Then the bytes are on the disk first, then the directory, then the name
    assert done == ["mkdir", "fsync file", "mkdir", "fsync directory", "link", "fsync directory"]


@pytest.mark.parametrize(
    ("call", "code", "kind"),
    [
        ("pwrite", errno.ENOSPC, Unavailable),
        ("pwrite", errno.EIO, Unavailable),
        ("pwrite", errno.EFBIG, TooLarge),
        ("fsync", errno.EDQUOT, Unavailable),
        ("link", errno.EXDEV, Refused),
        ("link", errno.ENOSPC, Unavailable),
        ("link", errno.EACCES, Forbidden),
        ("utime", errno.EROFS, Unavailable),
        ("setxattr", errno.EACCES, Forbidden),
    ],
)
async def test_what_fails_leaves_nothing(
    root: Path, writer: FileWriter, monkeypatch: pytest.MonkeyPatch, call: str, code: int, kind: type[ObjectError]
) -> None:
    # Given a disk that fails at some step
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(code))

        # When a file is put
        with pytest.raises(kind):
            await writer.put("key", body(), Absent())

    # Then neither the file nor a part of it is there, and the next attempt works
    assert files(root) == []
    await writer.put("key", body(), Absent())
    assert (root / "key").read_bytes() == DATA


async def test_a_full_disk_is_noticed_before_the_first_byte(
    root: Path, writer: FileWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a disk without room
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.ENOSPC))

    # When an upload begins
    with pytest.raises(Unavailable, match="no space left"):
        await writer.begin("large", 10**9, Headers(), Absent())

    # Then nothing is left behind
    assert files(root) == []


async def test_a_filesystem_that_cannot_reserve_is_used_all_the_same(
    root: Path, writer: FileWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a filesystem without fallocate
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.EOPNOTSUPP))

    # When an upload is made
    upload = await writer.begin("large", len(DATA), Headers(), Absent())
    receipt = await upload.part(0, 0, DATA, google_crc32c.value(DATA))
    await upload.complete([receipt], google_crc32c.value(DATA))

    # Then it is there
    assert (root / "large").read_bytes() == DATA


async def test_short_writes_are_gone_on_with(root: Path, writer: FileWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a filesystem that takes three bytes at a time
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:3], offset))

    # When a file is put
    await writer.put("key", body(), Absent())

    # Then all of it is there
    assert (root / "key").read_bytes() == DATA


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
async def test_without_hard_links_nothing_is_overwritten_either(
    root: Path, writer: FileWriter, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    # Given a filesystem without hard links, and a file
    monkeypatch.setattr(os, "link", failing(code))
    (root / "theirs").write_bytes(b"theirs")

    # When files are put where something is, and where nothing is
    with pytest.raises(PreconditionFailed):
        await writer.put("theirs", body(), Absent())
    await writer.put("ours", body(), Absent())

    # Then the one is as it was and the other is there
    assert (root / "theirs").read_bytes() == b"theirs"
    assert (root / "ours").read_bytes() == DATA
    assert files(root) == ["ours", "theirs"]


async def test_without_locks_files_are_written_all_the_same(
    root: Path, writer: FileWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a filesystem without locks
    monkeypatch.setattr("fcntl.flock", failing(errno.ENOLCK))

    # When a file is put and replaced
    first = await writer.put("key", body(b"first"), Absent())
    await writer.put("key", body(), Matches(first.version))

    # Then it is there
    assert (root / "key").read_bytes() == DATA


async def test_two_writers_of_one_file_do_not_both_win(root: Path, writer: FileWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a file that two processes' writers have seen, and a disk on which a rename takes its time
    other = FileWriter.open(Tree(f"{root}/"), LIMITS)
    seen = await writer.put("key", body(b"seen"), Absent())
    rename = os.rename

    def slowly(*arguments: Any, **named: Any) -> None:
        time.sleep(0.05)
        rename(*arguments, **named)

    monkeypatch.setattr(os, "rename", slowly)

    # When both replace it at the same time
    bodies = [body(b"one"), body(b"another")]
    answers = await asyncio.gather(
        *(each.put("key", new, Matches(seen.version)) for each, new in zip((writer, other), bodies, strict=True)),
        return_exceptions=True,
    )

    # Then one did, and what it wrote is there; the other knows
    won = [new for new, answer in zip(bodies, answers, strict=True) if not isinstance(answer, BaseException)]
    assert [type(answer) for answer in answers if isinstance(answer, BaseException)] == [PreconditionFailed]
    assert (root / "key").read_bytes() == won[0].data
