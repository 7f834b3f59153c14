"""Both sides are listed: what was deleted or altered at the destination is mended, from every kind of location to every other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from common.state.claims import Settled, Settlement
from common.state.records import Receipt
from common.storage.registry import open_destination, open_reader, open_writer
from tests.e2e.matrix import SETTINGS, Stage
from tests.fakes.gcs import Fault, Kind
from tests.pair import Pair
from worker.carry import Rules
from worker.replicate import Ends

if TYPE_CHECKING:
    from common.config import Route
    from common.transport.http import Transport
    from tests.unit.worker.conftest import World

pytestmark = pytest.mark.slow

KINDS = ["s3", "gs", "gdrive", "file"]
PLACE = "both sides"
OBJECTS = {f"dir/{name}": name.encode() * 3 for name in ("deleted", "overwritten", "relabelled", "cut short", "touched", "kept")}


class Place:
    """One end of a route, in the hands of somebody else."""

    def __init__(self, stage: Stage, route: Route) -> None:
        self.stage = stage
        self.location = route.destination
        self._stage_route = route

    def put(self, key: str, data: bytes, **how: Any) -> None:
        """An object of somebody else's, over whatever is there."""
        match self.location.scheme:
            case "s3":
                self.stage.s3.put(self.location.bucket, key, data, **how)
            case "gs":
                self.stage.gs.put(self.location.bucket, key, data, **how)
            case "gdrive":
                self.remove(key)
                folder, name = key.split("/")
                self.stage.gdrive.put(name, data, parent=self._folder(folder))
            case "file":
                path = Path(self.location.prefix, key)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)

    def remove(self, key: str) -> None:
        match self.location.scheme:
            case "s3":
                self.stage.s3.store.delete(self.location.bucket, key)
            case "gs":
                self.stage.gs.store.delete(self.stage.gs.store.get(self.location.bucket, key))
            case "gdrive":
                for path, file in self.stage._below(self.location.bucket):
                    if path == key:
                        self.stage.gdrive.store.remove(self.stage.gdrive.store.get(file["id"]))
            case "file":
                Path(self.location.prefix, key).unlink()

    def relabel(self, key: str) -> None:
        """The same bytes with other metadata: where there are none but what a service keeps by itself, another time."""
        data = self.held()[key]
        match self.location.scheme:
            case "s3":
                self.put(key, data, metadata={"colour": "red"})
            case "gs":
                self.put(key, data, metadata={"colour": "red"})
            case "file":
                os.utime(Path(self.location.prefix, key), (1, 1))
            case "gdrive":
                self.put(key, data)

    def held(self) -> dict[str, bytes]:
        return self.stage.held(self._stage_route)

    def _folder(self, name: str) -> str:
        found = [
            file["id"] for file in self.stage.gdrive.files() if file["name"] == name and self.location.bucket in file["parents"]
        ]
        return found[0] if found else self.stage.gdrive.folder(name, parent=self.location.bucket)


def between(
    world: World, stage: Stage, transport: Transport, fresh: str, source: str, destination: str
) -> tuple[Pair, Place, Place]:
    """Two fresh places with a pair between them."""
    origin = stage.route("file", source, f"{fresh}-from")
    route = stage.route(source, destination, fresh)
    route = route.model_copy(
        update={"source": origin.destination, "source_options": origin.destination_options, "metadata": "lenient"}
    )
    ends = Ends(open_reader(route, SETTINGS, transport), open_writer(route, SETTINGS, transport), Rules.of(route))
    pair = Pair(world, route, ends, lambda: open_destination(route, SETTINGS, transport))
    return pair, Place(stage, origin), Place(stage, route)


