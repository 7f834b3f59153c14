"""A walk over a source's listing, page by page, with flat memory; over several ranges of it side by side where that is faster.

The next page of a range is asked for while the page in hand is compared and published. When the publisher has to wait for pages
all the same, the service is what is slow, and the listing is divided (publisher.ranges) until as many ranges are listed at once
as the settings allow. The pages of one range come in the order of the listing; between the ranges there is no order.

In memory: for each range the page that has come and the one on its way, and QUEUED pages that nobody has taken yet.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from common.cancelling import cancel
from common.errors import InvalidName, ObjectError, Refused
from common.storage.base import Fault, Page
from common.storage.key_order import order
from common.storage.listed import Listed
from common.telemetry import get_logger
from publisher.border import left_out
from publisher.position import Gap
from publisher.ranges import Range, Ranges

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from common.storage.base import RangesReader, Reader

log = get_logger(__name__)

QUEUED = 1
NAMELESS = "an object has the name of the location itself and cannot be replicated: make the prefix of the route shorter"
PATIENCE = 0.005
"""Seconds that the publisher waits for a page before another range is begun: a service nearby answers sooner."""


@dataclass(frozen=True, slots=True)
class ScannedPage:
    """`objects` are those that can be replicated; `left_out` counts by reason what is none, "marker" for directory markers;
    `faults` names what cannot be replicated as it stands.

    `done` is the part of the listing that the page covers: all of it that lies in there is on this page.
    """

    objects: Listed
    left_out: Mapping[str, int]
    faults: Sequence[Fault]
    done: Gap


async def scan(
    reader: Reader, gaps: Sequence[Gap], *, skip_markers: bool, shards: int = 1, patience: float = PATIENCE
) -> AsyncGenerator[ScannedPage, None]:
    """The pages of these parts of the listing. Close the generator when leaving early: pages may be on their way.

    Raises what the reader raises, at the first page that could not be had, after every page that came before it.
    """
    walk = _Walk(reader, gaps, shards if reader.limits.parallel_listing else 1, skip_markers=skip_markers)
    try:
        walk.begin()
        while (page := await walk.next(patience)) is not None:
            yield page
    finally:
        await walk.stop()


class _Walk:
    def __init__(self, reader: Reader, gaps: Sequence[Gap], shards: int, *, skip_markers: bool) -> None:
        self._reader = reader
        self._waiting = deque(gaps)
        self._shards = shards
        self._skip_markers = skip_markers
        self._ranges = Ranges()
        self._pages: asyncio.Queue[ScannedPage | Exception | None] = asyncio.Queue(QUEUED)
        self._listers: set[asyncio.Task[None]] = set()
        self._divided = len(gaps) > 1

        self._divisible: bool | None = None
        """Not known before the first division; what a checkpoint has divided was known then."""
        self._sample: tuple[str | None, Sequence[str]] | None = None
        """Keys of a page, and behind what they were listed."""

    def begin(self) -> None:
        while self._waiting and len(self._listers) < self._shards:
            self._start(self._ranges.begin(self._waiting.popleft()))

    async def next(self, patience: float) -> ScannedPage | None:
        """The next page; None when all have come."""
        while True:
            try:
                async with asyncio.timeout(patience if len(self._listers) < self._shards else None):
                    page = await self._pages.get()
            except TimeoutError:
                await self._divide()
                continue
            if isinstance(page, Exception):
                raise page
            return page

    async def stop(self) -> None:
        await cancel(*self._listers)

    async def _divide(self) -> None:
        if self._shards == 1 or self._sample is None or not await self._may_be_divided(*self._sample):
            return
        if len(self._listers) < self._shards and (span := self._ranges.divide()) is not None:
            self._divided = True
            self._start(span)

    async def _may_be_divided(self, after: str | None, keys: Sequence[str]) -> bool:
        """Asked once. A service that cannot even be asked is not divided; what ails it, the listing itself will meet."""
        if self._divisible is None:
            try:
                self._divisible = await cast("RangesReader", self._reader).divisible(after, keys)
            except ObjectError as error:
                self._divisible = False
                log.info("the service could not be asked where it can begin", action="not_divided", error=str(error))
            if not self._divisible:
                self._shards = 1
        return self._divisible

    def _start(self, span: Range) -> None:
        self._listers.add(asyncio.create_task(self._list(span)))

    async def _list(self, span: Range) -> None:
        """One range to its end, which may come nearer meanwhile."""
        try:
            await self._pages_of(span)
        except Exception as error:  # noqa: BLE001 - raised by `next`, in its turn
            await self._pages.put(error)
            return
        if self._waiting:
            self._start(self._ranges.begin(self._waiting.popleft()))
        self._listers.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        if not self._listers:
            await self._pages.put(None)

    async def _pages_of(self, span: Range) -> None:
        listing = self._reader.list(span.after)
        try:
            async for page in listing:
                span.begins_with(Listed.of(page.objects).keys)
                scanned, ended = self._taken(span, page)
                if ended:
                    await self._border(span, listing, page)
                await self._pages.put(scanned)
                if ended:
                    return
        finally:
            if isinstance(listing, AsyncGenerator):
                await listing.aclose()

    async def _border(self, span: Range, listing: AsyncIterator[Page], last: Page) -> None:
        """Hand out what lies behind the end of the range and the next one has not; it moves no checkpoint."""
        async with aclosing(left_out(self._reader, span, listing, last)) as missing:
            async for objects in missing:
                await self._not_divided_any_more(span, objects.keys)
                await self._pages.put(_sift(Page(objects, None), Gap(span.after, span.after), skip_markers=self._skip_markers))

    async def _not_divided_any_more(self, span: Range, keys: Sequence[str]) -> None:
        self._divisible = False
        await cast("RangesReader", self._reader).indivisible()
        log.warning(
            "asked to begin behind a text, the service has left objects out; they are listed all the same, in one piece",
            action="listing_indivisible",
            behind=span.until,
            first=keys[0],
            objects=len(keys),
        )

    def _taken(self, span: Range, page: Page) -> tuple[ScannedPage, bool]:
        """What of the page belongs to the range, and whether it was the range's last. From here on the range is behind it:
        it may be divided before anybody has looked at the page.
        """
        objects, ended = Listed.of(page.objects), page.after is None
        if self._sample is None and objects:
            self._sample = span.after, objects.keys
        if self._shards > 1:
            self._look_at_order(objects.keys)
        if span.until is not None and page.after is not None and order(page.after) >= order(span.until):
            ended = True
        if span.until is not None and objects and order(objects.keys[-1]) > order(span.until):
            objects = objects[: bisect_right(objects.keys, order(span.until), key=order)]
        faults = [fault for fault in page.faults if span.until is None or order(fault.key) <= order(span.until)]
        done = Gap(span.after, span.until if ended else page.after)
        if ended:
            self._ranges.ended(span)
        else:
            self._ranges.reached(span, objects.keys, page.after)
        return _sift(replace(page, objects=objects, faults=faults), done, skip_markers=self._skip_markers), ended

    def _look_at_order(self, keys: Sequence[str]) -> None:
        """A listing in another order than promised can be read from end to end, but not in parts."""
        if list(keys) == sorted(keys) or list(keys) == sorted(keys, key=order):
            return
        if self._divided:
            raise Refused("the service does not list keys in the order of their bytes: set BRIGADE_LIST_SHARDS=1")
        self._shards = 1


def _sift(page: Page, done: Gap, *, skip_markers: bool) -> ScannedPage:
    """A directory marker is an empty object whose name ends with a slash; the location's own has no name left below it.

    An object named exactly like the location has the key "", which no task can carry: it is refused by name, unless it is a
    marker, and then it is left out even where markers are wanted.
    """
    objects, reasons, faults = Listed.of(page.objects), Counter(page.left_out), list(page.faults)
    if "" in objects.keys or "/\0" in "\0".join([*objects.keys, ""]):  # most pages have neither
        kept = []
        for place, (key, size) in enumerate(zip(objects.keys, objects.sizes, strict=True)):
            if not key and size:
                faults.append(Fault("", InvalidName(NAMELESS)))
            elif size == 0 and (not key or (skip_markers and key.endswith("/"))):
                reasons["marker"] += 1
            else:
                kept.append(place)
        objects = objects.pick(kept)
    return ScannedPage(objects, reasons, faults, done)
