"""Which two places the state of a route speaks of. State of before, which does not say so, is of those that are set now.

Written by the publisher that leads. Workers show theirs with each claim and each receipt (`Cache`), and what is of another pair
is refused there, in the same step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from common.ends import Ends
from common.state.keys import text_bytes, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.state.cache import Cache
    from common.state.store import Store

MESSAGE = "the route leads somewhere else now: the next job begins afresh, and looks at everything that is there"


class RouteEnds:
    """Every call may be repeated; a change that was not brought to its end is found by the next."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def changed(self, route: str, ends: Ends) -> Ends | None:
        """Where the route led before, if it leads somewhere else now; then nothing that workers of the old pair bring is written
        any more, and `forget` is to be called before anything else. None if all is as it was.
        """
        key = self._store.keys.ends(route)
        (found,) = await self._store.send([("HGETALL", key)])
        known = {name.decode(): text_of(value) for name, value in found.items()}
        told = ("digest", ends.digest, "source", text_bytes(ends.source), "destination", text_bytes(ends.destination))
        if not known:
            await self._store.send([("HSET", key, *told)])
            return None
        before = Ends(known.get("old_source", known["source"]), known.get("old_destination", known["destination"]))
        if known["digest"] == ends.digest:
            return before if "old_source" in known else None
        old = ("old_source", text_bytes(known["source"]), "old_destination", text_bytes(known["destination"]))
        await self._store.send([("HSET", key, *told, *old)])
        return Ends(known["source"], known["destination"])

    async def forget(self, route: str, cache: Cache) -> None:
        """Drop what is known of the objects of the pair before: records, what is in flight, what failed. Its open job ends."""
        await cache.delete(route, None)
        keys = self._store.keys
        await self._store.run("reset_route", [keys.route(route)], [int(self._clock()), MESSAGE])
        await self._store.send([("HDEL", keys.ends(route), "old_source", "old_destination")])
