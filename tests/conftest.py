"""Fixtures that several suites share: one real server of each kind per run, a fresh name or bucket per test."""

from __future__ import annotations

import urllib.request
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import servers, servers_of_others
from tests.seaweedfs import seaweedfs
from tests.servers import Server, ServerMissing, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import TypeVar

    Started = TypeVar("Started")

settings.register_profile("fuzz", deadline=None)
"""For `make fuzz`: a test that searches for longer under it looks at the name of the profile."""

ACCESS_KEY = "AKIDTEST"
SECRET_KEY = "SECRETTEST"
REGION = "us-east-1"
GCS_BUCKET = "shared"
"""The bucket that the GCS stand-in has from the start; `gcs_bucket` makes fresh ones."""


def _start(server: Callable[[], AbstractContextManager[Started]]) -> Iterator[Started]:
    """Run the server for as long as the fixture lives. Only a missing one may skip; one that fails to start fails the test."""
    try:
        manager = server()
        started = manager.__enter__()
    except ServerMissing as error:
        missing(error.server, error.how)
    try:
        yield started
    finally:
        manager.__exit__(None, None, None)


@pytest.fixture
def fresh() -> str:
    """A short name that no other test uses: for prefixes, topics, buckets."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def redis_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The Redis that all tests share: use a key prefix of your own (`fresh`), and neither stop nor flush it."""
    yield from _start(lambda: servers.redis_server(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def redis_address(redis_shared: Server) -> str:
    """host:port"""
    return redis_shared.address


@pytest.fixture(scope="session")
def redis_url(redis_shared: Server) -> str:
    return f"redis://{redis_shared.address}"


@pytest.fixture
def redis_own(tmp_path: Path) -> Iterator[Server]:
    """A Redis of this test's own, to be killed and started again."""
    yield from _start(lambda: servers.redis_server(tmp_path / "redis"))


@pytest.fixture(scope="session")
def pubsub_host() -> Iterator[str]:
    """host:port of the Pub/Sub emulator: use topics of your own (`fresh`)."""
    yield from _start(servers.pubsub_emulator)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """moto's S3: any credentials are taken (ACCESS_KEY and SECRET_KEY will do), path addressing."""
    for server in _start(servers.moto_server):
        yield server.url


@pytest.fixture
def s3_bucket(s3_endpoint: str, fresh: str) -> str:
    """A new, empty bucket at `s3_endpoint`."""
    return make_s3_bucket(s3_endpoint, fresh)


@pytest.fixture(scope="session")
def strict_s3_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that `strict_s3_endpoint` serves: each sub-directory is a bucket."""
    return tmp_path_factory.mktemp("strict-s3")


@pytest.fixture(scope="session")
def strict_s3_endpoint(strict_s3_directory: Path) -> Iterator[str]:
    """rclone's S3: refuses requests that are not signed with ACCESS_KEY and SECRET_KEY."""
    for server in _start(lambda: servers.rclone_s3(strict_s3_directory, ACCESS_KEY, SECRET_KEY)):
        yield server.url


@pytest.fixture(scope="session")
def seaweedfs_endpoint() -> Iterator[str]:
    """SeaweedFS's S3, with ACCESS_KEY and SECRET_KEY."""
    for server in _start(lambda: seaweedfs(ACCESS_KEY, SECRET_KEY)):
        yield server.url


@pytest.fixture(scope="session")
def juicefs_endpoint() -> Iterator[str]:
    """MinIO's front end, with ACCESS_KEY and SECRET_KEY."""
    for server in _start(lambda: servers_of_others.juicefs_gateway(ACCESS_KEY, SECRET_KEY)):
        yield server.url


@pytest.fixture(scope="session")
def fake_gcs_endpoint() -> Iterator[str]:
    """fake-gcs-server: make a bucket of your own."""
    for server in _start(servers_of_others.fake_gcs_server):
        yield server.url


@pytest.fixture(scope="session")
def gcs_endpoint() -> Iterator[str]:
    """Our GCS stand-in, with the bucket GCS_BUCKET."""
    for server in _start(lambda: servers.gcs_server([GCS_BUCKET])):
        yield server.url


@pytest.fixture
def gcs_bucket(gcs_endpoint: str, fresh: str) -> str:
    """A new, empty bucket at `gcs_endpoint`."""
    return make_gcs_bucket(gcs_endpoint, fresh)


def make_s3_bucket(endpoint: str, name: str) -> str:
    """Unsigned: moto takes the request as it is, and a boto3 client costs half a second to build."""
    _send("PUT", f"{endpoint}/{name}", b"")
    return name


def make_gcs_bucket(endpoint: str, name: str) -> str:
    _send("POST", f"{endpoint}/storage/v1/b?project=test", f'{{"name": "{name}"}}'.encode())
    return name


def _send(method: str, url: str, body: bytes) -> None:
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        answer.read()
