"""What the destination's listing says of the objects of a page of the source's: what was deleted or altered there is seen.

Where both listings are in the order of the keys' bytes the destination is read in step with the source, range by range
(publisher.in_step). For every other pair (Drive, an inventory, a service with an order of its own) it is listed first, as a
whole, into a temporary file (publisher.spool).

A listing that leaves something out costs a look at the object. One that fails says nothing from there on: receipts are taken at
their word, and whoever wanted to know is told why.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from common.errors import ObjectError
from common.state.cache import There
from common.storage.key_order import go_forward, order
from common.storage.listed import Listed
from publisher.in_step import InStep, OutOfStep, count_objects
from publisher.position import EVERYTHING
from publisher.spool import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Sequence

    from common.storage.base import Page, RangesReader, Reader
    from publisher.position import Gap
    from publisher.scan import ScannedPage


class Destination:
    """For one scan, of these parts of the source's listing. `at` is called with its pages in the order in which the scan brings
    them; several calls may be under way. Close it: the reader is closed with it.
    """

    def __init__(self, reader: Reader, source: Reader, gaps: Sequence[Gap], clock: Callable[[], float]) -> None:
        self.failed: ObjectError | None = None
        """Why the destination could not be listed to its end."""
        self._reader = reader
        self._began = clock()
        self._whole = tuple(gaps) == EVERYTHING
        self._in_step = reader.limits.ordered_listing and source.limits.ordered_listing
        self._runs: dict[str | None, InStep] = {}
        """By the place up to which they have been read, or are about to be."""
        self._opened: list[InStep] = []
        self._divisible: bool | None = None if reader.limits.parallel_listing else True
        self._alone = asyncio.Lock()
        self._spool: Spool | None = None
        self._objects = self._met = 0

    @property
    def extra(self) -> int | None:
        """Objects that the source does not list, once all of its pages have come. None where that cannot be told."""
        return None if self.failed is not None or not self._whole else self._objects - self._met

    async def at(self, page: ScannedPage) -> There | None:
        """What is there of the objects of this page; None where nothing can be said."""
        known = {*page.objects.keys, *(fault.key for fault in page.faults)}
        try:
            found = None if self.failed is not None else await self._found(page, known)
        except ObjectError as error:
            self.failed, found = error, None
        return None if found is None else There(self._began, found)

    async def close(self) -> None:
        for run in self._opened:
            await run.close()
        if self._spool is not None:
            self._spool.close()
        await self._reader.close()

    async def _found(self, page: ScannedPage, known: Collection[str]) -> dict[str, tuple[str, int]] | None:
        if self._in_step:
            try:
                return await self._beside(page, known)
            except OutOfStep:
                self._in_step = False
                self._whole = self._whole and not self._opened
        async with self._alone:
            if self.failed is not None:
                return None
            self._spool = self._spool or await self._spooled()
            found = await self._spool.find(list(known))
        self._met += len(found)
        return found

    async def _beside(self, page: ScannedPage, known: Collection[str]) -> dict[str, tuple[str, int]]:
        """The same part of both listings. A page that does not lie where it says to has no such part."""
        keys, (after, until) = page.objects.keys, page.done
        if not go_forward(keys, after) or (until is not None and keys and order(keys[-1]) > order(until)):
            raise OutOfStep
        run = self._runs.pop(after, None) or self._begin(after)
        self._runs[until] = run  # before anything is waited for: the next page of the range looks for it
        found, others = await run.up_to(until, known)
        self._objects += others
        return found

    def _begin(self, after: str | None) -> InStep:
        self._opened.append(InStep(self._reader, after, self._may_begin))
        return self._opened[-1]

    async def _may_begin(self, after: str | None) -> bool:
        """Whether the service begins a listing behind a text that need not be a key of it; it is asked once."""
        async with self._alone:
            if after is not None and self._divisible is None:
                known = next((run for run in self._opened if run.first), None)
                behind, keys = (known.after, known.first) if known else (None, await self._first_keys())
                self._divisible = await cast("RangesReader", self._reader).divisible(behind, keys)
        return after is None or bool(self._divisible)

    async def _first_keys(self) -> Sequence[str]:
        async with aclosing(cast("AsyncGenerator[Page, None]", self._reader.list(None))) as pages:
            async for page in pages:
                return Listed.of(page.objects).keys
        return ()

    async def _spooled(self) -> Spool:
        spool = Spool()
        try:
            async with aclosing(cast("AsyncGenerator[Page, None]", self._reader.list(None))) as pages:
                async for page in pages:
                    objects = Listed.of(page.objects)
                    await spool.add(objects.keys, objects.tokens, objects.sizes)
                    self._objects += count_objects(objects)
        except BaseException:
            spool.close()
            raise
        return spool
