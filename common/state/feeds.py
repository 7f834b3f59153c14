"""How far a route has followed its source's own account of what has changed (`ChangesReader`).

A mark counts from when the scan that was begun with it has ended: a scan that is given up leaves the one before, and its changes
are looked at again. What is written here is written by the publisher that holds the route's job, one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.state.keys import text_of

if TYPE_CHECKING:
    from common.state.store import Store


@dataclass(frozen=True, slots=True)
class Followed:
    """Everything up to `mark` has been listed, at the source that `source` describes; all of it last at `full` (unix seconds)."""

    source: str
    mark: str
    full: int


class Feeds:
    """Every call is one round trip and may be repeated."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, route: str) -> Followed | None:
        (found,) = await self._store.send([("HGETALL", self._store.keys.feed(route))])
        fields = {name.decode(): text_of(value) for name, value in found.items()}
        if "mark" not in fields:
            return None
        return Followed(fields["source"], fields["mark"], int(fields["full"]))

    async def begun(self, route: str, job: str, followed: Followed) -> None:
        """What will hold when the scan of this job has ended; instead of what another job has begun."""
        fields = ("next_source", followed.source, "next_mark", followed.mark, "next_full", followed.full)
        await self._store.send([("HSET", self._store.keys.feed(route), "job", job, *fields)])

    async def is_full(self, route: str, job: str) -> bool:
        """Whether the scan that was begun with this job looks at everything; one of which nothing is known does."""
        (found,) = await self._store.send([("HMGET", self._store.keys.feed(route), "job", "full", "next_full")])
        begun, full, next_full = found
        return begun is None or begun.decode() != job or full != next_full or full is None

    async def ended(self, route: str, job: str) -> None:
        """The scan of this job has ended: what was begun with it holds. Nothing happens where it was begun with another."""
        key = self._store.keys.feed(route)
        (found,) = await self._store.send([("HMGET", key, "job", "next_source", "next_mark", "next_full")])
        begun, source, mark, full = found
        if begun is not None and begun.decode() == job and mark is not None:
            await self._store.send([("HSET", key, "source", source, "mark", mark, "full", full)])

    async def forget(self, route: str) -> None:
        """The next sweep looks at everything."""
        await self._store.send([("UNLINK", self._store.keys.feed(route))])
