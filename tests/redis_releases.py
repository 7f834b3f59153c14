"""Fixtures for suites that run on the oldest Redis that is supported and on today's: to be imported into their conftest.

Redis 6.2 comes with the servers that others wrote (`make test-servers`); `make test` runs the suites on today's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import servers
from tests.conftest import _start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Server

OLD = "6.2"


@pytest.fixture(scope="session", params=["today", pytest.param(OLD, marks=pytest.mark.servers)])
def redis_release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def redis_shared(redis_release: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As in tests/conftest.py, of this release."""
    yield from _start(lambda: servers.redis_server(tmp_path_factory.mktemp("redis"), program=program_of(redis_release)))


@pytest.fixture(scope="session")
def redis_address(redis_shared: Server) -> str:
    return redis_shared.address


@pytest.fixture
def redis_own(redis_release: str, tmp_path: Path) -> Iterator[Server]:
    """As in tests/conftest.py, of this release."""
    yield from _start(lambda: servers.redis_server(tmp_path / "redis", program=program_of(redis_release)))


def program_of(release: str) -> str:
    """The server's program. Raises ServerMissing."""
    return servers.old_redis_program() if release == OLD else servers.redis_program()
