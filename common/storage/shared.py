"""What the workers of a fleet tell each other while they write: who made what, how much was spent, what has to wait.

A service that cannot refuse a second file of one name, and counts requests per user and not per process, needs this; one that has
preconditions does not. The fleet's notes are kept in Redis (`common.state.agreements`); `Alone` keeps them in memory, for
one process.

An agreement is for efficiency and order, not for safety alone: when it is lost, what it led to is found at the service by name.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from common.storage.abilities import Finding

WEEK = 7 * 24 * 3600.0
BURST = 0.1
"""The part of a limit that may be spent at once; what comes back in the time of the limit is the rest. So never more than the
limit is spent in such a time, wherever it begins."""


@dataclass(frozen=True, slots=True)
class Parking:
    """A route waits until then (seconds since 1970), for this reason. `held` is empty for a limit of the day; else it says which
    end refuses what ("destination forbidden"), and whether the route is tried with one object at this moment.
    """

    until: float
    reason: str
    held: str = ""
    tried: bool = False


class Shared(Protocol):
    """Used by many coroutines at once. Every call may be repeated, and is one round trip."""

    async def agree(self, name: str, proposal: str, seconds: float = WEEK) -> str:
        """The value of `name` for everybody: the proposal of whoever came first. Kept for so long after the last call."""
        ...

    async def recall(self, name: str) -> str | None:
        """The value that was agreed; None if there is none."""
        ...

    async def forget(self, name: str, value: str, after: float = 0) -> None:
        """This agreement, if it is still this one, ends in so many seconds."""
        ...

    async def spend(self, budget: str, units: int, per_seconds: float, limit: float) -> float:
        """Take units from a budget of `limit` in `per_seconds`; how many seconds to wait before using them. They are taken in
        any case: who comes later waits longer.
        """
        ...

    async def park(self, route: str, parking: Parking) -> Parking:
        """The route waits; of several times the last counts. The answer is what counts now."""
        ...

    async def parked(self, route: str) -> Parking | None:
        """What a route waits for, if anything is known. It may be over by the caller's clock."""
        ...

    async def findings(self, service: str) -> Mapping[str, Finding]:
        """What was found out of a service, by the ability. It may be too old to count."""
        ...

    async def found(self, service: str, ability: str, finding: Finding) -> None:
        """Keep what was found, in place of what was known."""
        ...


class Alone:
    """The notes of a single process, for tests and for what runs without Redis."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._agreed: dict[str, tuple[str, float]] = {}
        self._budgets: dict[str, tuple[float, float]] = {}
        self._parked: dict[str, Parking] = {}
        self._findings: dict[str, dict[str, Finding]] = {}

    async def agree(self, name: str, proposal: str, seconds: float = WEEK) -> str:
        value = await self.recall(name) or proposal
        self._agreed[name] = (value, self._now() + seconds)
        return value

    async def recall(self, name: str) -> str | None:
        value, ends = self._agreed.get(name, ("", 0.0))
        if self._now() < ends:
            return value
        self._agreed.pop(name, None)
        return None

    async def forget(self, name: str, value: str, after: float = 0) -> None:
        if await self.recall(name) == value:
            self._agreed[name] = (value, self._now() + after)

    async def spend(self, budget: str, units: int, per_seconds: float, limit: float) -> float:
        rate, burst = limit * (1 - BURST) / per_seconds, limit * BURST
        now = self._now()
        left, at = self._budgets.get(budget, (burst, now))
        left = min(burst, left + max(0.0, now - at) * rate) - units
        self._budgets[budget] = (left, now)
        return max(0.0, -left / rate)

    async def park(self, route: str, parking: Parking) -> Parking:
        known = self._parked.get(route)
        if known is None or known.until < parking.until:
            self._parked[route] = parking
        return self._parked[route]

    async def parked(self, route: str) -> Parking | None:
        return self._parked.get(route)

    async def findings(self, service: str) -> Mapping[str, Finding]:
        return dict(self._findings.get(service, {}))

    async def found(self, service: str, ability: str, finding: Finding) -> None:
        self._findings.setdefault(service, {})[ability] = finding
