"""Walking through the records: all of them, once, also while they move from bucket to bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.state.browse import Cursor
from common.state.cache import Cache, Kind
from tests.unit.state.samples import ROUTE, everything, publish, settlement

if TYPE_CHECKING:
    from common.state.store import Store


async def test_a_walk_misses_and_repeats_nothing_while_buckets_split(cache: Cache, store: Store) -> None:
    # Given a hundred records in many small buckets
    before = [f"before/{n}" for n in range(100)]
    await publish(cache, before)
    names: list[str] = []
    cursor, turn = None, 0
    while True:
        # When a page is read
        page, cursor = await cache.page(ROUTE, Kind.PUBLISHED, cursor, 7)
        names += [name for name, _ in page]
        if cursor is None:
            break
        # and others come in before the next, faster than they are read
        if turn < 10:
            await publish(cache, [f"later/{turn}/{n}" for n in range(60)])
        turn += 1
    # Then those that were there have come once each
    assert sorted(name for name in names if name.startswith("published:before/")) == sorted(f"published:{key}" for key in before)
    assert len(names) == len(set(names))


async def test_a_walk_goes_on_after_everything_was_deleted(cache: Cache) -> None:
    # Given a walk in the middle
    await publish(cache, [f"old/{n}" for n in range(100)])
    _, cursor = await cache.page(ROUTE, None, None, 50)
    # When the route is emptied and filled anew, with its layout begun again
    await cache.delete(ROUTE, None)
    await publish(cache, ["new"])
    page, cursor = await cache.page(ROUTE, None, cursor, 50)
    # Then the walk ends, with the new record if it lies ahead
    assert cursor is None
    assert {name for name, _ in page} <= {"published:new"}


async def test_one_kind_is_shown_alone(cache: Cache) -> None:
    await publish(cache, ["a", "b"])
    await cache.settle([settlement("b"), settlement("c")])
    shown = {kind: sorted(name for name, _ in (await cache.page(ROUTE, kind, None, 100))[0]) for kind in Kind}
    assert shown == {Kind.PUBLISHED: ["published:a", "published:b"], Kind.CONSUMED: ["consumed:b", "consumed:c"]}


async def test_a_walk_over_all_routes_takes_them_in_turn(cache: Cache) -> None:
    for route in ("c", "a", "b"):
        await publish(cache, [f"{route}{n}" for n in range(5)], route=route)
    names = await everything(cache, None, limit=5)
    assert [name[10] for name in names] == list("aaaaabbbbbccccc")
    assert len(set(names)) == 15


@pytest.mark.parametrize(
    "text",
    ["", "0", "bucket", "bucket:::", "bucket:cGhvdG9z:", "bucket:cGhvdG9z:0000000g", "bucket:cGhvdG9z:00000000\n",
     "bucket:____:00000000", "bucket:*:00000000", "bucket:cGhvdG9:00000000",
     "bucket:cGhvdG9z:" + "a" * 40, "bucket:cGhvdG9z:" + "a" * 40 + "x"],
)  # fmt: skip
async def test_a_cursor_of_nobody_is_refused(cache: Cache, text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor of ours"):
        await cache.page(ROUTE, None, text, 10)


async def test_a_cursor_of_another_route_is_refused(cache: Cache) -> None:
    with pytest.raises(ValueError, match="another route"):
        await cache.page(ROUTE, None, str(Cursor("other", "00000000")), 10)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), st.from_regex(r"\A[0-9a-f]{40}[cp]\Z"))
def test_a_cursor_comes_back_as_it_was(route: str, position: str) -> None:
    assert Cursor.read(str(Cursor(route, position))) == Cursor(route, position)


@pytest.mark.slow
async def test_a_hundred_thousand_records_are_paged_through_exactly(store: Store) -> None:
    # Given 100,000 records
    cache = Cache(store)
    for start in range(0, 100_000, 5000):
        await publish(cache, [f"key/{n}" for n in range(start, start + 5000)])
    # When they are walked through
    names = await everything(cache, limit=1000)
    # Then each has come once, no bucket has outgrown what makes it small, and all of them can go
    assert len(names) == 100_000
    assert set(names) == {f"published:key/{n}" for n in range(100_000)}
    buckets = [await store.client.hlen(f"{store.keys.route(ROUTE)}:{bucket}") for bucket in range(0, 1000, 10)]
    assert max(buckets) < 512
    assert await cache.delete(None, None) == 100_000
