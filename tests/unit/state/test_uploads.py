from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.config import RedisSettings
from common.state.store import Store
from common.state.uploads import Saved, Uploads
from common.storage.base import PartReceipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SAVED = Saved("https://up.example/?upload_id=secret", "etag-1", 10_000_000, 4_194_304, "absent")


@pytest.fixture
async def uploads(redis_address: str, fresh: str) -> AsyncIterator[Uploads]:
    store = await Store.open(RedisSettings(address=redis_address, prefix=fresh))
    yield Uploads(store)
    await store.close()


async def test_what_was_saved_is_found_with_the_parts_that_arrived(uploads: Uploads) -> None:
    # Given an upload with parts that arrived in any order, one of them noted twice
    await uploads.begun("r", "k", SAVED)
    last = PartReceipt(11, 5, 7, 'a:b/c:"d"', crc64nvme=2**64 - 1)
    parts = [last, PartReceipt(2, 4_194_304, 4_294_967_295, "a/b"), last]
    for part in parts:
        await uploads.arrived("r", "k", part)
    # When
    found = await uploads.find("r", "k")
    # Then
    assert found is not None
    assert found.receipts == (parts[1], parts[0])
    assert found.continues("etag-1", 10_000_000, 4_194_304, "absent")
    for other in (
        ("etag-2", 10_000_000, 4_194_304, "absent"),
        ("etag-1", 10_000_000, 4_194_304, "7"),
        ("etag-1", 1, 1, "absent"),
    ):
        assert not found.continues(*other)


async def test_a_new_upload_knows_nothing_of_the_old_ones_parts(uploads: Uploads) -> None:
    await uploads.begun("r", "k", SAVED)
    await uploads.arrived("r", "k", PartReceipt(0, 1, 2))
    await uploads.begun("r", "k", SAVED)
    found = await uploads.find("r", "k")
    assert found is not None
    assert found.receipts == ()


async def test_forgotten_is_forgotten_and_others_are_left_alone(uploads: Uploads) -> None:
    await uploads.begun("r", "k", SAVED)
    await uploads.begun("r", "other", SAVED)
    await uploads.forget("r", "k")
    await uploads.forget("r", "k")
    assert await uploads.find("r", "k") is None
    assert await uploads.find("r", "other") is not None


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(SAVED)
