"""A source that lists what it is told to, and keeps count of how it is asked."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.objects import StoredObject, Version
from common.storage.base import TIB, Limits, Page
from common.storage.key_order import order

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from common.objects import Span
    from common.storage.base import Content

MODIFIED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def thing(key: str, token: str = "e1", size: int = 1) -> StoredObject:
    return StoredObject(key, size, Version(token), MODIFIED)


class FakeReader:
    """Lists `objects` in the order of their keys, `page` at a time.

    `before_page` is called with the number of the page, before it is given out, and may raise.
    """

    limits = Limits(largest_object=TIB, largest_put=TIB)

    def __init__(
        self,
        objects: Sequence[StoredObject],
        *,
        page: int = 1000,
        before_page: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.objects = sorted(objects, key=lambda item: item.key.encode("utf-8", "surrogatepass"))
        self.page = page
        self.before_page = before_page
        self.listings: list[str | None] = []
        self.pages = 0
        self.closed = 0

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        self.listings.append(after)
        rest = [item for item in self.objects if after is None or item.key > after]
        for start in range(0, max(len(rest), 1), self.page):
            number = self.pages
            self.pages += 1
            self.before_page(number)
            part = rest[start : start + self.page]
            last = start + self.page >= len(rest)
            yield Page(part, None if last else part[-1].key)

    async def stat(self, key: str) -> StoredObject | None:
        raise AssertionError("a publisher lists and does not look at single objects")

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        raise AssertionError("a publisher reads no bytes")

    async def close(self) -> None:
        self.closed += 1


class Service(FakeReader):
    """Lists its keys in the order of their bytes, behind any text, and answers after a turn of the loop."""

    limits = replace(FakeReader.limits, parallel_listing=True)

    def __init__(self, names: Sequence[str], *, page: int = 3, seconds: float = 0) -> None:
        super().__init__([thing(key) for key in names], page=page)
        self.objects.sort(key=lambda item: order(item.key))
        self.places = [order(item.key) for item in self.objects]
        self.seconds = seconds
        self.asked: list[tuple[str | None, list[str]]] = []
        self.may_be_divided = True
        self.refuted = 0
        self.requests = self.at_once = self.most_at_once = 0

    async def divisible(self, after: str | None, keys: Sequence[str]) -> bool:
        self.asked.append((after, list(keys)))
        return self.may_be_divided

    async def indivisible(self) -> None:
        self.refuted += 1

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        start = 0 if after is None else bisect_right(self.places, order(after))
        while True:
            self.requests += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await asyncio.sleep(self.seconds)
            finally:
                self.at_once -= 1
            part = self.objects[start : start + self.page]
            start += self.page
            more = start < len(self.objects)
            yield Page(part, part[-1].key if more else None)
            if not more:
                return
