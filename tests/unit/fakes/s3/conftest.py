"""A running S3 stand-in for each test, which fails the test if anything escaped its handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.s3 import S3Server
from tests.unit.fakes.s3.wire import client

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[S3Server]:
    with S3Server(buckets=["demo"]) as running:
        yield running
        assert running.failures == []


@pytest.fixture(scope="module")
def shared() -> Iterator[S3Server]:
    """One for all tests of a file, because a client for it takes its time: use a bucket of your own (`bucket`)."""
    with S3Server() as running:
        yield running
        assert running.failures == []


@pytest.fixture(scope="module")
def boto(shared: S3Server) -> Any:
    """boto3 as everybody has it, on `shared`."""
    return client(shared)


@pytest.fixture
def bucket(shared: S3Server, fresh: str) -> str:
    shared.faults.clear()
    shared.store.create_bucket(fresh)
    return fresh
