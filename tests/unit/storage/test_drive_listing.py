"""What a Drive looks like as a list of keys: trees, pages, twins, shortcuts, documents, odd names."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from common.errors import LocationMissing, Refused, Unavailable
from common.objects import UNSIZED
from common.storage.gdrive import listing, tree
from common.storage.gdrive.control import User
from common.storage.gdrive.names import ESCAPE
from tests.fakes.drive import DriveServer, Fault, Kind
from tests.unit.storage.drive import DOCX, PDF, keys, listed, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OLD, OLDER = "2020-01-02T00:00:00.000Z", "2020-01-01T00:00:00.000Z"


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as running:
        yield running


def grow(server: DriveServer, depth: int, width: int, parent: str = "root", path: str = "") -> list[str]:
    """A tree with two files in each folder; their keys."""
    found = []
    for number in range(2):
        server.put(f"file-{number}", b"bytes", parent=parent)
        found.append(f"{path}file-{number}")
    if depth:
        for number in range(width):
            folder = server.folder(f"folder {number}", parent=parent)
            found += grow(server, depth - 1, width, folder, f"{path}folder {number}/")
    return found


@pytest.mark.parametrize("page_limit", [None, 1, 3])
async def test_a_tree_is_listed_whole_on_pages_of_any_size(server: DriveServer, page_limit: int | None) -> None:
    # Given folders in folders, and a service that puts few files on a page
    expected = grow(server, 3, 3)
    server.settings.page_limit = page_limit

    # When the tree is listed
    async with reading(server, "root") as reader:
        found = await listed(reader)

    # Then every file is there once, with its size, version, time and headers
    assert sorted(stored.key for stored in found) == sorted(expected)
    assert all(stored.size == 5 and stored.version.token and stored.version.id and stored.modified for stored in found)


async def test_folders_are_asked_for_together(server: DriveServer) -> None:
    # Given a hundred small folders
    for number in range(100):
        server.put("file", b"x", parent=server.folder(f"{number}"))

    # When all of it is listed
    async with reading(server, "root") as reader:
        assert len(await listed(reader)) == 100

    # Then it took a request for the first folder and one for each group of the others
    assert server.requests["files.list"] == 1 + 100 / listing.PARENTS


@pytest.mark.parametrize("page_limit", [None, 2])
async def test_a_listing_is_resumed_in_another_process(
    server: DriveServer, page_limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a tree, small groups and small pages
    monkeypatch.setattr(listing, "PARENTS", 2)
    monkeypatch.setattr(listing, "PAGE", 3)
    expected = sorted(grow(server, 3, 3))
    server.settings.page_limit = page_limit
    async with reading(server, "root") as reader:
        pages = [page async for page in reader.list()]
    assert sorted(stored.key for page in pages for stored in page.objects) == expected
    assert len({page.after for page in pages}) == len(pages)  # each page is a place of its own

    # When somebody else goes on behind any of the pages
    for number, page in enumerate(pages[:-1]):
        before = server.requests["files.list"]
        async with reading(server, "root") as reader:
            rest = await keys(reader, page.after)

        # Then whatever was not on the pages before comes
        seen = {stored.key for page in pages[: number + 1] for stored in page.objects}
        assert set(expected) - seen <= set(rest) <= set(expected)
        assert len(rest) == len(set(rest))

    # And near the end not everything is listed once more
    assert server.requests["files.list"] - before < before / len(pages)
    assert len(rest) < len(expected) / 2


async def test_a_fault_costs_one_request_and_not_the_folder(server: DriveServer) -> None:
    # Given a large folder, and a service that is away for a moment, again and again
    expected = sorted(f"{number:03}" for number in range(100))
    for name in expected:
        server.put(name, b"x")
    server.settings.page_limit = 10
    server.faults.add(*(Fault(Kind.STATUS, operation="files.list", status=503, nth=nth) for nth in (1, 4, 8, 16)))

    # When it is listed, and after each fault resumed behind the last page
    found: list[str] = []
    faults = 0
    after: str | None = None
    async with reading(server, "root") as reader:
        while True:
            try:
                async for page in reader.list(after):
                    found += [stored.key for stored in page.objects]
                    after = page.after
                break
            except Unavailable:
                faults += 1

    # Then nothing is missing, nothing is there twice, and no page was asked for again that had come
    assert (sorted(found), faults) == (expected, 4)
    assert server.requests["files.list"] == 20 + 4  # the names, the files, the faults


async def test_a_folder_that_is_deleted_meanwhile_takes_no_other_with_it(server: DriveServer) -> None:
    # Given folders, and somebody who deletes one of them for good between two pages
    folders = [server.folder(f"{number}") for number in range(5)]
    for folder in folders:
        server.put("file", b"x", parent=folder)
    server.put("first", b"x")
    async with reading(server, "root") as reader:
        children = reader._tree.children
        asked = 0

        async def and_one_is_deleted(*arguments: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 2:
                server.store.remove(server.store.get(folders[2]))
            return await children(*arguments, **options)

        reader._tree.children = and_one_is_deleted  # type: ignore[method-assign]

        # When the rest is listed, then only what was in it is missing
        assert await keys(reader) == ["0/file", "1/file", "3/file", "4/file", "first"]


async def test_a_page_token_that_ran_out_costs_the_folder_once_more(server: DriveServer) -> None:
    # Given a service that does not take the token of a page any more
    expected = [f"{number}" for number in range(9)]
    for name in expected:
        server.put(name, b"x")
    server.settings.page_limit = 3
    server.faults.add(Fault(Kind.STATUS, operation="files.list", status=400, reason="invalid", nth=5))

    # When the folder is listed, then it is begun anew, and everything is there
    async with reading(server, "root") as reader:
        assert set(await keys(reader)) == set(expected)

        # And when it takes no token at all, then that is an error, and not a circle
        server.faults.clear()
        server.faults.add(Fault(Kind.STATUS, operation="files.list", status=400, reason="invalid", nth=2, times=0))
        with pytest.raises(Refused):
            await keys(reader)


@pytest.mark.parametrize("page_limit", [None, 1, 2])
async def test_files_of_one_name_all_arrive(server: DriveServer, page_limit: int | None) -> None:
    # Given three files and two folders of one name, in the order of their making or another
    middle = server.put("same.jpg", b"second", createdTime=OLD)
    server.put("same.jpg", b"first", createdTime=OLDER)
    last = server.put("same.jpg", b"third")
    server.put("other.jpg", b"other")
    server.put("same.jpg", b"here", parent=server.folder("twin", createdTime=OLDER))
    second = server.folder("twin", createdTime=OLD)
    server.put("same.jpg", b"there", parent=second)
    server.settings.page_limit = page_limit

    # When the folder is listed
    async with reading(server, "root") as reader:
        found = {stored.key: stored for stored in await listed(reader)}

        # Then the oldest has the plain name, and the others have their id behind it
        mark = f"{ESCAPE}~"
        assert sorted(found) == sorted(
            [
                "other.jpg",
                "same.jpg",
                f"same.jpg{mark}{middle}",
                f"same.jpg{mark}{last}",
                "twin/same.jpg",
                f"twin{mark}{second}/same.jpg",
            ]
        )

        # And each key leads to the bytes of its own file
        for key, data in {
            "same.jpg": b"first",
            f"same.jpg{mark}{middle}": b"second",
            f"twin{mark}{second}/same.jpg": b"there",
        }.items():
            assert await reader.stat(key) == found[key]
            assert (await reader.read(key, None, found[key].version)).data == data


@pytest.mark.parametrize("name", ["a/b", "..", ".", "line\nbreak", "it's", "back\\slash", ESCAPE, "Ümlaut ☕", " ", "a" * 300])
async def test_names_that_are_no_names_elsewhere(server: DriveServer, name: str) -> None:
    # Given a file and a folder with a name that other systems do not allow
    server.put(name, b"bytes")
    server.put("inside", b"bytes", parent=server.folder(name))

    # When they are listed
    async with reading(server, "root") as reader:
        found = await keys(reader)

        # Then their keys have as many segments as they lie deep, and lead back to them
        assert len(found) == 2
        assert sorted(key.count("/") for key in found) == [0, 1]
        assert not {"..", ".", ""} & {segment for key in found for segment in key.split("/")}
        for key in found:
            stat = await reader.stat(key)
            assert stat is not None
            assert stat.key == key


async def test_what_is_in_the_trash_is_not_there(server: DriveServer) -> None:
    # Given a file and a folder in the trash
    kept = server.put("kept", b"x")
    gone = server.put("gone", b"x", trashed=True)
    server.put("inside", b"x", parent=server.folder("bin", trashed=True))

    # When the folder is listed, they are not
    async with reading(server, "root") as reader:
        assert await keys(reader) == ["kept"]
        assert await reader.stat("gone") is None
        found = await reader.stat("kept")
    assert found is not None
    assert (found.version.id, gone) == (kept, gone)


async def test_documents_are_left_out_unless_asked_for(server: DriveServer) -> None:
    # Given documents, and things that have no format at all
    server.document("letter", {DOCX: b"docx", PDF: b"pdf"})
    server.put("form", b"", mimeType="application/vnd.google-apps.form")
    server.put("letter.docx", b"uploaded")

    # When nobody asked for them, only files are there
    async with reading(server, "root") as reader:
        assert await keys(reader) == ["letter.docx"]

    # When they are exported, they have an extension, and are told apart from a file of that name
    async with reading(server, "root", natives="export") as reader:
        found = await listed(reader)
        assert len(found) == 2
        exported = next(stored for stored in found if stored.size == UNSIZED)
        assert exported.key.startswith("letter.docx")
        assert exported.headers.content_type == DOCX
        assert await reader.stat(exported.key) == exported

    # When another format is asked for, they are called by that
    async with reading(server, "root", natives="export", export_documents="pdf") as reader:
        assert await keys(reader) == ["letter.docx", "letter.pdf"]


async def test_shortcuts_are_left_out_unless_followed(server: DriveServer) -> None:
    # Given shortcuts to a file, to a folder outside, to the folder they are in, and to nothing
    outside = server.folder("outside")
    server.put("file", b"far away", parent=outside)
    place = server.folder("place")
    server.put("here", b"here", parent=place)
    server.shortcut("to file", server.put("target", b"target", parent=outside), parent=place)
    server.shortcut("to folder", outside, parent=place)
    server.shortcut("to itself", place, parent=place)
    server.shortcut("to nothing", server.put("gone", b"", trashed=True), parent=place)

    # When they are left out
    async with reading(server, place) as reader:
        assert await keys(reader) == ["here"]

    # When they are followed, then what they lead to is there under the name of the shortcut, and there is no end of no circle
    async with reading(server, place, shortcuts="follow") as reader:
        assert await keys(reader) == ["here", "to file", "to folder/file", "to folder/target"]
        for key, data in {"to file": b"target", "to folder/file": b"far away"}.items():
            assert (await reader.read(key, None, None)).data == data
            stat = await reader.stat(key)
            assert stat is not None
            assert (await reader.read(key, None, stat.version)).data == data


async def test_two_folders_with_shortcuts_to_each_other_come_to_an_end(server: DriveServer) -> None:
    # Given a ring of folders
    folders = [server.folder(f"{number}") for number in range(4)]
    for folder in folders:
        server.put("file", b"x", parent=folder)
        for other in folders:
            if other != folder:
                server.shortcut("to", other, parent=folder)

    # When it is listed, then the listing ends, and every file is there
    async with reading(server, "root", shortcuts="follow") as reader:
        found = await keys(reader)
    assert {f"{number}/file" for number in range(4)} <= set(found)
    assert len(found) == len(set(found))


async def test_a_search_that_is_not_complete_is_an_error(server: DriveServer) -> None:
    # Given a Drive that says that it could not search everything
    server.put("file", b"x")
    server.settings.incomplete_search = True

    # When it is listed, or one file is looked for, then the answer is not taken for all there is
    async with reading(server, "root") as reader:
        with pytest.raises(Unavailable, match="incompleteSearch"):
            await listed(reader)
        with pytest.raises(Unavailable, match="incompleteSearch"):
            await reader.stat("file")


async def test_a_folder_below_is_a_location(server: DriveServer) -> None:
    # Given folders on the way
    album = server.folder("Album", parent=server.folder("Photos"))
    server.put("beach.jpg", b"x", parent=album)

    # When the location names the folder by its path, or by its id
    for place in ("root/Photos/Album", album):
        async with reading(server, place) as reader:
            # Then keys begin there
            assert await keys(reader) == ["beach.jpg"]
            assert await reader.stat("beach.jpg") is not None


async def test_a_shared_drive_is_a_location(server: DriveServer) -> None:
    # Given a shared drive with a file in a folder
    drive = server.drive("Team")["id"]
    server.put("file", b"x", parent=server.folder("folder", parent=drive))

    # When it is listed, as a whole or from a folder in it
    for place in (drive, f"{drive}/folder"):
        async with reading(server, place) as reader:
            # Then its files are there
            assert (await keys(reader))[-1].endswith("file")
            assert await reader.mark() is not None


@pytest.mark.parametrize("place", ["nothing", "root/no such folder", "FILE"])
async def test_a_location_that_is_not_there_is_named(server: DriveServer, place: str) -> None:
    # Given no such folder
    place = place.replace("FILE", server.put("file", b"x"))

    # When it is listed, then the error names it
    async with reading(server, place) as reader:
        with pytest.raises(LocationMissing, match=place.rpartition("/")[2]):
            await listed(reader)


async def test_a_folder_that_was_replaced_is_found_again(server: DriveServer) -> None:
    # Given a reader that knows a folder
    first = server.folder("folder")
    server.put("file", b"first", parent=first)
    async with reading(server, "root/folder") as reader:
        assert await reader.stat("file") is not None

        # When it goes to the trash and another takes its place
        server.seed.change(server.store.get(first), {"trashed": True})
        server.put("new", b"second", parent=server.folder("folder"))

        # Then the reader finds its way
        assert await reader.stat("new") is not None
        assert await reader.stat("file") is None


async def test_a_service_accounts_own_drive_is_pointed_out(
    server: DriveServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a service account whose own Drive is named as the source, where a shared folder was meant
    async with reading(server, "root") as reader:

        async def robot() -> User:
            return User("1", "robot@project.iam.gserviceaccount.com", 0)

        monkeypatch.setattr(reader._drive, "user", robot)

        # When it is listed, then the log says what to do
        assert await keys(reader) == []
    assert "share a folder with it" in "".join(capsys.readouterr())


@pytest.mark.parametrize("page_limit", [None, 3])
@pytest.mark.parametrize("answered", [0, 1, 7])
async def test_an_answer_for_some_of_the_folders_only_loses_nothing(
    server: DriveServer, answered: int, page_limit: int | None
) -> None:
    # Given a tree, some folders of which are empty, and a service that answers for some of a group of folders only
    expected = grow(server, 3, 4)
    for number in range(5):
        server.folder(f"empty {number}")
    server.settings.groups_answered = answered
    server.settings.page_limit = page_limit

    # When the tree is listed
    async with reading(server, "root") as reader:
        found = await keys(reader)

    # Then every file is there, once
    assert found == sorted(expected)


@pytest.mark.parametrize("answered", [0, 1])
async def test_a_listing_that_asks_for_folders_alone_is_resumed_anywhere(
    server: DriveServer, answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given small groups and pages, and a service that answers for some of the folders only
    monkeypatch.setattr(listing, "PARENTS", 3)
    monkeypatch.setattr(listing, "PAGE", 3)
    expected = set(grow(server, 3, 3))
    server.settings.groups_answered = answered
    async with reading(server, "root") as reader:
        pages = [page async for page in reader.list()]

    # When the listing is broken off behind any page, and another process goes on there
    for broken in range(1, len(pages)):
        async with reading(server, "root") as reader:
            rest = await keys(reader, pages[broken - 1].after)

        # Then nothing is lost
        before = {stored.key for page in pages[:broken] for stored in page.objects}
        assert before | set(rest) == expected


async def test_an_empty_folder_costs_one_request_and_is_asked_for_once(server: DriveServer) -> None:
    # Given forty folders, every other one empty, and a shortcut that leads to an empty one again
    for number in range(40):
        folder = server.folder(f"{number:02}")
        if number % 2:
            server.put("file", b"x", parent=folder)
    server.shortcut("again", next(each["id"] for each in server.files() if each["name"] == "00"))

    # When all of it is listed
    async with reading(server, "root", shortcuts="follow") as reader:
        assert len(await keys(reader)) == 20

    # Then each of the empty ones was asked for alone, once
    groups = -(-41 // listing.PARENTS)
    assert server.requests["files.list"] <= 1 + groups + 20 + 1


async def test_a_folder_that_goes_while_it_is_to_be_asked_for_alone_is_left_out(server: DriveServer) -> None:
    # Given three folders, one of which is deleted when the group that it was in has been answered for none
    gone = server.folder("gone")
    for name in ("a", "b"):
        server.put("file", b"x", parent=server.folder(name))
    server.settings.groups_answered = 0
    async with reading(server, "root") as reader:
        children, asked = reader._tree.children, 0

        async def and_then_one_goes(*arguments: Any) -> Any:
            nonlocal asked
            asked += 1
            answer = await children(*arguments)
            if asked == 2:
                server.store.remove(server.store.get(gone))
            return answer

        reader._tree.children = and_then_one_goes  # type: ignore[assignment,method-assign]

        # Then the others are listed
        assert await keys(reader) == ["a/file", "b/file"]


@pytest.mark.parametrize("page_limit", [None, 2])
@pytest.mark.parametrize(
    ("lacks", "key", "word"),
    [
        ("size", "sub/odd", "size"),
        ("version", "sub/odd", "version"),
        ("name", "sub/odd-id", "name"),
        ("mimeType", "sub/odd", "mimeType"),
    ],
)
async def test_an_odd_entry_fails_alone(
    server: DriveServer, monkeypatch: pytest.MonkeyPatch, lacks: str, key: str, word: str, page_limit: int | None
) -> None:
    # Given a folder with a file of which Drive leaves something out, among others
    server.settings.page_limit = page_limit
    place = server.folder("sub")
    for name in ("a", "odd", "z"):
        server.put(name, b"x", parent=place)
    search = tree.Tree._search

    async def lacking(self: Any, *arguments: Any) -> Any:
        items, following = await search(self, *arguments)
        for item in items:
            if item["name"] == "odd":
                for name in (lacks, *(("headRevisionId", "md5Checksum") if lacks == "version" else ())):
                    item.pop(name, None)
                item["id"] = "odd-id"
        return items, following

    monkeypatch.setattr(tree.Tree, "_search", lacking)

    # When it is listed
    async with reading(server, "root") as reader:
        pages = [page async for page in reader.list()]

    # Then the others come, and it is named
    assert sorted(item.key for page in pages for item in page.objects) == ["sub/a", "sub/z"]
    (fault,) = [fault for page in pages for fault in page.faults]
    assert fault.key == key
    assert word in str(fault.error)


async def test_a_time_that_nobody_can_read_is_none(server: DriveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("a", b"x")
    search = tree.Tree._search

    async def odd(self: Any, *arguments: Any) -> Any:
        items, following = await search(self, *arguments)
        return [{**item, "modifiedTime": "10000-01-01T00:00:00.000Z"} for item in items], following

    monkeypatch.setattr(tree.Tree, "_search", odd)
    async with reading(server, "root") as reader:
        (found,) = await listed(reader)
    assert (found.key, found.modified) == ("a", None)


async def test_what_is_left_out_is_counted_by_its_reason(server: DriveServer) -> None:
    # Given a file among two documents and a shortcut, in two folders
    place = server.folder("sub")
    server.document("letter", {DOCX: b"docx"}, parent=place)
    server.document("sheet", {PDF: b"pdf"})
    server.shortcut("elsewhere", server.put("file", b"x"), parent=place)

    # When neither is wanted
    async with reading(server, "root") as reader:
        pages = [page async for page in reader.list()]

    # Then each is counted, once
    assert [item.key for page in pages for item in page.objects] == ["file"]
    assert sum((Counter(page.left_out) for page in pages), Counter()) == {"document": 2, "shortcut": 1}


@pytest.mark.parametrize("asked", ["children", "called"])
async def test_a_page_token_that_leads_to_its_own_page_is_a_fault(
    server: DriveServer, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    # Given a service that answers a question with the token that the question had
    async with reading(server, "root") as reader:
        place = reader._tree
        folder = await place.root()

        async def stuck(*_: object) -> dict[str, object]:
            return {"files": [], "nextPageToken": "again"}

        monkeypatch.setattr(place.drive, "call", stuck)
        # When it is listed, or searched for a name, then it is not asked for ever
        with pytest.raises(Unavailable, match="does not say where"):
            await (place.children([folder], "again") if asked == "children" else place._called(folder, ["name"]))
