"""What a destination holds before we come: equal objects of others, and keys that it takes for one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from common.checksums import crc32c
from common.config import Route, StoreOptions
from common.errors import Category
from common.location import Location
from common.objects import Headers
from common.report import decode
from common.storage import s3
from common.storage.base import Absent, Body
from common.storage.registry import open_reader, open_writer
from tests.e2e.matrix import DESTINATIONS, SETTINGS, Stage
from tests.fakes.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server
from tests.seaweedfs import seaweedfs
from tests.servers import ServerMissing, missing
from tests.unit.worker.conftest import ROUTE, World
from tests.unit.worker.folding import FOLDS
from worker.carry import Rules
from worker.replicate import Ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.storage.base import Writer
    from common.transport.http import Transport

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
ROUTED = Route(name=ROUTE, source=Location.parse("s3://photos"), destination=Location.parse("s3://demo"))
STATE_NOTHING_IN_COMMON = {("s3", "file"), ("gdrive", "file")}
"""S3 states CRC64NVME and MD5 of what others put there, Drive MD5, and of a file there is the CRC32C that we have noted."""


@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("source", ["s3", "gs", "gdrive", "file"])
async def test_what_is_proven_equal_is_not_copied(
    world: World, stage: Stage, transport: Transport, fresh: str, source: str, destination: str
) -> None:
    # Given an object of which the destination has an equal one, that somebody else has put there
    route = stage.route(source, destination, fresh).model_copy(update={"metadata": "lenient"})
    ends = Ends(open_reader(route, SETTINGS, transport), open_writer(route, SETTINGS, transport), Rules.of(route))
    world.beside[ROUTE] = ends
    for key in ("sizes/small", "sizes/in parts"):
        found = await ends.reader.stat(key)
        assert found is not None
        before = await put_by_another(ends, key)
        # When it is replicated
        delivery = await world.replicate(await world.task(found))
        # Then there is a receipt for it as it is, unless the two sides state no checksum in common
        assert delivery.fate == ["ack"]
        after = await ends.writer.stat(key)
        assert after is not None
        (record,) = await world.cache.lookup(ROUTE, [key])
        assert record.consumed is not None
        assert record.consumed.etag == found.version.token
        assert record.consumed.destination_version == after.version.token
        assert (after.version == before) == ((source, destination) not in STATE_NOTHING_IN_COMMON)


async def put_by_another(ends: Ends, key: str) -> Any:
    """The same bytes, without a word of where they are from."""
    data = (await ends.reader.read(key, None, None)).data
    return (await ends.writer.put(key, Body(data, crc32c(data), Headers("text/other")), Absent())).version


@pytest.mark.parametrize("compat", ["aws", "auto", "basic"])
@pytest.mark.parametrize("kind", FOLDS)
@pytest.mark.parametrize("size", [10, 6 * MIB], ids=["small", "in parts"])
async def test_an_s3_that_takes_two_keys_for_one(world: World, transport: Transport, kind: str, size: int, compat: str) -> None:
    async with S3Server(buckets=["demo"], new=compat != "basic") as server:
        server.fold, keys = FOLDS[kind]
        await end_in_a_conflict(world, s3_writer(server.url, transport, compat), keys, size)
        assert len(server.writes) == 1
        assert server.failures == []


async def end_in_a_conflict(world: World, writer: Writer, keys: tuple[str, str], size: int) -> None:
    """Two runs, the second without the cache: one of the two objects is there, whole, and the other a failure, each time."""
    world.beside[ROUTE] = Ends(world.source_reader, writer, Rules.of(ROUTED))
    tasks = [await world.task(await world.put(key, key.encode() * (size // len(key.encode()) + 1))) for key in keys]
    for _ in range(2):
        deliveries = [await world.replicate(task) for task in tasks]
        assert [each.fate for each in deliveries] == [["ack"], ["reject"]]
        report = decode(deliveries[1].report)
        assert (report.category, report.key) == (Category.DESTINATION_CONFLICT, keys[1])
        there = await writer.stat(keys[1])
        assert there is not None
        assert there.headers.metadata["brigade-source-key"] == Rules.of(ROUTED).origin.name(keys[0])
        assert there.size == tasks[0].size
        await world.cache.delete(ROUTE, None)
        tasks = [replace(task, job="another") for task in tasks]


def s3_writer(endpoint: str, transport: Transport, compat: str) -> Writer:
    options = StoreOptions.model_validate({"endpoint": endpoint, "region": REGION, "compat": compat})
    return s3.writer(Location.parse("s3://demo"), options, SETTINGS, transport)


@pytest.fixture(scope="module")
def weed() -> Iterator[str]:
    try:
        with seaweedfs(ACCESS_KEY, SECRET_KEY) as server:
            path_style = Config(s3={"addressing_style": "path"})
            keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": REGION}
            boto3.client("s3", endpoint_url=server.url, config=path_style, **keys).create_bucket(Bucket="demo")
            yield server.url
    except ServerMissing as error:
        missing(error.server, error.how)


@pytest.mark.servers
@pytest.mark.parametrize("compat", ["auto", "basic"])
@pytest.mark.parametrize("size", [10, 6 * MIB], ids=["small", "in parts"])
@pytest.mark.parametrize("kind", ["double slash", "backslash"])
async def test_seaweedfs_takes_two_keys_for_one(
    world: World, transport: Transport, weed: str, kind: str, size: int, compat: str
) -> None:
    _, (one, other) = FOLDS[kind]
    folder = f"{compat}-{size}"
    await end_in_a_conflict(world, s3_writer(weed, transport, compat), (f"{folder}/{one}", f"{folder}/{other}"), size)
