"""A walk over a source's listing, page by page, with flat memory: the page in hand and at most one more on its way.

The next page is asked for while the page in hand is diffed and published, because a listing is a chain of requests that each
wait for the one before; nothing is gained by asking further ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cancelling import cancel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.objects import StoredObject
    from common.storage.base import Page, Reader


@dataclass(frozen=True, slots=True)
class ScannedPage:
    """`objects` are those that can be replicated; `listed` counts what the page held, `markers` the directory markers left out
    of `objects`, and `nameless` the objects that are left out because they have no name below the location.
    """

    objects: Sequence[StoredObject]
    listed: int
    markers: int
    nameless: int
    after: str | None


async def scan(reader: Reader, after: str | None, *, skip_markers: bool) -> AsyncGenerator[ScannedPage, None]:
    """The pages behind the checkpoint `after`. Close the generator when leaving early: a page may be on its way.

    Raises what the reader raises, at the page that could not be had, after every page before it.
    """
    listing = reader.list(after)
    upcoming = asyncio.create_task(_next(listing))
    try:
        while (page := await upcoming) is not None:
            upcoming = asyncio.create_task(_next(listing))
            yield _sift(page, skip_markers=skip_markers)
    finally:
        await cancel(upcoming)
        if isinstance(listing, AsyncGenerator):
            await listing.aclose()


async def _next(listing: AsyncIterator[Page]) -> Page | None:
    return await anext(listing, None)


def _sift(page: Page, *, skip_markers: bool) -> ScannedPage:
    """A directory marker is an empty object whose name ends with a slash; the location's own has no name left below it.

    An object named exactly like the location has the key "", which no task can carry: it is left out even where
    markers are wanted.
    """
    objects = []
    markers = nameless = 0
    for item in page.objects:
        if not item.key:
            markers += item.size == 0
            nameless += item.size != 0
        elif skip_markers and item.size == 0 and item.key.endswith("/"):
            markers += 1
        else:
            objects.append(item)
    return ScannedPage(objects, len(page.objects), markers, nameless, page.after)
