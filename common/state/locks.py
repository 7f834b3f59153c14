"""Leadership: of several publishers, one sweeps. Two of them for a moment cost a double listing, and no more: what a job
counts is fenced by the number of the term (jobs.py), so that a leader whose term is over cannot write to it.
"""

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

    async def take(self) -> int:
        """Take or renew; the number of the term, which is higher each time that the lead is taken anew. 0 while someone else
        leads.
        """
        return int(await self._store.run("lead", [self._key, f"{self._key}:term"], [self._owner, self._milliseconds]))

    async def take_over(self) -> int:
        """The number of a new term, whoever leads: for who knows that nobody else is at work."""
        await self._store.send([("DEL", self._key)])
        return await self.take()

    async def give_up(self) -> bool:
        """Let others lead at once. False if this owner did not lead. May be called twice."""
        return bool(await self._store.run("give_up", [self._key], [self._owner]))
