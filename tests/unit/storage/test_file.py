"""Files as a source: what is an object and what is not, versions, notes, and what happens while somebody else writes."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import google_crc32c
import pytest

from common.errors import ChecksumMismatch, Forbidden, Refused, SourceChanged, SourceMissing, Unavailable
from common.objects import Headers, Span
from common.storage import file_note
from common.storage.base import LARGEST_READ, Absent, Body
from common.storage.file import LIMITS, FileReader
from common.storage.file_tree import Tree
from common.storage.file_writer import FileWriter

if TYPE_CHECKING:
    from pathlib import Path

MODE = {"brigade-source-mode": "644"}
HEADERS = Headers(content_type="text/x-odd", metadata={"brigade-source-version": "7", **MODE})


@pytest.fixture
def reader(root: Path) -> FileReader:
    return FileReader(f"{root}/")


async def keys(reader: FileReader, after: str | None = None) -> list[str]:
    return [stored.key async for page in reader.list(after) for stored in page.objects]


async def put(root: Path, key: str, data: bytes, headers: Headers = HEADERS) -> None:
    writer = FileWriter.open(Tree(f"{root}/"), LIMITS)
    await writer.put(key, Body(data, google_crc32c.value(data), headers), Absent())
    await writer.close()


async def test_links_and_special_files_are_not_objects(root: Path, reader: FileReader) -> None:
    # Given a file, links to a file, a directory and nothing, a pipe, and a directory full of secrets outside
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (root / "file").write_text("text")
    (root / "link").symlink_to(root / "file")
    (root / "link-out").symlink_to(outside / "secret")
    (root / "directory-link").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to(root / "nothing")
    os.mkfifo(root / "pipe")

    # When the directory is listed
    # Then the file is all there is, and what was left out is counted
    assert await keys(reader) == ["file"]
    (page,) = [page async for page in reader.list()]
    assert page.left_out == {"symlink": 5, "special_file": 1}

    # And nothing leads to the others
    for key in ("link", "link-out", "directory-link/secret", "loop/file", "dangling", "pipe", "../outside/secret", "file/x", "."):
        assert await reader.stat(key) is None
        with pytest.raises(SourceMissing):
            await reader.read(key, None, None)


async def test_the_directory_itself_may_be_a_link(root: Path) -> None:
    # Given a location that the operator wrote as a link
    (root / "file").write_text("text")
    link = root.parent / "link"
    link.symlink_to(root)

    # When it is read
    # Then it is what the link leads to
    assert await keys(FileReader(f"{link}/")) == ["file"]


async def test_a_name_that_is_no_text_is_still_a_name(root: Path, reader: FileReader) -> None:
    # Given a name in some old encoding
    (root / os.fsdecode(b"caf\xe9")).write_bytes(b"latin-1")
    (root / "z").write_bytes(b"last")

    # When it is listed
    found = await keys(reader)

    # Then it can be read by the name that the listing told, and resumed from
    assert found == ["caf\udce9", "z"]
    assert (await reader.read(found[0], None, None)).data == b"latin-1"
    assert await keys(reader, found[0]) == ["z"]


async def test_the_version_changes_with_the_file(root: Path, reader: FileReader) -> None:
    # Given a file
    path = root / "file"
    path.write_bytes(b"first")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    first = await reader.stat("file")
    assert first is not None
    status = path.stat()
    assert first.version.token == f"1700000000123456789-5-{status.st_ino}-{status.st_ctime_ns}"
    assert first.modified == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)

    # When it is replaced by another of the same size and time
    other = root / "other"
    other.write_bytes(b"other")
    os.utime(other, ns=(0, 1_700_000_000_123_456_789))
    other.rename(path)

    # Then it is another version
    with pytest.raises(SourceChanged):
        await reader.read("file", None, first.version)


async def test_a_file_that_is_written_while_it_is_read_is_no_answer(
    root: Path, reader: FileReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a file that somebody appends to, or cuts, between our look at it and our read
    path = root / "file"
    pread = os.pread
    for change in (lambda: path.write_bytes(b"longer than it was before"), lambda: os.truncate(path, 2)):
        path.write_bytes(b"0123456789")
        os.utime(path, ns=(0, 1))

        def meddle(descriptor: int, size: int, offset: int, change: Any = change) -> bytes:
            change()
            return pread(descriptor, size, offset)

        monkeypatch.setattr(os, "pread", meddle)

        # When it is read
        # Then nobody is told that these were its bytes
        with pytest.raises(SourceChanged):
            await reader.read("file", Span(0, 10), None)


async def test_short_reads_are_put_together(root: Path, reader: FileReader, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a filesystem that answers with three bytes at a time
    (root / "file").write_bytes(b"0123456789")
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: pread(descriptor, min(size, 3), offset))

    # When the file is read
    # Then all of it comes
    assert (await reader.read("file", None, None)).data == b"0123456789"


async def test_a_note_is_of_the_bytes_it_came_with(root: Path, reader: FileReader) -> None:
    # Given a file that we wrote, and that somebody edits
    await put(root, "file.txt", b"ours")
    ours = await reader.stat("file.txt")
    assert ours is not None
    assert (ours.headers, ours.crc32c) == (HEADERS, google_crc32c.value(b"ours"))
    with (root / "file.txt").open("ab") as opened:
        opened.write(b", and theirs")

    # When it is looked at
    edited = await reader.stat("file.txt")

    # Then it is a file like any other: no checksum and no source version are claimed for it
    assert edited is not None
    assert edited.crc32c is None
    assert edited.headers == Headers(content_type="text/plain", metadata=MODE)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{}",
        b"not json",
        b"[1]",
        b'{"format":1,"size":4,"mtime_ns":0,"crc32c":"x","headers":{},"metadata":{}}',
        b'{"format":1,"size":4,"mtime_ns":0,"crc32c":1,"headers":3,"metadata":{}}',
        b'{"format":1,"size":4,"mtime_ns":0,"crc32c":1,"headers":{},"metadata":[]}',
        b'{"format":99,"size":4,"mtime_ns":0,"crc32c":1,"headers":{},"metadata":{}}',
    ],
)
async def test_a_note_that_is_not_ours_is_none(root: Path, reader: FileReader, note: bytes) -> None:
    # Given a file with an attribute that somebody else made up
    path = root / "file"
    path.write_bytes(b"text")
    os.utime(path, ns=(0, 0))
    os.setxattr(path, file_note.ATTRIBUTE, note)

    # When it is looked at
    found = await reader.stat("file")

    # Then it is a file without a note
    assert found is not None
    assert (found.headers, found.crc32c) == (Headers(metadata=MODE), None)


async def test_rot_is_noticed(root: Path, reader: FileReader) -> None:
    # Given a file that we wrote, and whose bytes changed while size and time did not
    await put(root, "file", b"good")
    path = root / "file"
    moment = path.stat().st_mtime_ns
    with path.open("r+b") as opened:
        opened.write(b"evil")
    os.utime(path, ns=(moment, moment))

    # When it is read whole
    # Then the bytes are not handed on
    with pytest.raises(ChecksumMismatch):
        await reader.read("file", None, None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.html", "text/html"),
        ("a/b/IMAGE.PNG", "image/png"),
        ("archive.tar.gz", "application/gzip"),
        ("log.txt.bz2", "application/x-bzip2"),
        ("no-end", None),
        ("odd.end-that-nobody-knows", None),
        ("data:text", None),
        ("html/page", None),
    ],
)
async def test_the_content_type_is_guessed_from_the_name(root: Path, reader: FileReader, name: str, kind: str | None) -> None:
    # Given a file without a note
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).touch()

    # When it is looked at
    found = await reader.stat(name)

    # Then its type is what its name says, and an encoding is never claimed
    assert found is not None
    assert (found.headers.content_type, found.headers.content_encoding) == (kind, None)


def test_a_time_that_no_calendar_has_is_no_time() -> None:
    # Given a file from the year 30,000
    status: Any = SimpleNamespace(st_mtime_ns=884_541_600_000 * 10**9, st_ctime_ns=1, st_size=1, st_ino=2, st_mode=0o100644)

    # When it is described
    # Then the listing does not end for it
    assert file_note.describe("key", status).modified is None


async def test_no_read_is_larger_than_a_read_may_be(root: Path, reader: FileReader) -> None:
    # Given a large file, most of which is a hole
    path = root / "large"
    path.touch()
    os.truncate(path, LARGEST_READ + 1)

    # When it is asked for whole
    # Then the memory of the process is not the price; a span is answered
    with pytest.raises(Refused):
        await reader.read("large", None, None)
    assert (await reader.read("large", Span(LARGEST_READ, LARGEST_READ + 1), None)).data == b"\0"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.EACCES, Forbidden), (errno.EIO, Unavailable), (errno.ESTALE, Unavailable), (errno.ENOENT, SourceMissing)],
)
async def test_what_the_kernel_says_is_told(
    root: Path, reader: FileReader, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    # Given a file that the kernel does not give
    (root / "file").write_bytes(b"text")

    def refuse(*_: Any) -> bytes:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pread", refuse)

    # When it is read
    # Then the error is one of ours and names the file
    with pytest.raises(kind, match="root/file"):
        await reader.read("file", None, None)
