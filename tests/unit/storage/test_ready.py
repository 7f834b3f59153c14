"""Destinations that are looked at before anything moves: what is certain refuses, and nothing else does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from common.config import Aws, Route, Settings, StoreOptions, WorkerSettings
from common.errors import Forbidden, LocationMissing, ObjectError, Unauthenticated, Unavailable
from common.location import Location
from common.storage.registry import ready
from common.transport.http import Transport
from tests.fakes.gcs import GcsServer
from tests.fakes.s3 import Fault, Kind, S3Server

if TYPE_CHECKING:
    from pathlib import Path


async def look(destination: str, *, endpoint: str | None = None, secret: str = "SECRETTEST", **options: Any) -> None:
    keys = Aws(access_key_id="AKIDTEST", secret_access_key=SecretStr(secret))
    settings = Settings(aws=keys, worker=WorkerSettings(backoff_seconds=0.01))
    route = Route(
        name="r",
        source=Location.parse("memory://m"),
        destination=Location.parse(destination),
        destination_options=StoreOptions(endpoint=endpoint, **options),
    )
    transport = Transport()
    try:
        await ready(route, settings, transport)
    finally:
        await transport.close()


async def test_an_s3_bucket() -> None:
    async with S3Server(buckets=["there"]) as server:
        await look("s3://there/prefix", endpoint=server.url)
        with pytest.raises(LocationMissing, match="missing"):
            await look("s3://missing", endpoint=server.url)
        with pytest.raises(Unauthenticated, match="AWS_SECRET_ACCESS_KEY"):
            await look("s3://there", endpoint=server.url, secret="WRONG")
        # That listing is forbidden says nothing about writing
        server.faults.add(Fault(Kind.STATUS, "ListObjectsV2", status=403, times=0))
        await look("s3://there", endpoint=server.url)
        assert not server.writes


async def test_a_gcs_bucket() -> None:
    async with GcsServer(buckets=["there"]) as server:
        await look("gs://there/prefix", endpoint=server.url)
        with pytest.raises(LocationMissing, match="missing"):
            await look("gs://missing", endpoint=server.url)
        server.permissions = {"storage.objects.get"}
        with pytest.raises(Forbidden, match=r"storage\.objects\.create"):
            await look("gs://there", endpoint=server.url)
        assert not server.writes


@pytest.mark.parametrize("destination", ["s3://there", "gs://there"])
async def test_an_endpoint_where_nobody_answers(destination: str) -> None:
    async with S3Server() as server:
        gone = server.url
    with pytest.raises(Unavailable):
        await look(destination, endpoint=gone)


async def test_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await look(f"file://{tmp_path}")
    with pytest.raises(LocationMissing, match="create it"):
        await look(f"file://{tmp_path}/missing")
    # Given a disk without room
    real = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: _full(real(path)))
    with pytest.raises(ObjectError, match="no space left"):
        await look(f"file://{tmp_path}")


def _full(status: os.statvfs_result) -> os.statvfs_result:
    fields = list(status)
    fields[4] = 0  # f_bavail
    return os.statvfs_result(tuple(fields))
