"""One backend at a time, with a location of its own that is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.transport.http import Transport
from tests.conformance.storage import backends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.base import Reader, Writer
    from tests.conformance.storage.backends import Backend


@pytest.fixture(params=backends.parameters())
def backend(request: pytest.FixtureRequest, fresh: str) -> Backend:
    if reason := backends.GAPS.get(request.param, {}).get(request.node.originalname):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    return backends.make(request.param, fresh, request)


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    opened = Transport()
    yield opened
    await opened.close()


@pytest.fixture
async def writer(backend: Backend, transport: Transport) -> AsyncIterator[Writer]:
    opened = backend.writer(transport)
    yield opened
    await opened.close()


@pytest.fixture
async def reader(backend: Backend, transport: Transport) -> AsyncIterator[Reader]:
    opened = backend.reader(transport)
    yield opened
    await opened.close()
