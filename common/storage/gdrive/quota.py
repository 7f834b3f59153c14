"""Drive's request quota, kept by the whole fleet together: Drive counts units per user, whichever worker spends them.

https://developers.google.com/workspace/drive/api/guides/limits: 325,000 units a minute for one user, and what each call takes. To
wait before a request costs less than to be refused: a refusal counts too, and those that follow are refused for longer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from common.storage.shared import Shared

UNITS_GET = 5
UNITS_WRITE = 50
UNITS_LIST = 100
UNITS_DOWNLOAD = 200
NO_UNITS = 0
"""What belongs to a request that has been paid for: the parts of an upload."""


class Quota:
    """The budget of one user. `spend` returns when the units may be used, however long that takes: whoever gave up instead would
    only stand at the end of the line again, and it counts as no attempt to stand in it.
    """

    def __init__(self, shared: Shared, units_a_minute: int, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._shared = shared
        self._limit = units_a_minute
        self._sleep = sleep

    async def spend(self, user: str, units: int) -> None:
        if not units:
            return
        wait = await self._shared.spend(f"drive:{user}", units, 60, self._limit)
        if wait > 0:
            await self._sleep(wait)
