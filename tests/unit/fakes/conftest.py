"""A running stand-in for each test, which fails the test if anything escaped its handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.drive import DriveServer
from tests.fakes.gcs import GcsServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[GcsServer]:
    with GcsServer(buckets=["demo"]) as running:
        yield running
        assert running.failures == []


@pytest.fixture
def drive() -> Iterator[DriveServer]:
    with DriveServer() as running:
        yield running
        assert running.failures == []
