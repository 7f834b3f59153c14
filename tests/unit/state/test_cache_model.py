"""The cache against a dictionary: any sequence of calls leaves both with the same records, while buckets split all the time."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.config import RedisSettings
from common.state.cache import Cache, Kind, Published, Receipt, Record, Settled, Settlement
from common.state.store import Store
from tests.unit.state.samples import ODD_KEYS, ROUTE, everything, publish, receipts, tokens

if TYPE_CHECKING:
    from typing import Any

POOL = [*ODD_KEYS, *(f"folder/{n:04}" for n in range(60))]
some_keys = st.lists(st.sampled_from(POOL), min_size=1, max_size=25, unique=True)

steps = st.one_of(
    st.tuples(st.just("publish"), some_keys, tokens, st.integers(0, 2**32 - 1)),
    st.tuples(st.just("settle"), some_keys, receipts),
    st.tuples(st.just("delete_one"), st.sampled_from(Kind), st.sampled_from(POOL)),
    st.tuples(st.just("delete"), st.sampled_from([None, None, *Kind])),
    st.tuples(st.just("page"), st.integers(1, 40)),
)


class Model:
    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.records: dict[str, Record] = {}

    def known(self, key: str) -> Record:
        return self.records.get(key, Record())

    async def publish(self, keys: list[str], etag: str, at: int) -> None:
        await publish(self.cache, keys, etag=etag, at=at)
        self.records |= {key: self.known(key)._replace(published=Published(etag, at)) for key in keys}

    async def settle(self, keys: list[str], receipt: Receipt) -> None:
        await self.cache.settle([Settlement(ROUTE, key, receipt.etag, "owner", Settled.MOVED, receipt) for key in keys])
        self.records |= {key: self.known(key)._replace(consumed=receipt) for key in keys}

    async def delete_one(self, kind: Kind, key: str) -> None:
        was_there = self.known(key)._asdict()[kind] is not None
        assert await self.cache.delete_one(ROUTE, kind, key) is was_there
        self.forget(key, kind)

    async def delete(self, kind: Kind | None) -> None:
        gone = [name for name in self.names() if kind is None or name.startswith(f"{kind}:")]
        assert await self.cache.delete(ROUTE, kind) == len(gone)
        for key in list(self.records):
            for one in Kind if kind is None else [kind]:
                self.forget(key, one)

    async def page(self, limit: int) -> None:
        assert sorted(await everything(self.cache, limit=limit)) == self.names()

    def forget(self, key: str, kind: Kind) -> None:
        self.records[key] = self.known(key)._replace(**{kind: None})

    def names(self) -> list[str]:
        return sorted(f"{kind}:{key}" for key, record in self.records.items() for kind in Kind if record._asdict()[kind])


@given(st.lists(steps, min_size=5, max_size=25), st.integers(1, 4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_cache_is_a_dictionary(redis_address: str, plan: list[tuple[Any, ...]], per_bucket: int) -> None:
    # Given an empty cache and an empty dictionary
    store = await Store.open(RedisSettings(address=redis_address, prefix=f"m-{uuid.uuid4().hex[:12]}"))
    cache = Cache(store, per_bucket=per_bucket)
    model = Model(cache)
    try:
        # When both go through the same steps
        for name, *arguments in plan:
            await getattr(model, name)(*arguments)
        # Then both know the same, and the cache has counted right
        assert await cache.lookup(ROUTE, POOL) == [model.known(key) for key in POOL]
        await model.page(13)
        counts = {kind: sum(name.startswith(f"{kind}:") for name in model.names()) for kind in Kind}
        assert await cache.counts(ROUTE) == counts
    finally:
        await cache.delete(ROUTE, None)
        await store.close()
