"""Retries of a listing: it goes on where it was, instead of beginning again."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from common.errors import Unavailable
from common.objects import StoredObject, Version
from common.storage.base import Limits, Page
from common.storage.retry import RetryingReader
from tests.unit.storage.conftest import retrier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.storage.conftest import Naps


def reading(inner: Any, naps: Naps, **policy: Any) -> RetryingReader:
    return RetryingReader(inner, retrier(naps, **policy))


class Pages:
    """A reader of numbered pages that fails where it is told to, and remembers where listings began and that they were closed."""

    limits = Limits(1, 1)

    def __init__(self, count: int, faults: dict[int, int]) -> None:
        self.count = count
        self.faults = faults
        self.begun: list[str | None] = []
        self.closed = 0

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        self.begun.append(after)
        try:
            for number in range(0 if after is None else int(after) + 1, self.count):
                if self.faults.get(number, 0) > 0:
                    self.faults[number] -= 1
                    raise Unavailable("no answer")
                yield Page([StoredObject(str(number), 0, Version("1"))], str(number) if number < self.count - 1 else None)
        finally:
            self.closed += 1


async def test_a_listing_goes_on_behind_the_last_page(naps: Naps) -> None:
    # Given a listing that breaks at the first page, in the middle, and at the last page twice
    inner = Pages(6, {0: 1, 3: 1, 5: 2})

    # When it is read
    reader = reading(inner, naps, attempts=3)
    keys = [stored.key async for page in reader.list() for stored in page.objects]

    # Then every page came once, and no page that was there was asked for again
    assert keys == ["0", "1", "2", "3", "4", "5"]
    assert inner.begun == [None, None, "2", "4", "4"]
    assert inner.closed == 5


async def test_every_page_has_all_attempts(naps: Naps) -> None:
    # Given a listing that breaks before every page, once less than it may
    inner = Pages(5, dict.fromkeys(range(5), 2))

    # When it is read with three attempts
    # Then it comes to its end
    reader = reading(inner, naps, attempts=3)
    assert len([page async for page in reader.list()]) == 5


async def test_a_listing_that_stays_broken_ends(naps: Naps) -> None:
    # Given a listing that breaks at its third page for good
    inner = Pages(5, {2: 100})
    reader = reading(inner, naps, attempts=3)

    # When it is read
    # Then what came came, and the error does too
    pages = reader.list()
    assert [stored.key for _ in range(2) for stored in (await anext(pages)).objects] == ["0", "1"]
    with pytest.raises(Unavailable):
        await anext(pages)
    assert len(naps.seconds) == 2


async def test_a_listing_that_nobody_wants_any_more_is_closed(naps: Naps) -> None:
    # Given a listing of which the first page was enough
    inner = Pages(5, {})
    pages = reading(inner, naps).list()
    await anext(pages)

    # When it is closed
    assert inspect.isasyncgen(pages)
    await pages.aclose()

    # Then the one inside is too
    assert inner.closed == 1
