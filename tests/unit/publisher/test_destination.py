"""What a destination's listing says of the pages of a source: in step, or from the disk; whole, in ranges, and when it fails."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InvalidName, Unavailable
from common.storage.base import Fault, Page
from common.storage.key_order import order
from common.storage.listed import Listed
from publisher.destination import Destination
from publisher.position import EVERYTHING, Gap
from publisher.scan import ScannedPage, scan
from publisher.spool import Spool
from tests.unit.publisher.listing import FakeReader, Service, thing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from common.storage.base import Reader

NAMES = [f"{folder}/{number:02}" for folder in "abcé" for number in range(10)] + ["a", "a-b", "b.txt", "\udc80raw", "𝄞"]


class Unordered(FakeReader):
    """Lists in an order of its own, from the beginning only, as a tree of folders does."""

    limits = replace(FakeReader.limits, ordered_listing=False)

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        assert after is None
        shuffled = random.Random(5).sample(self.objects, len(self.objects))
        for start in range(0, len(shuffled), self.page):
            last = start + self.page >= len(shuffled)
            yield Page(shuffled[start : start + self.page], None if last else f"#{start}")


class Segments(Service):
    """Takes part in the order of bytes by its own account, and lists by the segments of the path, as SeaweedFS does."""

    def __init__(self, names: Sequence[str], *, page: int = 3) -> None:
        super().__init__(names, page=page)
        self.objects.sort(key=lambda item: order(item.key.replace("/", "\0")))


def clock() -> float:
    return 7.0


async def seen(
    source: Reader, there: Reader, gaps: Sequence[Gap] = EVERYTHING, shards: int = 1
) -> tuple[dict[str, bool], Destination]:
    """Of each key of the source, whether it is listed at the destination, as it is."""
    destination = Destination(there, source, gaps, clock)
    found: dict[str, bool] = {}
    async for page in scan(source, gaps, skip_markers=True, shards=shards, patience=0):
        listed = await destination.at(page)
        assert listed is not None
        assert listed.began == 7.0
        assert listed.listed.keys() <= set(page.objects.keys)
        assert all(value == ("e1", 1) for value in listed.listed.values())
        found |= {key: key in listed.listed for key in page.objects.keys}
    await destination.close()
    return found, destination


def shuffled(names: Sequence[str], *, page: int) -> FakeReader:
    return Unordered([thing(key) for key in names], page=page)


KINDS: dict[str, Callable[..., FakeReader]] = {"by bytes": Service, "by segments": Segments, "in its own order": shuffled}


@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("source", KINDS)
async def test_in_any_order_each_object_is_found(source: str, there: str) -> None:
    # Given a destination without every third, and with three of its own, one of them a marker
    names = sorted(NAMES, key=order)
    kept = [key for place, key in enumerate(names) if place % 3]
    reader = KINDS[there]([*kept, "0", "zz"], page=4)
    reader.objects.insert(0, thing(" /", size=0))
    # When both are listed
    found, destination = await seen(KINDS[source](names, page=5), reader)
    # Then what is there is found, and nothing else; before an order was found out one may be missed, which costs a look
    unseen = {key for key in kept if not found[key]}
    assert {key for key in names if found[key]} == set(kept) - unseen
    assert len(unseen) <= (1 if (source, there) == ("by bytes", "by segments") else 0)
    assert destination.failed is None
    assert reader.closed == 1
    # And the rest is counted, unless an order had first to be found out
    assert destination.extra == (None if "by segments" in {source, there} and "in its own order" not in {source, there} else 2)


async def test_ranges_side_by_side_are_compared_each_with_its_own_part(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a slow source that is divided, and a destination that begins anywhere
    monkeypatch.setattr("publisher.ranges.WORTH_DIVIDING", 0)
    names = [f"{folder}/{number:03}" for folder in "abcdef" for number in range(40)]
    source, there = Service(names, page=5, seconds=0.002), Service(names[1::2], page=7)
    # When they are compared
    found, destination = await seen(source, there, shards=4)
    # Then it was listed in parts, each key once but for the borders, and the service was asked once whether it may be
    assert source.most_at_once > 1
    assert found == {key: key in names[1::2] for key in names}
    assert destination.extra == 0
    assert len(there.asked) == 1
    assert there.requests < len(names) / 7 + 3 * 16


async def test_a_service_that_does_not_begin_anywhere_is_listed_from_its_beginning() -> None:
    # Given a scan that goes on in the middle, and a destination that may not begin there
    names = [f"{number:03}" for number in range(30)]
    source, there = Service(names), Service(names[::2])
    there.may_be_divided = False
    # When it is compared
    found, destination = await seen(source, there, (Gap("009", None),))
    # Then it is right all the same, and nothing is said of what is beside it
    assert found == {key: key in names[::2] for key in names[10:]}
    assert destination.extra is None


async def test_what_a_page_brings_from_beyond_its_range_is_found_too() -> None:
    # Given a page of keys that lie nowhere between its ends, as where a service had left something out
    there = Service(["a", "b", "c"])
    destination = Destination(there, Service([]), EVERYTHING, clock)
    page = ScannedPage(Listed.of([thing("b"), thing("x")]), {}, (), Gap("c", "c"))
    # Then they are looked for all the same
    found = await destination.at(page)
    assert found is not None
    assert set(found.listed) == {"b"}
    await destination.close()


async def test_an_entry_that_fails_alone_is_no_extra() -> None:
    # Given an entry of the source that cannot be replicated, and is there
    destination = Destination(FakeReader([thing("a"), thing("odd")]), FakeReader([]), EVERYTHING, clock)
    await destination.at(ScannedPage(Listed.of([thing("a")]), {}, [Fault("odd", InvalidName("odd"))], Gap(None, None)))
    # Then it is not counted as something else
    assert destination.extra == 0
    await destination.close()


@pytest.mark.parametrize("kind", [FakeReader, Unordered])
async def test_a_listing_that_fails_says_nothing_from_there_on(kind: type[FakeReader]) -> None:
    # Given a destination whose listing breaks
    class Broken(kind):  # type: ignore[misc, valid-type]
        async def list(self, after: str | None = None) -> AsyncIterator[Page]:
            async for page in super().list(after):
                yield page
                raise Unavailable("gone")

    names = [f"{number:03}" for number in range(30)]
    destination = Destination(Broken([thing(key) for key in names], page=10), FakeReader([]), EVERYTHING, clock)
    pages = [ScannedPage(Listed.of([thing(key) for key in names[at : at + 10]]), {}, (), Gap(*ends)) for at, ends in PARTS]
    # When it is asked of one page after the other
    found = [await destination.at(page) for page in pages]
    # Then what had come is true, nothing is said of the rest, and the reason is known
    assert [None if each is None else len(each.listed) for each in found] == (
        [10, None, None] if kind is FakeReader else [None] * 3
    )
    assert str(destination.failed) == "gone"
    assert destination.extra is None
    await destination.close()


PARTS = [(0, (None, "009")), (10, ("009", "019")), (20, ("019", None))]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sets(st.text("ab/é\udc80𝄞\uffff", min_size=1, max_size=4)), st.sets(st.text("ab/é\udc80𝄞\uffff", min_size=1, max_size=4))
)
async def test_whatever_the_two_hold(here: set[str], there: set[str]) -> None:
    # Given two sets of keys, without what would be a marker
    one, other = ([thing(key) for key in keys] for keys in (here, there))
    # When they are compared, then it is as with sets
    for kind in (FakeReader, Unordered):
        source = FakeReader(one, page=2)
        source.objects.sort(key=lambda item: order(item.key))
        reader = kind(other, page=3)
        reader.objects.sort(key=lambda item: order(item.key))
        found, destination = await seen(_by_bytes(source), _by_bytes(reader) if kind is FakeReader else reader)
        assert {key for key, is_there in found.items() if is_there} == here & there
        assert destination.extra == len(there - here)


def _by_bytes(reader: FakeReader) -> Service:
    return Service([item.key for item in reader.objects], page=reader.page)


async def test_the_disk_keeps_what_memory_does_not() -> None:
    # Given entries of every kind, one of them twice
    spool = Spool()
    await spool.add(["a", "\udc80", "b"], ["e1", "\udc81", "e2"], [1, 2**50, 0])
    await spool.add(["a"], ["e3"], [5])
    # Then they are found as they came last
    assert await spool.find(["\udc80", "a", "no", *map(str, range(1200))]) == {"\udc80": ("\udc81", 2**50), "a": ("e3", 5)}
    spool.close()
