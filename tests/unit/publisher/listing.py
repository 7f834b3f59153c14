"""A source that lists what it is told to, and keeps count of how it is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.objects import StoredObject, Version
from common.storage.base import TIB, Limits, Page

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
