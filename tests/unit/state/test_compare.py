"""Redis compares a page with the receipts: it must see what `lookup` and `judge` would see, for every kind of version."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.config import RedisSettings
from common.state.cache import Cache, Compared, Kind, Published, Record, Settled, Settlement, There
from common.state.flight import Flight, Scan, entries_of
from common.state.jobs import Jobs
from common.state.keys import digest, spread, spreads
from common.state.records import kept_mark, pack_token, pack_tokens
from common.state.store import Store
from tests.unit.state.samples import ETAG, NOW, ODD_KEYS, OTHER, ROUTE, keys, publish, receipt, receipts, settlement, tokens

if TYPE_CHECKING:
    from common.state.cache import Receipt

hexes = st.binary(min_size=16, max_size=16).map(bytes.hex)


async def test_only_what_differs_comes_back(cache: Cache) -> None:
    # Given objects that are consumed, published, both, or unknown
    await publish(cache, ["published", "both"])
    await cache.settle([settlement("both"), settlement("consumed"), settlement("older")])
    page = ["both", "unknown", "consumed", "published", "older"]
    # When they are compared, the last in another version than was consumed
    found = await cache.compare(ROUTE, page, [ETAG, ETAG, ETAG, ETAG, OTHER])
    # Then those come back that are not proved, with what is known of them, but for the names of workers
    assert found.differ == [(1, Record()), (3, Record(Published(ETAG, NOW))), (4, Record(None, receipt(worker="")))]
    assert await cache.compare(ROUTE, [], []) == Compared()
    assert (await cache.compare("elsewhere", ["both"], [ETAG])).differ == [(0, Record())]


async def test_keys_of_every_kind_are_compared(cache: Cache) -> None:
    # Given odd keys, all of them consumed
    await cache.settle([settlement(key) for key in ODD_KEYS])
    # Then none of them differs
    assert (await cache.compare(ROUTE, ODD_KEYS, [ETAG] * len(ODD_KEYS))).differ == []
    # And each does in another version
    differ = (await cache.compare(ROUTE, ODD_KEYS, [OTHER] * len(ODD_KEYS))).differ
    assert [place for place, _ in differ] == list(range(len(ODD_KEYS)))


async def test_more_workers_than_one_byte_can_number(cache: Cache) -> None:
    # Given receipts of 300 workers
    items = [Settlement(ROUTE, f"k{n}", ETAG, "o", Settled.MOVED, receipt(worker=f"w{n}")) for n in range(300)]
    await cache.settle(items)
    # Then all are found, and told from another version
    page = [f"k{n}" for n in range(300)]
    assert (await cache.compare(ROUTE, page, [ETAG] * 300)).differ == []
    assert len((await cache.compare(ROUTE, page, [ETAG[::-1]] * 300)).differ) == 300


async def test_what_was_kept_before_its_page_was_recorded_is_not_left_out_twice(store: Store, cache: Cache, jobs: Jobs) -> None:
    # Given a page that was reserved and sent, of which a worker has found that something else stays at the destination
    job, flight = await jobs.open(ROUTE, "sweep", NOW), Flight(store, clock=lambda: NOW)
    scan = Scan(ROUTE, job.id, 0)
    entries = entries_of([("a", ETAG), ("b", ETAG)])
    first, _ = await flight.reserve(scan, entries)
    await cache.settle([Settlement(ROUTE, "a", ETAG, "one", Settled.KEPT, mark=kept_mark("keep", NOW))])
    # When the publisher dies before it records the page, and its successor lists it again
    found = await cache.compare(ROUTE, ["a", "b"], [ETAG, ETAG])
    # Then it is told that the object has been counted, and what the record says
    assert found.ended == [0]
    assert [(place, record.published and record.published.kept) for place, record in found.differ] == [
        (0, ("keep", NOW)),
        (1, None),
    ]
    known = await jobs.get(job.id)
    assert known is not None
    assert (known.listed, known.left_out, known.in_flight, known.unbalanced) == (2, {"kept": 1}, 1, 0)
    # And recording the page, late, leaves what the worker has found
    await flight.record(scan, entries, NOW + 60, "b", next_number=first + 2)
    kept, sent = [record.published for record in await cache.lookup(ROUTE, ["a", "b"])]
    assert kept is not None
    assert (kept.kept, kept.at) == (("keep", NOW), kept_mark("keep", NOW))
    assert sent == Published(ETAG, NOW + 60)


@given(st.dictionaries(keys, receipts, max_size=12), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_it_says_what_the_records_say(redis_address: str, consumed: dict[str, Receipt], data: st.DataObject) -> None:
    # Given receipts with versions of any kind
    store = await Store.open(RedisSettings(address=redis_address, prefix=f"compare-{uuid.uuid4().hex[:12]}"))
    cache = Cache(store, per_bucket=2)
    try:
        await cache.settle([Settlement(ROUTE, key, it.etag, "o", Settled.MOVED, it) for key, it in consumed.items()])
        # When a page of those keys and others is compared, with the same versions or others, all of one kind or not
        kind = data.draw(st.sampled_from([tokens, hexes]))
        page = [*consumed, *(key for key in data.draw(st.lists(keys, max_size=3, unique=True)) if key not in consumed)]
        named = [
            consumed[key].etag if key in consumed and data.draw(st.booleans()) else data.draw(kind)  # mostly another
            for key in page
        ]
        found = dict((await cache.compare(ROUTE, page, named)).differ)
        # Then exactly those come back whose receipt names another version, or that have none
        expected = {place for place, key in enumerate(page) if key not in consumed or consumed[key].etag != named[place]}
        assert set(found) == expected
        assert all(found[place].consumed == _without_worker(consumed.get(page[place])) for place in expected)
    finally:
        await cache.delete(ROUTE, None)
        await store.client.delete(store.keys.routes(), f"{store.keys.route(ROUTE)}:workers")
        await store.close()


def _listed(data: st.DataObject, proof: Receipt) -> tuple[str, int] | None:
    """What a destination may list of a copy: as it was left, in another version, or with another size; None: nothing."""
    kind = data.draw(st.sampled_from(["same", "version", "size", "gone"]))
    if kind == "gone":
        return None
    version = data.draw(st.one_of(tokens, st.just(proof.etag))) if kind == "version" else proof.destination_version
    return version, proof.size + (kind == "size")


@given(st.dictionaries(keys, receipts, max_size=8), st.integers(NOW - 1000, NOW + 1000), st.data())
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_the_destination_does_not_bear_out_is_doubted(
    redis_address: str, consumed: dict[str, Receipt], began: int, data: st.DataObject
) -> None:
    # Given receipts with versions of any kind, and a destination of which some were altered
    store = await Store.open(RedisSettings(address=redis_address, prefix=f"compare-{uuid.uuid4().hex[:12]}"))
    cache = Cache(store, per_bucket=2)
    try:
        await cache.settle([Settlement(ROUTE, key, it.etag, "o", Settled.MOVED, it) for key, it in consumed.items()])
        said = {key: _listed(data, it) for key, it in consumed.items()}
        listed = {key: each for key, each in said.items() if each is not None}
        # When the page is compared with what is listed there
        page = [*consumed, "of which nothing is known"]
        found = await cache.compare(ROUTE, page, [*(it.etag for it in consumed.values()), ETAG], There(began, listed))
        # Then those are doubted whose receipts name something else, unless they are as new as the listing
        expected = {
            place
            for place, (key, it) in enumerate(consumed.items())
            if it.at < began and listed.get(key) != (it.destination_version, it.size)
        }
        assert {doubt.place for doubt in found.doubted} == expected
        assert [place for place, _ in found.differ] == [len(consumed)]
        # And once they are distrusted nothing is known of them, and everything of the others
        assert await cache.distrust(ROUTE, "r-1-1", page, found.doubted) == set()
        assert {place for place, each in enumerate(await cache.lookup(ROUTE, list(consumed))) if each == Record()} == expected
        assert (await cache.counts(ROUTE))[Kind.CONSUMED] == len(consumed) - len(expected)
    finally:
        await cache.delete(ROUTE, None)
        await store.client.delete(store.keys.routes(), f"{store.keys.route(ROUTE)}:workers")
        await store.close()


async def test_a_receipt_that_has_come_meanwhile_is_kept(cache: Cache) -> None:
    # Given two objects that the destination does not list, both of them published as well
    await publish(cache, ["deleted", "copied again"])
    await cache.settle([settlement("deleted"), settlement("copied again")])
    page, job = ["deleted", "copied again"], await Jobs(cache._store).open(ROUTE, "sweep", NOW)
    doubted = (await cache.compare(ROUTE, page, [ETAG, ETAG], There(NOW + 1, {}))).doubted
    # When one of them is copied again before it is distrusted
    await cache.settle([Settlement(ROUTE, "copied again", ETAG, "one", Settled.MOVED, receipt(at=NOW + 5))])
    # Then that one keeps its new receipt, and of the other one nothing is left
    assert await cache.distrust(ROUTE, job.id, page, doubted) == {1}
    first, second = await cache.lookup(ROUTE, page)
    assert (first, second.consumed) == (Record(), receipt(at=NOW + 5))
    found = await Jobs(cache._store).get(job.id)
    assert found is not None
    assert found.distrusted == 1


def _without_worker(proof: Receipt | None) -> Receipt | None:
    return proof and proof._replace(worker="")


@given(st.lists(st.one_of(hexes, tokens), max_size=5))
def test_many_tokens_are_packed_as_one_by_one_or_not_at_all(texts: list[str]) -> None:
    # Given versions of any kind
    packed = [pack_token(text) for text in texts]
    # Then they are packed together exactly if all are of the kind that hex ETags are
    if all(token[0] == 0 for token in packed):
        assert pack_tokens(texts) == b"".join(token[1:] for token in packed)
    else:
        assert pack_tokens(texts) is None


def test_what_only_looks_like_hex_is_not_packed() -> None:
    for text in (ETAG.upper(), ETAG[:30] + " a", "٣" * 32, ETAG[:-1], ETAG + "0"):
        assert pack_tokens([ETAG, text]) is None
    assert pack_tokens([ETAG[:-1], ETAG + "0"]) is None


@given(st.lists(st.binary(), max_size=5))
def test_many_numbers_are_the_numbers_of_each(stored: list[bytes]) -> None:
    assert spreads(stored) == b"".join(spread(digest(key)) for key in stored)
