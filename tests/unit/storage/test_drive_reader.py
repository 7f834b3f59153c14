"""Bytes from Drive: pinned to a version, compared with Drive's own hashes, and refusals that say what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.errors import (
    ChecksumMismatch,
    Forbidden,
    ObjectError,
    RateLimited,
    Refused,
    SourceChanged,
    SourceMissing,
    TooLarge,
    Unavailable,
)
from common.objects import UNSIZED, Span, Version
from common.storage.gdrive.reader import DriveReader
from tests.fakes.drive import DriveServer, Fault, Kind
from tests.fakes.http import Framing
from tests.unit.storage.drive import DOCX, PDF, listed, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.gdrive.control import Drive
    from common.transport.http import Response

DATA = bytes(range(256)) * 40


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as running:
        yield running


async def test_bytes_come_whole_and_in_spans(server: DriveServer) -> None:
    # Given a file with a type, a description and properties
    server.put("file", DATA, mimeType="text/plain", description="about it", properties={"owner": "ana"})

    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)

        # When it is read, whole or in spans
        for span in (None, Span(0, 10), Span(10, 5000), Span(5000, len(DATA)), Span(0, len(DATA))):
            content = await reader.read("file", span, stored.version)

            # Then the bytes are those of the span, and the headers come along
            assert content.data == (DATA if span is None else DATA[span.start : span.end])
            assert (content.object.size, content.object.version) == (len(DATA), stored.version)
            assert content.object.headers.content_type == "text/plain"
            assert dict(content.object.headers.metadata) == {"owner": "ana", "description": "about it"}
    assert server.requests["files.list"] == 1  # the version says which file it is: its path is not looked for


async def test_an_empty_file_is_read(server: DriveServer) -> None:
    server.put("file", b"")
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)
        assert (await reader.read("file", None, stored.version)).data == b""


async def test_a_file_that_changed_gives_no_byte(server: DriveServer) -> None:
    # Given a file that is replaced after it was listed
    file_id = server.put("file", DATA)
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)
        server.seed.change(server.store.get(file_id), {"data": DATA[::-1]})

        # When it is read as it was listed, then it is said to have changed
        for span in (None, Span(0, 10), Span(100, 200)):
            with pytest.raises(SourceChanged):
                await reader.read("file", span, stored.version)


async def test_a_file_that_changes_while_it_is_read_gives_no_byte(server: DriveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given somebody who replaces the file while its bytes are on their way
    file_id = server.put("file", DATA)
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)
        drive = reader._drive
        send = type(drive).send

        async def and_then_it_changes(self: Drive, method: str, url: str, *arguments: object, **options: object) -> Response:
            answer: Response = await send(self, method, url, *arguments, **options)  # type: ignore[arg-type]
            server.seed.change(server.store.get(file_id), {"data": DATA[::-1]})
            return answer

        monkeypatch.setattr(type(drive), "send", and_then_it_changes)

        # When the bytes have come, then they are not taken for the version that was listed
        with pytest.raises(SourceChanged):
            await reader.read("file", Span(0, 10), stored.version)


async def test_a_new_name_or_property_is_no_new_version(server: DriveServer) -> None:
    # Given a file that is renamed and described after it was listed
    file_id = server.put("file", DATA)
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)
        server.seed.change(server.store.get(file_id), {"name": "other", "description": "new"})

        # When it is read, then these are the bytes that were listed
        assert (await reader.read("file", None, stored.version)).data == DATA


@pytest.mark.parametrize("gone", ["trash", "deleted"])
async def test_a_file_that_is_gone_is_missing(server: DriveServer, gone: str) -> None:
    # Given a file that goes after it was listed
    file_id = server.put("file", DATA)
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)
        if gone == "trash":
            server.seed.change(server.store.get(file_id), {"trashed": True})
        else:
            server.store.remove(server.store.get(file_id))

        # When it is read or looked at, then it is missing
        for version in (stored.version, None):
            with pytest.raises(SourceMissing):
                await reader.read("file", None, version)
        assert await reader.stat("file") is None


async def test_a_version_without_an_id_is_found_by_its_key(server: DriveServer) -> None:
    # Given a task of which nobody knows the id of the file
    server.put("file", DATA)
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)

        # When it is read, then the key leads to it, and the version is compared
        assert (await reader.read("file", None, Version(stored.version.token))).data == DATA
        with pytest.raises(SourceChanged):
            await reader.read("file", None, Version("another"))


@pytest.mark.parametrize("kind", ["sha256Checksum", "md5Checksum"])
async def test_wrong_bytes_are_told_by_drives_own_hash(server: DriveServer, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given bytes that are damaged on the way, and a file of which Drive knows one hash or the other
    server.put("file", DATA)
    damaged = DATA[:-1] + b"\0"
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)
        drive, tree = reader._drive, reader._tree
        send, get = drive.send, tree.get

        async def damage(*arguments: object, **options: object) -> Response:
            return replace(await send(*arguments, **options), body=damaged)  # type: ignore[arg-type]

        async def with_one_hash(file_id: str, **options: object) -> object:
            found = await get(file_id, **options)  # type: ignore[arg-type]
            other = {"sha256Checksum", "md5Checksum"} - {kind}
            return {name: value for name, value in (found or {}).items() if name not in other}

        monkeypatch.setattr(drive, "send", damage)
        monkeypatch.setattr(tree, "get", with_one_hash)

        # When they have come, then they are refused
        for span in (None, Span(0, len(DATA))):
            with pytest.raises(ChecksumMismatch, match=kind.removesuffix("Checksum").upper()):
                await reader.read("file", span, stored.version)


async def test_an_answer_without_a_range_is_cut_or_refused(server: DriveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a service that sends a file from its beginning, whatever part was asked for
    server.put("file", DATA)
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)
        drive = reader._drive
        send = drive.send

        async def whole(method: str, url: str, headers: object, **options: object) -> Response:
            return await send(method, url, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(drive, "send", whole)

        # When a part is asked for, then it is cut from what came
        assert (await reader.read("file", Span(5, 50), stored.version)).data == DATA[5:50]


@pytest.mark.parametrize("framing", list(Framing))
async def test_an_answer_that_is_cut_short_is_no_file(server: DriveServer, framing: Framing) -> None:
    # Given a connection that breaks
    server.put("file", DATA)
    server.faults.add(Fault(Kind.TRUNCATE, operation="files.get.media", framing=framing, after_bytes=100, times=0))
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)
        for span in (None, Span(0, 5000)):
            with pytest.raises(Unavailable):
                await reader.read("file", span, stored.version)


async def test_what_google_takes_for_malware_is_refused_for_good(server: DriveServer) -> None:
    # Given a file that Google does not hand out
    server.put("file", DATA, abusive=True)
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)

        # When it is read, then the error is final and says what can be done
        with pytest.raises(Forbidden, match="malware or spam") as refused:
            await reader.read("file", None, stored.version)
    assert not refused.value.retryable


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("userRateLimitExceeded", RateLimited),
        ("rateLimitExceeded", RateLimited),
        ("backendError", Unavailable),
        ("insufficientFilePermissions", Forbidden),
        ("cannotDownloadFile", Forbidden),
    ],
)
async def test_refusals_have_their_meaning(server: DriveServer, reason: str, kind: type[ObjectError]) -> None:
    server.put("file", DATA)
    server.faults.add(Fault(Kind.STATUS, operation="files.get.media", reason=reason))
    async with reading(server, "root") as reader:
        (stored,) = await listed(reader)
        with pytest.raises(kind):
            await reader.read("file", None, stored.version)


async def test_a_document_is_exported(server: DriveServer) -> None:
    # Given a document
    file_id = server.document("letter", {DOCX: b"docx bytes", PDF: b"pdf bytes"})
    async with reading(server, "root", natives="export", export_documents="pdf") as reader:
        (stored,) = await listed(reader)
        assert (stored.key, stored.size) == ("letter.pdf", UNSIZED)

        # When it is read
        content = await reader.read("letter.pdf", None, stored.version)

        # Then it comes in the format that was asked for, and now has a size
        assert (content.data, content.object.size) == (b"pdf bytes", 9)
        assert content.object.headers.content_type == PDF
        assert content.object.version == stored.version

        # And it cannot be had in parts: each part would be of another export
        with pytest.raises(Refused):
            await reader.read("letter.pdf", Span(0, 3), stored.version)

        # When somebody writes on, then what was listed is gone
        server.seed.change(server.store.get(file_id), {"exports": {PDF: b"more"}})
        with pytest.raises(SourceChanged):
            await reader.read("letter.pdf", None, stored.version)
        found = await reader.stat("letter.pdf")
        assert found is not None
        assert found.version != stored.version


async def test_another_document_of_the_same_name_is_another_version(server: DriveServer) -> None:
    # Given a document that was listed, and one of the same name and count of changes that took its place
    first = server.document("Plan", {DOCX: b"first"})
    async with reading(server, "root", natives="export") as reader:
        (before,) = await listed(reader)
        server.seed.change(server.store.get(first), {"trashed": True})
        second = server.document("Plan", {DOCX: b"second"})
        (after,) = await listed(reader)

        # Then they are told apart, and the old one is not read any more
        count = server.resource(second)["version"]
        assert (before.key, before.version.token) == ("Plan.docx", f"v{count}@{first}")
        assert (after.key, after.version.token) == ("Plan.docx", f"v{count}@{second}")
        with pytest.raises(SourceMissing):
            await reader.read("Plan.docx", None, before.version)
        assert (await reader.read("Plan.docx", None, after.version)).data == b"second"

        # And a task of an older release, which did not name the document, is replaced by one that does
        with pytest.raises(SourceChanged):
            await reader.read("Plan.docx", None, Version(f"v{count}", second))


async def test_an_export_that_is_too_large_is_refused_with_the_limit(server: DriveServer) -> None:
    # Given a document whose export is larger than Google makes them
    server.settings.export_limit = 100
    server.document("letter", {DOCX: b"x" * 101})
    async with reading(server, "root", natives="export") as reader:
        (stored,) = await listed(reader)

        # When it is read, then the error is final and names the limit
        with pytest.raises(TooLarge, match="10 MB") as refused:
            await reader.read("letter.docx", None, stored.version)
    assert not refused.value.retryable


async def test_a_file_that_shows_neither_revision_nor_hash_is_read(server: DriveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a file of which this account may see the bytes and little else
    file_id = server.put("file", DATA)
    async with reading(server, "root") as reader:
        get = reader._tree.get

        async def little(*arguments: object, **options: object) -> object:
            hidden = {"headRevisionId", "md5Checksum", "sha256Checksum"}
            found = await get(*arguments, **options)  # type: ignore[arg-type]
            return {name: value for name, value in (found or {}).items() if name not in hidden}

        monkeypatch.setattr(reader._tree, "get", little)
        version = Version(f"v{server.resource(file_id)['version']}@{file_id}", file_id)

        # When it is read, then its bytes come
        for span in (None, Span(5, 50)):
            content = await reader.read("file", span, version)
            assert content.data == (DATA if span is None else DATA[5:50])


def test_limits_say_what_a_reader_of_drive_can_do() -> None:
    assert DriveReader.limits.tells_changes
    assert not DriveReader.limits.ordered_listing
    assert DriveReader.limits.largest_unsized > 0
