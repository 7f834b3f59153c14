"""Random edits on both sides between runs, with a dict as the oracle: what a run calls done is there, byte for byte."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.checksums import crc32c
from common.config import RedisSettings, Route
from common.location import Location
from common.objects import Headers
from common.state.store import Store
from common.storage import memory
from common.storage.base import Absent, Body, Matches
from tests.pair import Pair
from tests.unit.worker.conftest import World
from worker.carry import Rules
from worker.replicate import Ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEYS = ["a", "a/b", "b", "b.c", "z"]
edits = st.one_of(
    st.tuples(st.just("source"), st.sampled_from(KEYS), st.sampled_from([b"one", b"two", b"longer", b""])),
    st.tuples(st.just("overwrite"), st.sampled_from([*KEYS, "theirs"]), st.sampled_from([b"one", b"two", b"longer", b""])),
    st.tuples(st.just("alter"), st.sampled_from(KEYS), st.sampled_from([b"one", b"two", b"longer", b""])),
    st.tuples(st.just("delete"), st.sampled_from(KEYS), st.just(b"")),
    st.tuples(st.just("forget"), st.just(""), st.just(b"")),
    st.tuples(st.just("trusting run"), st.just(""), st.just(b"")),
)


class Edited:
    """A pair, and what somebody else does to its ends."""

    def __init__(self, world: World, name: str, on_conflict: Literal["overwrite", "keep", "newer", "fail"] = "overwrite") -> None:
        self.world = world
        places = Location.parse(f"memory://{name}-source"), Location.parse(f"memory://{name}-destination/to")
        route = Route(name="photos", source=places[0], destination=places[1], on_conflict=on_conflict)
        ends = Ends(world.source_reader, world.destination_writer, Rules.of(route))
        self.pair = Pair(world, route, ends, lambda: world.destination_reader)
        self.source: dict[str, bytes] = {}

    async def edit(self, what: str, key: str, data: bytes) -> None:
        match what:
            case "source":
                await self.world.put(key, data)
                self.source[key] = data
            case "overwrite" | "alter":
                await self._write(key, data, keeps=what == "alter")
            case "delete":
                self.world.destination_store.remove(f"to/{key}")
            case "forget":
                await self.world.cache.delete(None, None)
            case "trusting run":
                await self.pair.sync(reconcile=False)

    async def _write(self, key: str, data: bytes, *, keeps: bool) -> None:
        """At the destination; with what the object had beside its bytes, or without."""
        found = await self.world.destination_writer.stat(key)
        if found is None and keeps:
            return
        headers = found.headers if found is not None and keeps else Headers()
        expected = Absent() if found is None else Matches(found.version)
        await self.world.destination_writer.put(key, Body(data, crc32c(data), headers), expected)

    async def held(self) -> dict[str, bytes]:
        pages = [page async for page in self.world.destination_reader.list()]
        return {each.key: await self.world.arrived(each.key) for page in pages for each in page.objects}


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(edits, max_size=6), min_size=1, max_size=4))
async def test_after_a_run_the_destination_is_as_the_source(
    redis_address: str, rounds: list[list[tuple[str, str, bytes]]]
) -> None:
    name = f"both-{uuid.uuid4().hex[:12]}"
    store = await Store.open(RedisSettings(address=redis_address, prefix=name))
    edited = Edited(World(name, store), name)
    try:
        for some in rounds:
            # Given edits of all kinds
            for edit in some:
                await edited.edit(*edit)
            before = await edited.held()
            # When both sides are listed and what differs is moved
            job = await edited.pair.sync()
            # Then what the source has is there, and what else was there is as it was
            assert job.state == "done"
            assert await edited.held() == before | edited.source
            # And each object was counted once
            assert (job.listed, job.moved + job.proven, job.unbalanced) == (len(edited.source), len(edited.source), 0)
            assert job.extra == len(before.keys() - edited.source.keys())
            # And the next run has nothing to do
            idle = await edited.pair.sync()
            assert (idle.proven, idle.published, idle.distrusted) == (len(edited.source), 0, 0)
    finally:
        await edited.world.cache.delete(None, None)
        async for key in store.client.scan_iter(f"{name}:*"):
            await store.client.delete(key)
        await store.close()
        memory.drop(f"{name}-source")
        memory.drop(f"{name}-destination")


@pytest.fixture
async def world(redis_address: str, fresh: str) -> AsyncIterator[World]:
    store = await Store.open(RedisSettings(address=redis_address, prefix=fresh))
    yield World(fresh, store)
    memory.drop(f"{fresh}-source")
    memory.drop(f"{fresh}-destination")
    await store.close()


@pytest.mark.parametrize("how", ["overwrite", "alter"])
async def test_what_somebody_has_altered_is_theirs_to_the_route(world: World, fresh: str, how: str) -> None:
    # Given a copy that somebody overwrites, with or without what it says of itself, and a route that keeps what is not ours
    edited = Edited(world, fresh, "keep")
    await edited.edit("source", "k", b"ours")
    assert (await edited.pair.sync()).moved == 1
    await edited.edit(how, "k", b"them")
    # When both sides are compared, then it stays, and is counted as that, each time
    for _ in range(2):
        job = await edited.pair.sync()
        assert (job.listed, dict(job.left_out), job.moved, job.unbalanced) == (1, {"kept": 1}, 0, 0)
        assert await edited.held() == {"k": b"them"}
    # When it is taken away, then the object comes back
    await edited.edit("delete", "k", b"")
    job = await edited.pair.sync()
    assert (job.listed, job.moved, await edited.held()) == (1, 1, {"k": b"ours"})


async def test_overwriting_what_somebody_has_altered_is_counted(world: World, fresh: str) -> None:
    # Given a copy that somebody has altered
    edited = Edited(world, fresh)
    await edited.edit("source", "k", b"ours")
    await edited.pair.sync()
    await edited.edit("alter", "k", b"them")
    # When both sides are compared, then it is written over, and that is said
    job = await edited.pair.sync()
    assert (job.moved, job.overwritten, job.distrusted) == (1, 1, 1)
    assert await edited.held() == {"k": b"ours"}
