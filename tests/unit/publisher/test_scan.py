"""The walk over a listing: complete, a few pages ahead and no more, markers left out. Side by side: test_ranges."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from common.errors import Forbidden
from publisher.position import EVERYTHING, Gap
from publisher.scan import QUEUED, ScannedPage, scan
from tests.unit.publisher.listing import FakeReader, thing


async def everything(reader: FakeReader, after: str | None = None, *, skip_markers: bool = True) -> list[ScannedPage]:
    async with aclosing(scan(reader, [Gap(after)], skip_markers=skip_markers)) as pages:
        return [page async for page in pages]


async def test_every_page_comes_once_and_in_order() -> None:
    # Given 2,500 objects in pages of 1,000
    reader = FakeReader([thing(f"{number:05}") for number in range(2500)])
    # When they are scanned
    pages = await everything(reader)
    # Then all are there, and the last page says that it is the last
    assert [item.key for page in pages for item in page.objects] == [f"{number:05}" for number in range(2500)]
    assert [page.done for page in pages] == [(None, "00999"), ("00999", "01999"), ("01999", None)]


async def test_a_scan_goes_on_behind_its_checkpoint() -> None:
    # Given a checkpoint behind the second object
    reader = FakeReader([thing(key) for key in "abcd"])
    # When the scan resumes there
    pages = await everything(reader, "b")
    # Then only the rest is listed
    assert [item.key for page in pages for item in page.objects] == ["c", "d"]
    assert reader.listings == ["b"]


async def test_an_empty_source_has_one_empty_page() -> None:
    # Given nothing
    # When it is scanned
    pages = await everything(FakeReader([]))
    # Then that is not an error
    assert [(list(page.objects), page.done) for page in pages] == [([], (None, None))]


async def test_few_pages_are_fetched_ahead_and_no_more() -> None:
    # Given ten pages
    reader = FakeReader([thing(f"{number}") for number in range(10)], page=1)
    async with aclosing(scan(reader, EVERYTHING, skip_markers=True)) as pages:
        # When the first is in hand and there is all the time in the world
        await anext(pages)
        for _ in range(20):
            await asyncio.sleep(0)
        # Then those that may wait have been asked for, and the one that waits for their place
        assert reader.pages == 1 + QUEUED + 1


async def test_leaving_early_leaves_nothing_behind() -> None:
    # Given a listing whose next page never comes
    started = asyncio.Event()
    hung = asyncio.Event()

    class Hanging(FakeReader):
        async def list(self, after: str | None = None):
            yield (await anext(FakeReader([thing("a"), thing("b")], page=1).list()))
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                hung.set()

    async with aclosing(scan(Hanging([]), EVERYTHING, skip_markers=True)) as pages:
        await anext(pages)
        await started.wait()
        # When the scan is left
    # Then the fetch under way has been stopped
    assert hung.is_set()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_an_error_comes_after_the_pages_before_it() -> None:
    # Given a source that refuses the third page
    def refuse(number: int) -> None:
        if number == 2:
            raise Forbidden("no more")

    reader = FakeReader([thing(key) for key in "abcd"], page=1, before_page=refuse)
    seen = []
    # When it is scanned
    with pytest.raises(Forbidden):  # noqa: PT012 - the loop is what raises
        async with aclosing(scan(reader, EVERYTHING, skip_markers=True)) as pages:
            async for page in pages:
                seen += [item.key for item in page.objects]
    # Then what came before was handed out
    assert seen == ["a", "b"]


@pytest.mark.parametrize(("skip", "kept"), [(True, ["a/full/", "b"]), (False, ["a/", "a/full/", "b"])])
async def test_directory_markers(skip: bool, kept: list[str]) -> None:
    # Given the marker of the location itself, a marker, a name like a marker with bytes behind it, and an empty object
    reader = FakeReader([thing("", size=0), thing("a/", size=0), thing("a/full/", size=3), thing("b", size=0)])
    # When they are scanned
    (page,) = await everything(reader, skip_markers=skip)
    # Then only what is a marker is left out, and counted
    assert [item.key for item in page.objects] == kept
    assert (page.left_out, page.faults) == ({"marker": 4 - len(kept)}, [])


async def test_an_object_without_a_name_is_counted_apart() -> None:
    # Given an object with bytes, named exactly like the location
    (page,) = await everything(FakeReader([thing("", size=3), thing("a")]), skip_markers=False)
    # Then it is not published, since no task can carry it, and it is not passed off as a marker: it fails by name
    assert [item.key for item in page.objects] == ["a"]
    assert page.left_out == {}
    assert [(fault.key, fault.error.category) for fault in page.faults] == [("", "invalid_name")]
