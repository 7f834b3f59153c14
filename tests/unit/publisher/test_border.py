"""Ranges of a service that does not begin where it is asked to: nothing is left out, whatever the division was at."""

from __future__ import annotations

import random
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Unavailable
from common.storage.key_order import order
from publisher.position import EVERYTHING, Position
from publisher.scan import scan
from tests.unit.publisher.listing import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from common.storage.base import Page

NAMES = [f"dir{number // 300}/{number:04}" for number in range(3000)]


class Forgetful(Service):
    """Asked to begin behind a text, it leaves out what `skips` says of the text and a key."""

    def __init__(self, names: Sequence[str], skips: Callable[[str, str], bool], *, page: int = 100) -> None:
        super().__init__(names, page=page)
        self.skips = skips

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        kept = {item.key for item in self.objects if after is None or not self.skips(after, item.key)}
        inside = Service(sorted(kept, key=order), page=self.page)
        async for page in inside.list(after):
            yield page


def directories(text: str, key: str) -> bool:
    """As SeaweedFS 4.48 does."""
    return key.startswith(f"{text}/")


def far(text: str, key: str) -> bool:
    return text not in NAMES and key < "dir6/1900"


def all_of_it(text: str, key: str) -> bool:
    return text.startswith("dir5") and text not in NAMES


def nothing(text: str, key: str) -> bool:
    return False


async def scanned(service: Service, *, shards: int = 4) -> tuple[list[str], Position]:
    found: list[str] = []
    position = Position()
    async with aclosing(scan(service, EVERYTHING, skip_markers=False, shards=shards, patience=0)) as pages:
        async for page in pages:
            found += page.objects.keys
            position = position.beyond(page.done)
    return found, position


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the name of a directory, whenever there is one in the middle."""
    monkeypatch.setattr("publisher.ranges.WORTH_DIVIDING", 50)

    def between(low: str, high: str) -> str | None:
        inside = [text for text in ("dir5", "dir3", "dir7", "dir1") if order(low) < order(text) < order(high)]
        return inside[0] if inside else None

    monkeypatch.setattr("publisher.ranges.between", between)


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize("skips", [directories, far, all_of_it, nothing])
async def test_what_a_range_leaves_out_the_one_before_it_lists(skips: Callable[[str, str], bool]) -> None:
    # Given a service that leaves something out behind certain texts, and says that it does not
    service = Forgetful(NAMES, skips)
    # When it is listed in ranges
    found, position = await scanned(service)
    # Then everything comes, once, and the places make up the whole
    assert sorted(found) == NAMES
    assert position.ended
    # And whoever was found out is not divided any more
    assert (service.refuted > 0) is (skips is not nothing)


@given(
    st.sets(st.text("ab/0.", min_size=1, max_size=5), max_size=60),
    st.integers(1, 6),
    st.integers(2, 5),
    st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None, derandomize=True)
async def test_whatever_a_range_leaves_out_at_its_beginning_comes(names: set[str], page: int, shards: int, seed: int) -> None:
    # Given any keys, and a service that leaves out some of the first keys behind texts that are no keys
    dice = random.Random(seed)
    counts: dict[str, int] = {}
    listed = sorted(names, key=order)

    def skips(text: str, key: str) -> bool:
        behind = [name for name in listed if order(name) > order(text)]
        return text not in names and key in behind[: counts.setdefault(text, dice.randint(0, 3))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("publisher.ranges.WORTH_DIVIDING", 0)
        found, position = await scanned(Forgetful(listed, skips, page=page), shards=shards)
    # Then every key comes
    assert set(found) == names
    assert position.ended


@pytest.mark.usefixtures("divided")
async def test_a_listing_that_says_too_early_that_it_ended_is_asked_again() -> None:
    # Given a service that says once, in the middle, that nothing follows
    class Hasty(Service):
        hasty = True
        begun_far_behind = False

        async def list(self, after: str | None = None) -> AsyncIterator[Page]:
            self.begun_far_behind |= after == "dir5"
            async for page in super().list(after):
                if self.hasty and self.begun_far_behind and "dir2" <= page.objects[0].key < "dir4":
                    self.hasty = False
                    yield type(page)(page.objects, None)
                    return
                yield page

    service = Hasty(NAMES, page=100)
    found, position = await scanned(service)
    # Then what it kept back is listed
    assert sorted(found) == NAMES
    assert position.ended
    assert not service.hasty


async def test_a_service_is_asked_before_it_is_divided_and_once() -> None:
    # Given a service of which it is not known whether it can begin anywhere
    service = Service(NAMES, page=100)
    service.may_be_divided = False
    # When it is listed by one who has no patience
    found, _ = await scanned(service)
    # Then it is listed in one piece
    assert found == NAMES
    assert service.asked == [(None, NAMES[:100])]
    assert (service.most_at_once, service.requests) == (1, 30)


async def test_a_service_that_cannot_be_asked_is_listed_in_one_piece() -> None:
    class Busy(Service):
        async def divisible(self, after: str | None, keys: Sequence[str]) -> bool:
            raise Unavailable("503")

    service = Busy(NAMES, page=100)
    assert (await scanned(service))[0] == NAMES
    assert service.most_at_once == 1


async def test_a_listing_that_ends_among_the_last_characters_of_unicode_is_listed_whole() -> None:
    # Given keys behind everything that XML may hold
    names = [f"{letter}{number:03}" for letter in ("a", "\U0010fffe", "\U0010ffff") for number in range(40)]
    service = Service(names, page=10)
    # When they are scanned in ranges
    found, position = await scanned(service, shards=3)
    # Then all are there, and nothing is recorded twice
    assert sorted(found, key=order) == names
    assert position.ended
