"""The whole line with S3 at both ends, strict and in trouble: as AWS is today, and as others were years ago."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from common.state.jobs import ENDED
from tests.e2e.line import Line
from tests.fakes.s3 import ACCESS_KEY, REGION, SECRET_KEY, Fault, Kind, S3Server
from tests.nasty_names import NASTY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MIB = 1024 * 1024
NOISE = random.Random(5).randbytes(13 * MIB)
LARGE = ("large/changed on the way", "large/conflict", "large/error behind a 200", "large/lost", "large/slow")
TEXT = {"content-type": "text/x"}
STORED = {"compat": "aws", "storage_class": "STANDARD_IA", "encryption": "aws:kms"}


@pytest.fixture
def line(redis_address: str, fresh: str, tmp_path: Path) -> Line:
    return Line(fresh, redis_address, tmp_path)


async def test_s3_to_s3_as_aws_is(line: Line) -> None:
    with S3Server(buckets=["source", "copy"]) as server:
        # Given every odd name, objects of several parts, and a source whose requester pays
        fill(server)
        server.bucket("source").requester_pays = True
        # And two that cannot be moved: one in an archive, one whose metadata leave no room for where it comes from
        server.put("source", "archived", b"x", storage_class="DEEP_ARCHIVE")
        server.put("source", "laden", b"x", metadata={"k": "v" * 2000})
        # And trouble of every kind
        server.faults.add(
            Fault(Kind.STATUS, "PutObject", nth=3, times=5),
            Fault(Kind.LOSE_REPLY, "PutObject", nth=10, times=3),
            Fault(Kind.CONFLICT, "PutObject", nth=20, times=2),
            Fault(Kind.RESET, "UploadPart", nth=2, times=2, after_bytes=MIB),
            Fault(Kind.STATUS, "UploadPart", key="slow"),
            Fault(Kind.CONFLICT, "CompleteMultipartUpload", key="conflict"),
            Fault(Kind.ERROR_IN_200, "CompleteMultipartUpload", key="error", status=500),
            Fault(Kind.LOSE_REPLY, "CompleteMultipartUpload", key="lost"),
            Fault(Kind.CORRUPT, "GetObject", key="unicode/", times=2),
            Fault(Kind.CORRUPT, "GetObject", key="large/changed"),
        )
        options = "".join(f'{name} = "{value}"\n' for name, value in STORED.items())
        settings(line, server, f"[route.source_options]\nrequester_pays = true\n[route.destination_options]\n{options}")
        # When all of it is copied
        await copied(line, failed=2)
        # Then every object is there, whole, stored as the route says, written once, and no upload was left behind
        assert same(server)
        fields = [server.blob("copy", key).fields for key in server.keys("copy")]
        assert {(each.storage_class, each.encryption.algorithm) for each in fields} == {("STANDARD_IA", "aws:kms")}
        assert server.stats()["writes"]["copy"] == dict.fromkeys(server.keys("copy"), 1)
        assert server.uploads.open == {}
        assert [fault.kind for fault in server.faults.planned if not fault.fired] == []
        assert server.failures == []


async def test_s3_to_s3_as_others_were(line: Line) -> None:
    with S3Server(buckets=["source", "copy"], new=False) as server:
        # Given a service that knows neither conditions on writes nor checksums, some objects at the destination, and trouble
        fill(server)
        server.put("copy", "in the way", b"of somebody else")
        server.put("source", "in the way", b"what is to be there", headers=TEXT)
        server.faults.add(
            Fault(Kind.STATUS, "PutObject", nth=3, times=5),
            Fault(Kind.LOSE_REPLY, "PutObject", nth=10, times=3),
            Fault(Kind.RESET, "UploadPart", nth=2, times=2, after_bytes=MIB),
            Fault(Kind.LOSE_REPLY, "CompleteMultipartUpload", key="lost"),
        )
        settings(line, server, '[route.destination_options]\ncompat = "basic"\n')
        # When all of it is copied
        await copied(line, failed=0)
        # Then every object is there
        assert same(server)
        assert server.uploads.open == {}
        assert server.failures == []


def fill(server: S3Server) -> None:
    for key in NASTY.values():
        server.put("source", key, key.encode(), headers=TEXT, metadata={"owner": "somebody"}, checksum="CRC32")
    for number, key in enumerate(LARGE):
        server.put("source", key, NOISE[number:], headers=TEXT)


def settings(line: Line, server: S3Server, options: str) -> None:
    environ = {"AWS_ENDPOINT_URL_S3": server.url, "AWS_REGION": REGION, "BRIGADE_PART_BYTES": str(5 * MIB)}
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    line.settings("s3://source", "s3://copy", {**environ, **keys, "SYSTEM_MAX_WORKERS": "16"})
    config = line.directory / "brigade.toml"
    config.write_text(f'{config.read_text()}skip_directory_markers = false\nmetadata = "strict"\n{options}')


async def copied(line: Line, *, failed: int) -> None:
    """Publisher and worker run until the job is done and the queue is empty."""
    give_up = time.monotonic() + 90
    with line.running("publish"), line.running("work"):
        while not any(job.state in ENDED for job in await line.jobs()):
            assert time.monotonic() < give_up, line.logs()
            await asyncio.sleep(0.3)
    assert await line.left() == (0, failed), line.logs()


def same(server: S3Server) -> bool:
    for key in (*NASTY.values(), *LARGE):
        source, copy = server.blob("source", key), server.blob("copy", key)
        assert copy.data == source.data
        assert copy.fields.headers == source.fields.headers
        assert copy.fields.metadata["brigade-source-version"] == source.etag
        assert source.fields.metadata.items() <= copy.fields.metadata.items()
    return True
