"""The benchmark server, one for the tests of a file, and two buckets for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.transport.http import Transport
from tests.bench.serve import BenchServer, bench_server
from tests.servers import ServerMissing, missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="module")
def shared() -> Iterator[BenchServer]:
    try:
        with bench_server(md5="always") as server:
            yield server
    except ServerMissing as error:
        missing(error.server, error.how)


@pytest.fixture
def server(shared: BenchServer, fresh: str) -> Iterator[BenchServer]:
    yield shared
    shared.config(delay_ms=0, fail_percent=0, md5="always")


@pytest.fixture
def buckets(server: BenchServer, fresh: str) -> tuple[str, str]:
    """Two, empty."""
    names = f"{fresh}-a", f"{fresh}-b"
    for name in names:
        server.fill(name)
    return names


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    opened = Transport()
    yield opened
    await opened.close()
