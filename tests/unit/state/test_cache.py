"""The cache as its users see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.state.cache import Cache, Claim, Kind, Outcome, Published, Record, Settled, Settlement
from tests.unit.state.samples import ETAG, NOW, ODD_KEYS, OTHER, ROUTE, claim, everything, publish, receipt, settlement

if TYPE_CHECKING:
    from common.state.store import Store


async def test_nothing_is_known_at_first(cache: Cache) -> None:
    assert await cache.lookup(ROUTE, ["a", "b"]) == [Record(), Record()]
    assert await cache.lookup(ROUTE, []) == []
    assert await cache.get(ROUTE, Kind.PUBLISHED, "a") is None
    assert await cache.page(None, None, None, 10) == ([], None)
    assert await cache.page(ROUTE, None, None, 10) == ([], None)
    assert await cache.delete(None, None) == 0
    assert not await cache.delete_one(ROUTE, Kind.CONSUMED, "a")


async def test_odd_keys_are_told_apart(cache: Cache) -> None:
    # Given records for keys of every kind
    await publish(cache, ODD_KEYS)
    await cache.settle([settlement(key) for key in ODD_KEYS])
    # When they are looked up
    records = await cache.lookup(ROUTE, ODD_KEYS)
    # Then each has its own
    assert records == [Record(Published(ETAG, NOW), receipt())] * len(ODD_KEYS)
    assert sorted(await everything(cache, limit=7)) == sorted(f"{kind}:{key}" for key in ODD_KEYS for kind in Kind)
    # And a key that reads like a pattern removes itself and nothing else
    assert await cache.delete_one(ROUTE, Kind.PUBLISHED, "*")
    assert await cache.delete_one(ROUTE, Kind.CONSUMED, "*")
    assert len(await everything(cache)) == 2 * len(ODD_KEYS) - 2


async def test_routes_are_apart(cache: Cache) -> None:
    # Given the same key in two routes
    await publish(cache, ["a"], route="one")
    await publish(cache, ["a"], route="two", etag=OTHER)
    # When one of them is emptied
    assert [record.published for record in await cache.lookup("two", ["a"])] == [Published(OTHER, NOW)]
    assert await cache.delete("one", None) == 1
    # Then the other is as it was
    assert await everything(cache, None) == ["published:a"]
    assert await cache.routes() == ["one", "two"]


async def test_a_record_is_described_for_people(cache: Cache) -> None:
    await publish(cache, ["a:b c"])
    await cache.settle([settlement("a:b c")])
    assert await cache.get(ROUTE, Kind.PUBLISHED, "a:b c") == {"key": "a:b c", "etag": ETAG, "at": "2026-09-21T14:13:20+00:00"}
    assert await cache.get(ROUTE, Kind.CONSUMED, "a:b c") == {
        "key": "a:b c",
        "etag": ETAG,
        "at": "2026-09-21T14:13:20+00:00",
        "size": 1234,
        "crc32c": 0xDEADBEEF,
        "destination_version": str(NOW * 1_000_000 + 4567),
        "worker": "worker-1",
    }


async def test_each_kind_is_deleted_without_the_other(cache: Cache) -> None:
    # Given objects with one record or both
    await publish(cache, [f"p{n}" for n in range(30)] + [f"b{n}" for n in range(30)])
    await cache.settle([settlement(f"{kind}{n}") for kind in "bc" for n in range(30)])
    # When one kind goes, exactly that many records go
    assert await cache.delete(ROUTE, Kind.PUBLISHED) == 60
    assert await cache.counts(ROUTE) == {Kind.PUBLISHED: 0, Kind.CONSUMED: 60}
    await publish(cache, ["b1", "x"], etag=OTHER)
    assert await cache.delete(ROUTE, Kind.CONSUMED) == 60
    # Then the other is untouched
    assert sorted(await everything(cache)) == ["published:b1", "published:x"]
    assert await cache.delete(ROUTE, None) == 2
    assert await cache.delete(ROUTE, None) == 0


async def test_deleting_leaves_leases_and_jobs(cache: Cache, store: Store) -> None:
    await publish(cache, ["a"])
    await cache.claim([claim("a", "new")])
    assert await cache.delete(None, None) == 1
    assert (await cache.claim([claim("a", "new", "two")]))[0].outcome is Outcome.BUSY


async def test_a_claim_is_taken_done_or_busy(cache: Cache) -> None:
    # Given an object that is consumed and one that is not, in two routes
    await cache.settle([settlement("done")])
    # When two owners claim both
    first = await cache.claim([claim("done"), claim("open")])
    second = await cache.claim([claim("open", owner="two"), claim("done", OTHER, owner="two"), claim("done", owner="two")])
    # Then only one gets each, and what is done is done for everyone; another version of it may be taken
    assert [it.outcome for it in first] == [Outcome.DONE, Outcome.TAKEN]
    assert first[0].record == Record(None, receipt())
    assert [it.outcome for it in second] == [Outcome.BUSY, Outcome.TAKEN, Outcome.DONE]
    assert second[1].record == Record(None, receipt())


async def test_a_lease_runs_out_is_renewed_and_given_up(cache: Cache) -> None:
    # Given two short leases, one of which is renewed
    short, kept = claim("short", seconds=2), claim("kept", seconds=2)
    assert [it.outcome for it in await cache.claim([short, kept])] == [Outcome.TAKEN, Outcome.TAKEN]
    await cache.renew([claim("kept", seconds=60), claim("short", owner="two", seconds=60)])
    await asyncio.sleep(2.1)
    # When their time is over
    outcomes = [it.outcome for it in await cache.claim([claim("short", owner="two"), claim("kept", owner="two")])]
    # Then only the renewed one still holds; a lease that ran out is not renewed, and not released by who had it
    assert outcomes == [Outcome.TAKEN, Outcome.BUSY]
    await cache.renew([short])
    await cache.release([short, kept])
    outcomes = [it.outcome for it in await cache.claim([claim("short"), claim("kept", owner="two")])]
    assert outcomes == [Outcome.BUSY, Outcome.TAKEN]


async def test_claims_of_several_routes_come_back_in_order(cache: Cache) -> None:
    # Given a key that is consumed in one route and not in another
    await cache.settle([Settlement("x", "a", ETAG, "one", Settled.MOVED, receipt())])
    # When keys of both are claimed in turn
    wanted = [Claim(route, key, ETAG, "one", 60) for key in ("a", "b") for route in ("y", "x")]
    outcomes = [it.outcome for it in await cache.claim(wanted)]
    # Then each answer stands where its question stood
    assert outcomes == [Outcome.TAKEN, Outcome.DONE, Outcome.TAKEN, Outcome.TAKEN]


async def test_failures_of_a_version_are_counted(cache: Cache, store: Store) -> None:
    # Given failures of one version, another takes over, and a receipt ends it
    assert [await cache.count_failure(ROUTE, "a", ETAG) for _ in range(3)] == [1, 2, 3]
    assert [await cache.count_failure(ROUTE, "a", OTHER) for _ in range(2)] == [1, 2]
    assert await cache.count_failure(ROUTE, "b", ETAG) == 1
    (name,) = [name async for name in store.client.scan_iter(f"{store.keys.prefix}:*:failures:86f7*")]
    assert 7 * 86400 - 60 < await store.client.ttl(name) <= 7 * 86400
    await cache.settle([settlement("a")])
    assert await cache.count_failure(ROUTE, "a", OTHER) == 1


async def test_records_of_a_forgotten_job_are_kept(cache: Cache) -> None:
    await publish(cache, ["a"])
    assert (await cache.lookup(ROUTE, ["a"]))[0].published == Published(ETAG, NOW)


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_page_has_at_least_one_record(cache: Cache, limit: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        await cache.page(ROUTE, None, None, limit)
