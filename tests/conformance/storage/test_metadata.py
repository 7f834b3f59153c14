"""What a backend says it keeps is what its writes take, and what it does not keep they refuse: nothing is lost in silence."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from common.errors import ObjectError
from common.objects import Headers
from common.storage.base import Absent
from common.storage.metadata import HEADERS
from tests.conformance.storage.backends import where
from tests.conformance.storage.moves import body, in_parts

if TYPE_CHECKING:
    from common.storage.base import Writer
    from tests.conformance.storage.backends import Backend

LADEN = Headers(
    "text/x-laden",
    "max-age=60",
    metadata={
        "brigade-source-version": "9a0364b9e99bb480dd25e1f0284c8555-3",
        "brigade-source-size": "5",
        **{f"k{number:03}": random.Random(number).randbytes(number * 10).hex() for number in range(60)},
        "long": random.Random(60).randbytes(40_000).hex(),
    },
)
"""More than any backend keeps, but for the memory of this process."""

EVERY = Headers(
    "text/x-every",
    "max-age=60",
    'attachment; filename="every"',
    "x-odd",
    "de-AT",
    {"owner": "=?unknown-8bit?B?Y2Fm6Q==?="},
    expires="Wed, 21 Oct 2026 07:28:00 GMT",
    website_redirect="/elsewhere",
    custom_time="2026-01-01T00:00:00Z",
)


@where(lambda traits: traits.counts_metadata)
async def test_what_is_kept_is_taken(backend: Backend, writer: Writer) -> None:
    # Given what the backend keeps of an object with far too much metadata
    kept = writer.limits.kept(LADEN)
    assert kept.metadata.keys() >= {"brigade-source-version", "brigade-source-size", "k000", "k001"}
    assert ("long" in kept.metadata) == (backend.name == "memory")
    assert writer.limits.kept(kept) == kept

    # When an object is written with it
    written = await writer.put("key", body(b"bytes", kept), Absent())

    # Then all of it is there
    found = await writer.stat("key")
    assert found is not None
    for answer in (written, found):
        assert kept.metadata.items() <= answer.headers.metadata.items()
        assert (answer.headers.content_type, answer.headers.cache_control) == ("text/x-laden", "max-age=60")


@where(lambda traits: traits.counts_metadata)
async def test_what_has_a_place_comes_back(backend: Backend, writer: Writer) -> None:
    # Given an object with every header that there is, and metadata that only looks like encoded text
    kept = writer.limits.kept(EVERY)
    assert kept.metadata == EVERY.metadata

    # When it is written with what the backend has a place for, in one piece and in parts
    await writer.put("whole", body(b"bytes", kept), Absent())
    await in_parts(writer, "parts", bytes(backend.part + 1), backend.part, headers=kept)

    # Then all of that is there
    for key in ("whole", "parts"):
        found = await writer.stat(key)
        assert found is not None
        assert {name: getattr(found.headers, name) for name in HEADERS} == {name: getattr(kept, name) for name in HEADERS}
        assert found.headers.metadata.items() >= kept.metadata.items()


async def test_what_is_not_kept_is_refused(backend: Backend, writer: Writer) -> None:
    # Given all of it
    if writer.limits.kept(LADEN) is LADEN:
        assert backend.name == "memory"
        return

    # When an object is written with it, in one piece or in parts
    # Then it is refused for good, and nothing is there
    with pytest.raises(ObjectError) as whole:
        await writer.put("key", body(b"bytes", LADEN), Absent())
    with pytest.raises(ObjectError) as parts:
        await in_parts(writer, "key", bytes(backend.part + 1), backend.part, headers=LADEN)
    assert not whole.value.retryable
    assert not parts.value.retryable
    assert await writer.stat("key") is None
