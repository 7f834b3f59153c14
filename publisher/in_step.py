"""Part of a destination's listing, read in step with a range of the source's: both in the order of the keys' UTF-8 bytes.

In memory: one page of the destination, whatever lies between two keys of the source.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from common.storage.key_order import go_forward, order
from common.storage.listed import Listed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from common.storage.base import Reader

_NONE = Listed([], [], [], [].__getitem__)


class OutOfStep(Exception):  # noqa: N818 - named after the situation
    """One of the two listings is in another order, or cannot be begun where the other one stands."""


class InStep:
    """From behind `after` on. Its calls are made in the order of the keys; each waits for the one before it. `may_begin` is asked
    before the first page. Close it.
    """

    def __init__(self, reader: Reader, after: str | None, may_begin: Callable[[str | None], Awaitable[bool]]) -> None:
        self.after = after
        self.first: Sequence[str] = ()
        """The keys of its first page that has any."""
        self._pages = reader.list(after)
        self._may_begin = may_begin
        self._begun = False
        self._last = after
        self._held = _NONE
        self._ended = False
        self._turn = asyncio.Lock()

    async def up_to(self, until: str | None, wanted: Collection[str]) -> tuple[dict[str, tuple[str, int]], int]:
        """What is listed up to `until` and with it (None: to the end): token and size of those that are wanted, and how many
        objects there are beside them. Raises OutOfStep, and what the reader raises.
        """
        found: dict[str, tuple[str, int]] = {}
        others = 0
        async with self._turn:
            while True:
                part = self._held if until is None else self._held[: bisect_right(self._held.keys, order(until), key=order)]
                mine = {
                    key: (token, size)
                    for key, token, size in zip(part.keys, part.tokens, part.sizes, strict=True)
                    if key in wanted
                }
                found |= mine
                others += count_objects(part) - len(mine)
                self._held = self._held[len(part) :]
                if self._held or self._ended:
                    return found, others
                if until is not None and self._last is not None and order(self._last) >= order(until):
                    return found, others
                await self._next_page()

    async def close(self) -> None:
        if isinstance(self._pages, AsyncGenerator):
            await self._pages.aclose()

    async def _next_page(self) -> None:
        if not self._begun and not await self._may_begin(self.after):
            raise OutOfStep
        self._begun = True
        page = await anext(self._pages, None)
        if page is None:
            self._ended = True
            return
        self._held, self._ended = Listed.of(page.objects), page.after is None
        if not go_forward(self._held.keys, self._last):
            raise OutOfStep
        if self._held:
            self.first = self.first or self._held.keys
            self._last = self._held.keys[-1]


def count_objects(listed: Listed) -> int:
    """Without the markers of directories, which are objects to nobody but a console."""
    markers = sum(not size and (not key or key.endswith("/")) for key, size in zip(listed.keys, listed.sizes, strict=True))
    return len(listed) - markers
