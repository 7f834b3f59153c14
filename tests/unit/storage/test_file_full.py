"""A directory whose filesystem is full, read-only, out of files, or less than another: what passes is waited for, and what the
filesystem keeps is learnt from answers that mean it.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from common.errors import Forbidden, InvalidName, ObjectError, Refused, Unavailable
from common.objects import Headers, Version
from common.storage.base import Absent, Matches
from common.storage.file import LIMITS, FileReader
from common.storage.file_note import MOST_ROOM
from common.storage.file_tree import Tree
from common.storage.file_writer import FileWriter
from common.storage.names import SOURCE_MODE, SOURCE_MODIFIED, SOURCE_VERSION
from tests.unit.storage.disk import DATA, body, failing, files, folding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOTED = {SOURCE_VERSION: "7", "owner": "o" * 600}
"""More than an inode of 128 bytes has room for."""


@dataclass
class Disk:
    """A small filesystem that can be filled to its last block, and emptied."""

    root: Path
    fill: Callable[[], None]
    empty: Callable[[], None]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """An ext4 of four MiB; where nothing may be mounted, a directory and a kernel that says what such a one says."""
    image, root = tmp_path / "image", tmp_path / "disk"
    root.mkdir()
    if not _mounted(image, root):
        yield _pretended(root, monkeypatch)
        return
    try:
        yield Disk(root, lambda: _fill(root / "ballast"), (root / "ballast").unlink)
    finally:
        subprocess.run(["umount", str(root)], check=True)


def _mounted(image: Path, root: Path) -> bool:
    program = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None or os.geteuid() != 0:
        return False
    image.touch()
    os.truncate(image, 2**22)
    made = subprocess.run(
        [program, "-q", "-O", "^has_journal", "-b", "4096", "-I", "128", image], capture_output=True, check=False
    )
    if made.returncode != 0:
        return False
    if subprocess.run(["mount", "-o", "loop", image, root], capture_output=True, check=False).returncode != 0:
        return False
    (root / "lost+found").rmdir()
    return True


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1024))


def _pretended(root: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    def fill() -> None:
        monkeypatch.setattr(os, "setxattr", failing(errno.ENOSPC))
        monkeypatch.setattr(os, "pwrite", failing(errno.ENOSPC))
        monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=0, f_frsize=4096))

    return Disk(root, fill, monkeypatch.undo)


async def test_a_disk_that_fills_up_is_waited_for(disk: Disk) -> None:
    # Given a writer on a disk with room, which then has none
    writer = FileWriter.open(Tree(f"{disk.root}/"), LIMITS)
    disk.fill()

    # When an object is put
    # Then the error is the disk's and passes, whether the bytes find no room or what stands beside them
    for data in (b"x" * 5000, b""):
        with pytest.raises(Unavailable, match="no space left"):
            await writer.put("key", body(data, NOTED), Absent())

    # And when there is room again, all of it arrives
    disk.empty()
    await writer.put("key", body(metadata=NOTED), Absent())
    found = await writer.stat("key")
    assert found is not None
    assert found.headers.metadata.items() >= NOTED.items()


async def test_a_writer_of_a_full_disk_asks_later_what_it_keeps(disk: Disk) -> None:
    # Given a writer that was opened when the disk was full
    disk.fill()
    writer = FileWriter.open(Tree(f"{disk.root}/"), LIMITS)

    # When it is asked what it keeps, and an object put
    # Then nothing is given up, and the object has to wait
    headers = Headers(metadata=NOTED)
    assert writer.limits.kept(headers) == headers
    with pytest.raises(Unavailable, match="no space left"):
        await writer.put("key", body(metadata=NOTED), Absent())

    # And when there is room, metadata is kept
    disk.empty()
    written = await writer.put("key", body(metadata=NOTED), Absent())
    assert written.headers.metadata.items() >= NOTED.items()
    assert writer.limits.keeps_metadata

    # And what this filesystem does not keep was chosen before that was known: it is chosen again, not refused for good
    laden = {SOURCE_VERSION: "7", "long": "x" * (MOST_ROOM + 1)}
    with pytest.raises(Unavailable, match="more than this filesystem keeps"):
        await writer.put("laden", body(metadata=laden), Absent())
    assert writer.limits.kept(Headers(metadata=laden)).metadata == {SOURCE_VERSION: "7"}


@pytest.mark.parametrize("code", [errno.E2BIG, errno.ERANGE])
def test_what_means_too_long_is_learnt(root: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    # Given a filesystem that keeps 3,000 bytes and says so
    real = os.setxattr

    def setxattr(descriptor: int, name: str, value: bytes) -> None:
        if len(value) > 3000:
            raise OSError(code, os.strerror(code))
        real(descriptor, name, value)

    monkeypatch.setattr(os, "setxattr", setxattr)
    writer = FileWriter.open(Tree(f"{root}/"), LIMITS)

    # When it is asked what it keeps, then it is that much
    assert writer.limits.kept(Headers(metadata={"a": "x" * 2500})).metadata
    assert not writer.limits.kept(Headers(metadata={"a": "x" * 3100})).metadata


@pytest.mark.parametrize("code", [errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("call", ["open", "setxattr"])
async def test_what_is_not_the_objects_fault_passes(root: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    # Given a writer, and a filesystem that takes nothing for a while
    writer = FileWriter.open(Tree(f"{root}/"), LIMITS)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(code))

        # When an object is put, then its error passes
        with pytest.raises(Unavailable) as caught:
            await writer.put("key", body(metadata=NOTED), Absent())
        assert caught.value.retryable
    assert files(root) == []
    await writer.put("key", body(metadata=NOTED), Absent())


async def test_a_filesystem_without_notes_keeps_time_and_mode(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a filesystem without extended attributes
    monkeypatch.setattr(os, "setxattr", failing(errno.ENOTSUP))
    writer = FileWriter.open(Tree(f"{root}/"), LIMITS)

    # When an object arrives with what it keeps of it
    wanted = Headers("text/x", metadata={SOURCE_MODIFIED: "2020-01-02T03:04:05+00:00", SOURCE_MODE: "750", "owner": "somebody"})
    kept = writer.limits.kept(wanted)
    await writer.put("key", body(DATA, kept.metadata), Absent())

    # Then that is what a file has without notes
    assert kept == Headers(metadata={SOURCE_MODIFIED: "2020-01-02T03:04:05+00:00", SOURCE_MODE: "750"})
    status = (root / "key").stat()
    assert (status.st_mtime, status.st_mode & 0o7777) == (1577934245.0, 0o750)


@pytest.mark.parametrize(
    ("told", "has"),
    [("755", 0o755), ("0600", 0o600), ("444", 0o444), ("4755", 0o755), ("7777", 0o755), ("rwx", None), ("999", None), ("", None)],
)
async def test_a_file_gets_the_mode_of_its_source(root: Path, told: str, has: int | None) -> None:
    # Given a umask that forbids others and the group to write, and a mode that came from elsewhere
    before = os.umask(0o022)
    try:
        writer = FileWriter.open(Tree(f"{root}/"), LIMITS)
        # When a file is written with it, in one piece and in parts
        await writer.put("key", body(metadata={SOURCE_MODE: told}), Absent())
        upload = await writer.begin("parts", len(DATA), Headers(metadata={SOURCE_MODE: told}), Absent())
        receipt = await upload.part(0, 0, DATA, body().crc32c)
        await upload.complete([receipt], body().crc32c)
    finally:
        os.umask(before)

    # Then it has what the umask leaves of it, and never a bit that runs it as somebody else; what is no mode changes nothing
    expected = 0o644 if has is None else has
    assert [(root / name).stat().st_mode & 0o7777 for name in ("key", "parts")] == [expected, expected]
    # And says so when it is read
    found = await FileReader(f"{root}/").stat("key")
    assert found is not None
    assert found.headers.metadata == {SOURCE_MODE: f"{expected:o}"}


async def test_a_finished_upload_of_a_read_only_file_can_be_completed_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an upload that was finished, and whose last step failed
    writer = FileWriter.open(Tree(f"{root}/"), LIMITS)
    upload = await writer.begin("key", len(DATA), Headers(metadata={SOURCE_MODE: "444"}), Absent())
    receipt = await upload.part(0, 0, DATA, body().crc32c)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", failing(errno.EIO))
        with pytest.raises(Unavailable):
            await upload.complete([receipt], body().crc32c)

    # When its owner, who has no right to write it any more, completes it again
    real, forbidden = os.open, [True]

    def first_forbidden(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if path == upload.token and forbidden:
            forbidden.clear()
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", first_forbidden)
    await upload.complete([receipt], body().crc32c)

    # Then it is there, with its mode
    assert not forbidden
    assert (root / "key").read_bytes() == DATA
    assert (root / "key").stat().st_mode & 0o777 == 0o444


async def test_a_filesystem_without_modes_says_that_they_are_lost(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a filesystem that takes no modes, as FAT does
    monkeypatch.setattr(os, "fchmod", failing(errno.EPERM))
    writer = FileWriter.open(Tree(f"{root}/"), LIMITS)

    # When it is asked, then it keeps all but the mode, and a file is written all the same
    kept = writer.limits.kept(Headers(metadata={SOURCE_MODE: "755", "a": "b"}))
    assert kept.metadata == {"a": "b"}
    await writer.put("key", body(metadata=kept.metadata), Absent())


async def test_names_that_a_filesystem_folds_fail_by_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a filesystem that takes "A" and "a" for the same, and files on it
    folding(monkeypatch)
    writer = FileWriter.open(Tree(f"{root}/"), LIMITS)
    written = await writer.put("Dir/File", body(), Absent())

    # When keys come that differ from theirs in case alone
    # Then each fails by name, and the file stays as it is; the very same key is a file like any other
    for key in ("Dir/file", "dir/other"):
        for precondition in (Absent(), Matches(written.version)):
            with pytest.raises(InvalidName, match="one name to this filesystem"):
                await writer.put(key, body(b"others"), precondition)
    assert await writer.stat("Dir/file") is None
    with pytest.raises(ObjectError):
        await writer.put("Dir/File", body(b"new"), Matches(Version("another")))
    await writer.put("Dir/File", body(b"new"), Matches(written.version))
    assert files(root) == ["Dir/File"]
    assert (root / "Dir" / "File").read_bytes() == b"new"


@pytest.mark.parametrize("key", ["n" * 256, "d" * 256 + "/n", "a/b/" + "ü" * 128])
async def test_names_that_are_too_long_fail_by_name(root: Path, writer: FileWriter, key: str) -> None:
    with pytest.raises(InvalidName, match="a file name has at most 255"):
        await writer.put(key, body(), Absent())
    await writer.put("n" * 255, body(), Absent())
    assert files(root) == ["n" * 255]


async def test_a_refusal_is_not_a_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a filesystem that refuses attributes
    writer = FileWriter.open(Tree(f"{root}/"), LIMITS)
    monkeypatch.setattr(os, "setxattr", failing(errno.EACCES))
    # When an object is put, then that is for good
    with pytest.raises(Forbidden):
        await writer.put("key", body(metadata=NOTED), Absent())
    monkeypatch.setattr(os, "setxattr", failing(errno.E2BIG))
    with pytest.raises(Refused):
        await writer.put("key", body(metadata=NOTED), Absent())
    assert files(root) == []
