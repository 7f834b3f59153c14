"""Time and chance for the tests of what waits, a directory for those of what is kept, a transport for those of what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from common.storage.file import LIMITS
from common.storage.file_tree import Tree
from common.storage.file_writer import FileWriter
from common.storage.retry import Policy, Retrier
from common.transport.http import Transport
from tests.fakes.s3 import S3Server
from tests.unit.storage.s3_ends import Ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Naps:
    """A sleep that takes no time and remembers how long it would have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def naps() -> Naps:
    return Naps()


def retrier(naps: Naps, **policy: Any) -> Retrier:
    """Always the longest wait that the policy allows."""
    return Retrier(Policy(**policy), naps, lambda: 1.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


@pytest.fixture
def writer(root: Path) -> FileWriter:
    return FileWriter.open(Tree(f"{root}/"), LIMITS)


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    opened = Transport()
    yield opened
    await opened.close()


@pytest.fixture
async def ends(transport: Transport) -> AsyncIterator[Ends]:
    """The strict S3 stand-in with the bucket `demo`."""
    async with S3Server(buckets=["demo"]) as server:
        yield Ends(server, transport)
        assert server.failures == []


@pytest.fixture
async def old(transport: Transport) -> AsyncIterator[Ends]:
    """The same as a server of some years ago."""
    async with S3Server(buckets=["demo"], new=False) as server:
        yield Ends(server, transport)
        assert server.failures == []
