"""Leadership: of several publishers, one sweeps. For efficiency only: two leaders for a moment cost a double listing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.state.store import Store


class Leader:
    """`owner`'s hold on the leadership `name`. It runs out `seconds` after the last `take`; renew at a third of it."""

    def __init__(self, store: Store, name: str, owner: str, seconds: float) -> None:
        self._store = store
        self._key = store.keys.leader(name)
        self._owner = owner
        self._milliseconds = max(1, int(seconds * 1000))

    async def take(self) -> bool:
        """Take or renew. False while someone else leads."""
        return bool(await self._store.run("lead", [self._key], [self._owner, self._milliseconds]))

    async def give_up(self) -> bool:
        """Let others lead at once. False if this owner did not lead. May be called twice."""
        return bool(await self._store.run("give_up", [self._key], [self._owner]))
