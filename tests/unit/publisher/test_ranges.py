"""A listing in several ranges: everything once, whatever the keys, however it is divided, and wherever it was interrupted."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Refused, Unavailable
from common.state.jobs import Checkpoint
from common.storage.key_order import order
from publisher.position import EVERYTHING, Gap, Position
from publisher.ranges import FARTHEST, WORTH_DIVIDING, Range, Ranges, beginning, between
from publisher.scan import scan
from tests.unit import clockwork
from tests.unit.publisher.listing import FakeReader, Service, thing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.storage.base import Page

letters = st.text(st.characters(exclude_categories=()), max_size=12)
names = st.text("09afAZ/-.", max_size=12)
keys = st.one_of(names, letters, st.tuples(st.just("logs/2026/"), names).map("".join))


@given(keys, keys)
def test_what_lies_between_lies_between(one: str, other: str) -> None:
    # Given two keys of any kind
    low, high = sorted((one, other), key=order)
    if order(low) == order(high):
        return
    # When a text between them is sought, then it is between them, and may be sent to any service
    found = between(low, high)
    if found is not None:
        assert order(low) < order(found) < order(high)
        assert len(found) <= len(low) + 65
    # And what both begin with is what both begin with
    assert low.startswith(beginning(low, high))
    assert high.startswith(beginning(low, high))


@pytest.mark.parametrize(
    ("low", "high", "middle"),
    [
        ("a/0000", "a/9999", "a/4"),
        ("a/0000", "a/" + FARTHEST, "a/5"),
        ("aaa", "aaz", "aam"),
        ("2026/01/05/x", "2026/01" + FARTHEST, "2026/01V"),
        ("a", "b", "aO"),
        ("a", "a" + FARTHEST, "aN"),
        ("\u0430", "\u044f", "\u043f"),
    ],
)
def test_names_are_parted_in_the_middle(low: str, high: str, middle: str) -> None:
    assert between(low, high) == middle


@pytest.mark.parametrize(("low", "high"), [("a", "a\x00"), ("a", "a\x01"), ("\ud800", "\ud801")])
def test_where_there_is_no_room_there_is_no_middle(low: str, high: str) -> None:
    assert between(low, high) is None


def test_the_end_of_a_listing_is_found_in_a_few_steps() -> None:
    # Given the first page of a bucket whose keys all begin alike
    ranges = Ranges()
    first = ranges.begin(Gap())
    assert ranges.divide() is None
    ranges.reached(first, ["logs/2026/01/0000", "logs/2026/01/0999"], "logs/2026/01/0999")
    # When it is divided
    rest = ranges.divide()
    # Then the new range begins behind all that begin as those two do
    assert rest is not None
    assert (rest.after, rest.until, first.until) == (f"logs/2026/01/0{FARTHEST}", None, f"logs/2026/01/0{FARTHEST}")
    # When a key comes that does not, then the next step is behind all that begin as this one and the first do
    ranges.reached(rest, ["logs/2026/02/0000"], "logs/2026/02/0000")
    farther = ranges.divide()
    assert farther is not None
    assert farther.after == f"logs/2026/0{FARTHEST}"


def test_what_has_most_left_is_divided() -> None:
    # Given two ranges, one of them nearly through
    ranges = Ranges()
    one, two = ranges.begin(Gap("a0", "a9")), ranges.begin(Gap("b0", "b9"))
    ranges.reached(one, ["a0", "a8"], "a8")
    ranges.reached(two, [f"b1{number:04}" for number in range(1000)], "b10999")
    # When there is room for another, then it takes half of the other one
    three = ranges.divide()
    assert three is not None
    assert (two.until, three.after, three.until) == ("b5", "b5", "b9")
    assert three.left == two.left
    # And a range in which little is left is not divided
    one.left = two.left = three.left = WORTH_DIVIDING - 1
    assert ranges.divide() is None


@given(st.lists(keys, unique_by=order, max_size=60), st.integers(1, 7), st.integers(1, 5), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
async def test_every_key_comes_once_however_the_listing_is_divided(names: list[str], shards: int, page: int, seed: int) -> None:
    # Given any keys, and a listing that is divided at every chance, at any place
    dice = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("publisher.ranges.WORTH_DIVIDING", dice.choice([0, 5, 50]))
        service = Service(names, page=page)
        position, found = Position(), []
        # When it is scanned, left at any place, and resumed from what was recorded
        while not position.ended:
            left = dice.randint(1, 12)
            async with aclosing(scan(service, position.gaps, skip_markers=False, shards=shards, patience=0)) as pages:
                async for scanned in pages:
                    found += [item.key for item in scanned.objects]
                    position = Position.of(Checkpoint(str(position.beyond(scanned.done))))
                    left -= 1
                    if not left:
                        break
                    if dice.random() < 0.5:
                        await asyncio.sleep(0)
    # Then every key that can be replicated has come once, and never more were listed at once than allowed
    assert sorted(found, key=order) == sorted(filter(None, names), key=order)
    assert service.most_at_once <= shards


def test_a_slow_service_is_asked_for_several_pages_at_once() -> None:
    # Given 60,000 keys on a service that takes its time
    service = Service([f"logs/2026/{number:08}" for number in range(60_000)], page=1000, seconds=0.02)

    async def scanned() -> tuple[list[str], float]:
        async with aclosing(scan(service, EVERYTHING, skip_markers=True, shards=8)) as pages:
            return [key async for page in pages for key in page.objects.keys], asyncio.get_running_loop().time()

    # When they are scanned
    found, seconds = clockwork.run(scanned())
    # Then all are there, in much less time than one after the other. Feeling for the end costs some requests, as many for a
    # hundred pages as for a thousand
    assert len(set(found)) == len(found) == 60_000
    assert seconds < 0.02 * 60 / 2
    assert service.most_at_once == 8
    assert service.requests < 60 + 80


async def test_a_fast_service_is_listed_from_end_to_end() -> None:
    # Given a service that answers at once
    service = Service([f"{number:05}" for number in range(20_000)], page=1000)
    # When it is scanned, by one who is slower
    async with aclosing(scan(service, EVERYTHING, skip_markers=True, shards=8, patience=1)) as pages:
        found = [key async for page in pages for key in page.objects.keys]
    # Then nothing is asked for that is not needed, and the order is the listing's
    assert found == sorted(found)
    assert (service.requests, service.most_at_once) == (20, 1)


async def test_a_backend_that_cannot_begin_anywhere_is_not_divided() -> None:
    # Given a reader of directories, say
    reader = Service([f"{number:05}" for number in range(5000)], page=100, seconds=0.002)
    reader.limits = FakeReader.limits
    async with aclosing(scan(reader, EVERYTHING, skip_markers=True, shards=8, patience=0)) as pages:
        assert len([key async for page in pages for key in page.objects.keys]) == 5000
    assert reader.most_at_once == 1


async def test_a_fault_in_one_range_ends_the_scan_after_the_pages_before_it() -> None:
    # Given two ranges, of which one cannot be listed
    class Broken(Service):
        async def list(self, after: str | None = None) -> AsyncIterator[Page]:
            async for page in super().list(after):
                if page.objects[0].key > "m":
                    raise Unavailable("503")
                yield page

    seen = []
    with pytest.raises(Unavailable):  # noqa: PT012 - the loop is what raises
        async with aclosing(scan(Broken(["a", "b", "x"]), [Gap(None, "b"), Gap("b")], skip_markers=True, shards=2)) as pages:
            async for page in pages:
                seen += list(page.objects.keys)
    # Then nothing of the other is lost, and nobody is left at work
    assert seen == ["a", "b"]
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


class Disordered(Service):
    """A service that sorts as it likes."""

    def __init__(self, names: Sequence[str], page: int) -> None:
        super().__init__(names, page=page)
        self.objects = [thing(key) for key in names]


async def test_a_service_with_an_order_of_its_own_is_not_divided() -> None:
    # Given one that sorts without regard to capitals
    names = ["a", "B", "c", "D", "e"]
    async with aclosing(scan(Disordered(names, 5), EVERYTHING, skip_markers=True, shards=4, patience=0)) as pages:
        # Then it is read as it comes
        assert [key async for page in pages for key in page.objects.keys] == names


async def test_a_service_with_an_order_of_its_own_is_refused_once_it_was_divided() -> None:
    with pytest.raises(Refused, match="BRIGADE_LIST_SHARDS=1"):
        async with aclosing(
            scan(Disordered(["a", "B", "c"], 3), [Gap(None, "b"), Gap("b")], skip_markers=True, shards=2)
        ) as pages:
            assert [page async for page in pages] == []


def test_a_range_knows_what_is_left_of_it() -> None:
    # Given a range that has come a quarter of its way with a thousand keys
    span = Range("k0", "k8")
    span.reached("k0", "k2", 1000)
    # Then three thousand are left, about
    assert span.left == pytest.approx(3000, rel=0.05)
