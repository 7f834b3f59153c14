"""Which failures are on the error topic already, where the topic cannot replace a report by a newer one: Pub/Sub.

An object that fails for good is published again every hour, and would be reported each time. A mark in Redis says that the same
version has been reported with the same category; further failures are counted in it. A mark ends before Pub/Sub drops the message
(7 days), with a redrive, and with a discard: so what still fails is always to be found on the topic.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from common.state.keys import digest, key_bytes, text_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.state.store import Store


class Reported:
    """Every call is one round trip. When Redis has forgotten, a failure is reported once more."""

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now

    async def again(self, route: str, key: str, version: str, category: str) -> bool:
        """Whether this failure is on the topic already; then it has been counted."""
        return bool(await self._run(route, key, version, category, sent=False))

    async def note(self, route: str, key: str, version: str, category: str) -> None:
        """Its report has been sent, and confirmed by the queue."""
        await self._run(route, key, version, category, sent=True)

    async def forget(self, objects: Sequence[tuple[str, str]]) -> None:
        """Reports of these (route, key) are about to leave the topic: whatever fails from now on is reported."""
        if objects:
            await self._store.send([("UNLINK", self._name(route, key)) for route, key in objects])

    async def history(self, objects: Sequence[tuple[str, str]]) -> list[tuple[int, float | None]]:
        """How often each was reported, and when first (seconds since 1970), as far as is known."""
        if not objects:
            return []
        found = await self._store.send([("HMGET", self._name(route, key), "times", "first") for route, key in objects])
        return [(int(times or 1), float(first) if first else None) for times, first in found]

    async def _run(self, route: str, key: str, version: str, category: str, *, sent: bool) -> int:
        what = text_bytes(f"{category} {version}")
        return int(await self._store.run("reported", [self._name(route, key)], [what, self._now(), int(sent)]))

    def _name(self, route: str, key: str) -> str:
        return self._store.keys.reported(route, digest(key_bytes(key)).hex())
