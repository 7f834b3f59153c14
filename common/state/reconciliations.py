"""When a route's destination was last listed beside its source, and whether somebody wants that now.

A reconciliation counts from when its scan began, once that has ended: one that is given up, or could not list the destination, is
begun again by the next scan. What is written here is written by the publisher that holds the route's job, but for `want`.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.state.store import Store


class Reconciliations:
    """Every call is one round trip or two, and may be repeated. Times are unix seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def want(self, route: str) -> None:
        """The next scan that begins is to list the destination, too."""
        await self._store.send([("HSET", self._key(route), "wanted", secrets.token_hex(8))])

    async def due(self, route: str, now: float, every: float) -> bool:
        """Whether a scan that begins now is to list the destination: somebody wants it, or the last time is `every` seconds ago
        (0: only where somebody wants it) or ahead of now.
        """
        wanted, at = (await self._store.send([("HMGET", self._key(route), "wanted", "at")]))[0]
        return wanted is not None or (every > 0 and (at is None or not 0 <= now - float(at) < every))

    async def begun(self, route: str, scan: str, now: float) -> None:
        """By this scan; instead of what another has begun."""
        key = self._key(route)
        (wanted,) = await self._store.send([("HGET", key, "wanted")])
        await self._store.send([("HSET", key, "scan", scan, "began", int(now), "for", wanted or b"")])

    async def under_way(self, route: str, scan: str) -> bool:
        """Whether this scan began to list the destination, too."""
        (begun,) = await self._store.send([("HGET", self._key(route), "scan")])
        return begun is not None and begun.decode() == scan

    async def ended(self, route: str, scan: str) -> None:
        """This scan has listed both to the end. What was wanted meanwhile stays so."""
        key = self._key(route)
        begun, began, wanted, asked = (await self._store.send([("HMGET", key, "scan", "began", "wanted", "for")]))[0]
        if begun is None or begun.decode() != scan:
            return
        done = ("wanted", "scan") if wanted == asked else ("scan",)
        await self._store.send([("HSET", key, "at", began), ("HDEL", key, *done)])

    def _key(self, route: str) -> str:
        return self._store.keys.reconciled(route)
