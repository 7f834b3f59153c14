"""Keys: any that the service can hold is kept exactly, any other is refused as what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.errors import (
    InvalidName,
)
from common.storage.base import Absent
from tests.conformance.storage.moves import PLAIN, body, listed
from tests.nasty_names import IMPOSSIBLE, NASTY

if TYPE_CHECKING:
    from common.storage.base import Reader, Writer
    from tests.conformance.storage.backends import Backend


async def test_nasty_names_are_names(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given every odd key that the service can hold, each with bytes of its own
    keys = [key for key in NASTY.values() if not backend.refuses(key) and not backend.stumbles(key)]
    assert len(keys) >= 40

    # When they are put
    for key in keys:
        await writer.put(key, body(key.encode()), Absent())

    # Then each is found under exactly its key, with its own bytes
    for key in keys:
        content = await reader.read(key, None, None)
        assert (content.object.key, content.data) == (key, key.encode())
        found = await writer.stat(key)
        assert found is not None
        assert found.size == len(key.encode())
    names = [stored.key for stored in await listed(reader)]
    assert (names if reader.limits.ordered_listing else sorted(names, key=str.encode)) == sorted(keys, key=str.encode)


async def test_a_name_that_cannot_be_is_refused_before_anything_is_written(
    backend: Backend, writer: Writer, reader: Reader
) -> None:
    # Given keys that the service cannot hold
    refused = [*IMPOSSIBLE.values(), *(key for key in NASTY.values() if backend.refuses(key))]
    if backend.name == "file":
        refused.remove(IMPOSSIBLE["1,025 bytes"])
        refused += ["y" * 256, "nul\0byte"]

    # When they are written
    # Then the answer is about the name
    for key in refused:
        with pytest.raises(InvalidName):
            await writer.put(key, body(b"bytes"), Absent())
        with pytest.raises(InvalidName):
            await writer.begin(key, 5, PLAIN, Absent())
    assert await listed(reader) == []
