"""Increments: what the feed tells, what has to be found out, and what happens when the feed has forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.errors import Unavailable
from common.storage.gdrive.names import ESCAPE
from common.storage.retry import Policy, Retrier, RetryingReader
from tests.fakes.drive import DriveServer, Fault, Kind
from tests.unit.storage.drive import DOCX, keys, listed, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.gdrive.reader import DriveReader


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as running:
        yield running


async def marked(reader: DriveReader) -> str:
    mark = await reader.mark()
    assert mark is not None
    return mark


async def test_only_what_has_changed_is_listed(server: DriveServer) -> None:
    # Given a folder in which a thousand files lie still
    place = server.folder("place")
    deep = server.folder("deep", parent=server.folder("folder", parent=place))
    for number in range(1000):
        server.put(f"{number}", b"x", parent=deep)
    elsewhere = server.folder("elsewhere")
    async with reading(server, "root/place") as reader:
        mark = await marked(reader)
        assert await keys(reader, mark) == []

        # When one is changed, one is made, one goes to the trash, and others change elsewhere
        files = {each["name"]: each["id"] for each in server.files()}
        server.seed.change(server.store.get(files["7"]), {"data": b"changed"})
        server.put("new", b"new", parent=place)
        server.seed.change(server.store.get(files["8"]), {"trashed": True})
        server.put("other", b"other", parent=elsewhere)
        server.requests.clear()

        # Then the feed brings the two, as a listing would
        found = {stored.key: stored for stored in await listed(reader, mark)}
        assert sorted(found) == ["folder/deep/7", "new"]
        assert await reader.stat("folder/deep/7") == found["folder/deep/7"]
        assert (await reader.read("new", None, found["new"].version)).data == b"new"
    assert server.requests["files.list"] < 15


@pytest.mark.parametrize("page_limit", [None, 1])
async def test_a_folder_that_moved_brings_what_is_in_it(server: DriveServer, page_limit: int | None) -> None:
    # Given a folder outside, and one inside
    place, outside = server.folder("place"), server.folder("outside")
    server.put("file", b"x", parent=server.folder("deep", parent=outside))
    inside = server.folder("inside", parent=place)
    server.put("file", b"y", parent=inside)
    server.put("still", b"z", parent=place)
    async with reading(server, "root/place") as reader:
        mark = await marked(reader)

        # When the one is moved in, the other is renamed, and a third is made with folders in it
        server.store.move(server.store.get(outside), server.store.get(place))
        server.store.touched(server.store.get(outside))
        server.seed.change(server.store.get(inside), {"name": "renamed"})
        third = server.folder("third", parent=server.folder("new", parent=place))
        server.put("file", b"w", parent=third)
        server.settings.page_limit = page_limit

        # Then everything in them is listed under its new key, once
        found = await keys(reader, mark)
    assert set(found) == {"outside/deep/file", "renamed/file", "new/third/file"}
    assert len(found) == 3 or page_limit  # where they come on pages of their own, a folder in a folder is walked again


async def test_twins_documents_and_shortcuts_are_as_in_a_listing(server: DriveServer) -> None:
    # Given a file, and a mark
    server.put("twin", b"first", createdTime="2020-01-01T00:00:00.000Z")
    target = server.put("target", b"target", parent=server.folder("outside"))
    async with reading(server, "root", natives="export", shortcuts="follow") as reader:
        mark = await marked(reader)

        # When another of its name is made, a document, and a shortcut
        second = server.put("twin", b"second")
        server.document("letter", {DOCX: b"docx"})
        server.shortcut("short", target)

        # Then they have the keys that a listing gives them
        found = await keys(reader, mark)
        assert found == sorted(["letter.docx", "short", f"twin{ESCAPE}~{second}"])
        assert set(found) <= set(await keys(reader))


async def test_the_feed_is_read_page_by_page_and_resumed(server: DriveServer) -> None:
    # Given changes for many pages
    async with reading(server, "root") as reader:
        mark = await marked(reader)
        names = sorted(f"{number:02}" for number in range(30))
        for name in names:
            server.put(name, b"x")
        server.settings.page_limit = 4
        server.faults.add(*(Fault(Kind.STATUS, operation="changes.list", status=503, nth=nth) for nth in (1, 3, 6)))

        # When the service is away now and then
        found: list[str] = []
        after: str | None = mark
        faults = 0
        while after is not None:
            try:
                async for page in reader.list(after):
                    found += [stored.key for stored in page.objects]
                    after = page.after
            except Unavailable:
                faults += 1

        # Then everything comes all the same
        assert (sorted(found), faults) == (names, 3)


async def test_a_feed_that_has_forgotten_is_replaced_by_a_listing(server: DriveServer) -> None:
    # Given a mark that Drive does not know
    server.put("old", b"x")
    async with reading(server, "root") as reader:
        mark = await marked(reader)
        server.put("new", b"x", parent=server.folder("folder"))

        # When it is asked for what has changed since
        found = await keys(reader, mark.rstrip("0123456789") + "999999")

    # Then everything is listed
    assert found == ["folder/new", "old"]


async def test_a_shared_drive_has_a_feed_of_its_own(server: DriveServer) -> None:
    # Given a shared drive
    drive = server.drive("Team")["id"]
    async with reading(server, drive) as reader:
        mark = await marked(reader)

        # When something changes in it, and something in My Drive
        server.put("ours", b"x", parent=drive)
        server.put("mine", b"x")

        # Then only its own is listed
        assert await keys(reader, mark) == ["ours"]


async def test_the_mark_goes_through_the_retries(server: DriveServer) -> None:
    # Given a service that is away at first
    server.faults.add(Fault(Kind.STATUS, operation="changes.getStartPageToken", status=503))
    async with reading(server, "root") as reader:
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)

        retrying = RetryingReader(reader, Retrier(Policy(), sleep, lambda: 0.5))

        # When the moment is to be marked, then it is asked again
        assert await retrying.mark() == await reader.mark()
        assert len(pauses) == 1


async def test_what_the_search_does_not_find_yet_is_listed_all_the_same(server: DriveServer) -> None:
    # Given a service whose search lags behind its feed
    place = server.folder("place")
    inside = server.folder("inside", parent=place)
    async with reading(server, "root/place") as reader:
        mark = await marked(reader)
        server.settings.search_lag = 3600
        server.put("new", b"x", parent=place)
        server.put("deep", b"x", parent=inside)
        moved = server.put("moved", b"x", parent=place)
        trashed = server.put("trashed", b"x", parent=place)
        get = reader._tree.get

        async def get_what_is_there_by_now(file_id: str, *arguments: str) -> object:
            server.seed.change(server.store.get(moved), {"name": "elsewhere"})
            server.seed.change(server.store.get(trashed), {"trashed": True})
            return await get(file_id, *arguments)

        reader._tree.get = get_what_is_there_by_now  # type: ignore[assignment,method-assign]
        reader._tree._root = None
        server.settings.search_lag = 0
        await reader._tree.root()
        server.settings.search_lag = 3600

        # When it is asked for what has changed, then what the feed names is listed, unless it has gone since
        assert await keys(reader, mark) == ["inside/deep", "new"]
