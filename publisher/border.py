"""The border between two ranges of a listing: what the first goes on to is what the second has begun with.

A service that does not begin behind the text it is asked for (SeaweedFS 4.48 leaves out what is in a directory of that name) has
listed too little, and says that this was all. So the first range is listed as far as the first key that the second has
brought, and what it finds there and the second has not is listed with it. In memory: two pages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from common.storage.key_order import order
from common.storage.listed import Listed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.storage.base import Page, Reader
    from publisher.ranges import Range


async def left_out(reader: Reader, span: Range, listing: AsyncIterator[Page], last: Page) -> AsyncGenerator[Listed, None]:
    """What neither `span` nor a range behind it has listed, page by page. `last` is the page with which `listing` has come to the
    end of `span`.

    Waits for the first page of the range behind; one in which nothing is does not count, and what lies in it is looked for here.
    An object that was deleted between two answers may be among what is found.
    """
    if span.behind is None or span.until is None:
        return
    first = await _first_behind(span)
    objects, until = Listed.of(last.objects), order(span.until)
    beyond = objects.pick([place for place, key in enumerate(objects.keys) if order(key) > until])
    if missing := _missing(beyond, first):
        yield missing
    if _met(beyond, first):
        return
    if last.after is None and first and span.first:
        # Nothing follows, it says, and yet something does: it is asked again where it ended.
        listing = reader.list(objects.keys[-1] if objects else span.after)
    elif last.after is None:
        return
    async with aclosing(_until(listing, first)) as pages:
        async for page in pages:
            if missing := _missing(Listed.of(page.objects), first):
                yield missing


async def _first_behind(span: Range) -> Sequence[str]:
    """The keys of the first page behind `span` that has any; none if nothing is there."""
    behind = span.behind
    while behind is not None:
        await behind.begun.wait()
        if behind.first:
            return behind.first
        behind = behind.behind
    return ()


async def _until(listing: AsyncIterator[Page], first: Sequence[str]) -> AsyncGenerator[Page, None]:
    """The pages up to the one with a key that is known from behind."""
    try:
        async for page in listing:
            yield page
            if _met(Listed.of(page.objects), first):
                return
    finally:
        if isinstance(listing, AsyncGenerator):
            await listing.aclose()


def _missing(objects: Listed, first: Sequence[str]) -> Listed:
    known, end = set(first), order(first[-1]) if first else None
    places = enumerate(objects.keys)
    return objects.pick([place for place, key in places if key not in known and (end is None or order(key) < end)])


def _met(objects: Listed, first: Sequence[str]) -> bool:
    return bool(objects) and bool(first) and order(objects.keys[-1]) >= order(first[0])