@pytest.mark.parametrize("destination", KINDS)
@pytest.mark.parametrize("source", KINDS)
async def test_what_was_deleted_or_altered_is_mended(
    world: World, stage: Stage, transport: Transport, fresh: str, source: str, destination: str
) -> None:
    # Given a copy of everything
    pair, here, there = between(world, stage, transport, fresh, source, destination)
    for key, data in OBJECTS.items():
        here.put(key, data)
    first = await pair.sync()
    assert (first.state, first.moved, first.extra, there.held()) == ("done", 6, 0, OBJECTS)
    unchanged = await pair.sync()
    assert (unchanged.proven, unchanged.published, unchanged.distrusted) == (6, 0, 0)
    # When somebody deletes, overwrites, relabels and cuts at the destination, and puts something of their own there
    there.remove("dir/deleted")
    there.put("dir/overwritten", b"OVERWRITTEN" * 3)
    there.relabel("dir/relabelled")
    there.put("dir/cut short", b"cut")
    there.put("dir/theirs", b"theirs")
    # Then who believes the state sees nothing of it
    trusting = await pair.sync(reconcile=False)
    assert (trusting.proven, trusting.published, trusting.extra) == (6, 0, None)
    # And who compares mends it, and touches nothing else
    mended = await pair.sync()
    assert there.held() == {**OBJECTS, "dir/theirs": b"theirs"}
    seen = 3 if destination == "s3" else 4  # its listing says nothing of what lies beside the same bytes
    assert (mended.state, mended.listed, mended.distrusted, mended.extra, mended.unbalanced) == ("done", 6, seen, 1, 0)
    assert mended.moved in (3, 4)  # the same bytes are proven where both sides state them
    assert mended.moved + mended.proven == 6
    # And then everything is as it was
    again = await pair.sync()
    assert (again.proven, again.published, again.distrusted, again.extra) == (6, 0, 0, 1)


@pytest.mark.parametrize("destination", ["gs", "s3"])
async def test_an_unchanged_pair_costs_its_two_listings(
    world: World, stage: Stage, transport: Transport, fresh: str, destination: str
) -> None:
    # Given 2,500 objects, each with a receipt for what is at the destination
    pair, here, there = between(world, stage, transport, fresh, "s3", destination)
    for number in range(2500):
        here.put(f"{number:05}", b"%d" % number)
        there.put(f"{number:05}", b"%d" % number)
    reader = open_destination(pair.route, SETTINGS, transport)
    versions = {each.key: each for page in [page async for page in reader.list()] for each in page.objects}
    listed = [each for page in [page async for page in pair.ends.reader.list()] for each in page.objects]
    receipts = [
        Receipt(each.version.token, each.size, None, versions[each.key].version.token, int(world.now), "w") for each in listed
    ]
    await world.cache.settle(
        [
            Settlement(pair.route.name, each.key, each.version.token, "w", Settled.PROVEN, receipt)
            for each, receipt in zip(listed, receipts, strict=True)
        ]
    )
    asked = [stage.s3.requests, stage.gs.requests]
    for requests in asked:
        requests.clear()
    # When both are compared
    job = await pair.sync()
    # Then nothing was asked of either but three pages
    assert (job.proven, job.published, job.extra) == (2500, 0, 0)
    three_each: dict[str, list[dict[str, int]]] = {"s3": [{"ListObjectsV2": 6}, {}], "gs": [{"ListObjectsV2": 3}, {"list": 3}]}
    assert [dict(requests) for requests in asked] == three_each[destination]


async def test_a_destination_that_is_away_for_a_while_is_waited_for(stage: Stage, transport: Transport, fresh: str) -> None:
    # Given a service that is away for six answers
    route = stage.route("file", "gs", fresh)
    stage.gs.put(fresh, "k", b"bytes")
    away = stage.gs.faults.add(Fault(Kind.STATUS, "list", status=503, times=6))
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    # When it is listed, then that is waited for
    reader = open_destination(route, SETTINGS, transport, sleep=sleep)
    assert [each.key async for page in reader.list() for each in page.objects] == ["k"]
    assert (away.fired, len(waits)) == (6, 6)
    await reader.close()
