"""What an object costs in Redis, and how long the cache's calls take: fill a real Redis with objects that have both records.

    python -m tests.bench.cache_memory --objects 1000000

Keys have 56 bytes, ETags 32 hex digits, destination versions are GCS generations. Redis counts what its allocator hands out;
jemalloc rounds up more than glibc does, and one line estimates by how much.
"""

# ruff: noqa: T201 - its output is what the program is for

from __future__ import annotations

import argparse
import asyncio
import hashlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.config import RedisSettings
from common.state.cache import Cache, Claim, Receipt, Settled, Settlement
from common.state.jobs import Jobs
from common.state.store import LISTPACK, Store
from tests.published import publish
from tests.servers import redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUTE, BATCH, NOW = "photos", 1000, 1_790_000_000


def key(number: int) -> str:
    """56 bytes, as a bucket of exported files has them."""
    return f"exports/2026/11/21/{hashlib.md5(str(number).encode()).hexdigest()}.json"[:56]


def etag(number: int) -> str:
    return hashlib.md5(b"%d" % number).hexdigest()


def settlement(number: int) -> Settlement:
    at = NOW + number // 500
    generation = str(at * 1_000_000 + number * 7919 % 900_000)
    receipt = Receipt(
        etag(number), 1000 + number * 7919 % 2_000_000, number * 2654435761 % 2**32, generation, at, f"worker-{number % 4}"
    )
    return Settlement(ROUTE, key(number), receipt.etag, "owner", Settled.MOVED, receipt, receipt.size)


async def fill(store: Store, cache: Cache, job: str, objects: int) -> list[float]:
    """Publish and consume every object, a batch at a time, as publisher and workers do. The seconds of each publishing call."""
    seconds = []
    for start in range(0, objects, BATCH):
        numbers = range(start, min(start + BATCH, objects))
        entries = [(key(number), etag(number)) for number in numbers]
        began = time.perf_counter()
        at = NOW + start // 500 - 60
        await publish(store, ROUTE, job, entries, at=at, after=entries[-1][0])
        seconds.append(time.perf_counter() - began)
        items = [settlement(number) for number in numbers]
        for first in range(0, len(items), 200):
            await cache.settle(items[first : first + 200])
    return seconds


async def timed(name: str, call: Callable[[int], Any]) -> None:
    seconds = []
    for turn in range(50):
        awaitable = call(turn)
        began = time.perf_counter()
        await awaitable
        seconds.append(time.perf_counter() - began)
    print_times(name, seconds)


def print_times(name: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    middle, last = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"{name:<44} median {middle * 1e3:6.2f} ms   99 % below {last * 1e3:6.2f} ms")


async def measure(store: Store, objects: int) -> None:
    cache, client = Cache(store), store.client
    await store.check()
    before = (await client.info("memory"))["used_memory"]
    job = await Jobs(store).open(ROUTE, "sweep", NOW)
    began = time.perf_counter()
    published = await fill(store, cache, job.id, objects)
    print(f"filled {objects:,} objects, both records, in {time.perf_counter() - began:.0f} s")
    used = (await client.info("memory"))["used_memory"] - before
    print(f"{used / objects:.1f} bytes of used_memory per object, everything included ({used:,} bytes)")
    print_times("reserve and record, 1,000 new objects", published)
    await calls(cache, job.id, objects)
    await buckets(store)
    began, records, cursor = time.perf_counter(), 0, None
    while True:
        page, cursor = await cache.page(ROUTE, None, cursor, 1000)
        records += len(page)
        if cursor is None:
            break
    print(f"paged through {records:,} records in {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    print(f"deleted {await cache.delete(ROUTE, None):,} records in {time.perf_counter() - began:.1f} s")


async def calls(cache: Cache, job: str, objects: int) -> None:
    def spread(turn: int, count: int) -> list[int]:
        return [(turn * 7919 + step * 104_729) % objects for step in range(count)]

    def claims(turn: int) -> list[Claim]:
        return [Claim(ROUTE, key(number), "another", f"owner-{turn}", 60) for number in spread(turn, 200)]

    await timed("lookup, 1,000 keys", lambda turn: cache.lookup(ROUTE, [key(number) for number in spread(turn, 1000)]))
    await timed(
        "lookup, 1,000 keys that are not there",
        lambda turn: cache.lookup(ROUTE, [f"no/{key(number)}" for number in spread(turn, 1000)]),
    )
    await timed("claim, 200 objects", lambda turn: cache.claim(claims(turn)))
    await timed("renew, 200 leases", lambda turn: cache.renew(claims(turn)))
    await timed("settle, 200 objects", lambda turn: cache.settle([settlement(number) for number in spread(turn, 200)]))


async def buckets(store: Store) -> None:
    """How full the buckets are, and what they would take if every one were rounded up as jemalloc does."""
    client, root = store.client, store.keys.route(ROUTE)
    level, split = await client.hmget(root, "level", "split")
    count = 2 ** int(level or 0) + int(split or 0)
    sizes: list[int] = []
    lengths: list[int] = []
    encodings = set()
    for bucket in range(0, count, max(1, count // 2000)):
        name = f"{root}:{bucket}"
        sizes.append(await client.memory_usage(name) or 0)
        lengths.append(await client.hlen(name))
        encodings.add(await client.object("encoding", name))
    print(
        f"{count:,} buckets, {sum(lengths) / len(lengths):.0f} objects each, at most {max(lengths)}, "
        f"encoded as {', '.join(sorted(str(it, 'ascii') for it in encodings))}"
    )
    rounded = sum(map(jemalloc_size, sizes)) / sum(sizes)
    print(f"with jemalloc about {rounded:.3f} times that")


def jemalloc_size(size: int) -> int:
    """The size class: four to each doubling."""
    step = max(16, 1 << (size - 1).bit_length() - 3)
    return -(-size // step) * step


async def main(objects: int) -> None:
    limits = [word for name, value in LISTPACK.items() for word in (f"--{name}", str(value))]
    with (
        tempfile.TemporaryDirectory() as folder,
        redis_server(Path(folder), arguments=[*limits, "--appendfsync", "everysec"]) as server,
    ):
        store = await Store.open(RedisSettings(address=server.address))
        try:
            await measure(store, objects)
        finally:
            await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000_000)
    asyncio.run(main(parser.parse_args().objects))
