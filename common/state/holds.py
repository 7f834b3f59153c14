"""Routes that are held because one end refuses everything, in Redis, for all workers of a fleet.

A hold stands where a limit of the day does (`Agreements.park`), so that whoever looks whether a route waits sees both.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.storage.shared import Parking

if TYPE_CHECKING:
    from common.state.store import Argument, Store


@dataclass(frozen=True, slots=True)
class Hold:
    """What counts now. `tries`: how often it has been begun or prolonged, 0 for a limit of the day; `begun`: by this call."""

    parking: Parking
    tries: int
    begun: bool = False
    trial: str = ""
    """Names the caller's trial, where it has got it."""


class Holds:
    """Times are seconds since 1970 by the workers' clocks. Each call is one round trip and may be repeated."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def hold(self, route: str, held: str, reason: str, *, now: float, pauses: tuple[float, float], trial: str = "") -> Hold:
        """Let the route wait for the first of the `pauses`, or, after `trial` was refused, for twice as long as before, at most
        for the second. A route that waits already goes on as it does.
        """
        args: list[Argument] = [secrets.token_hex(8), now, held, reason, *pauses, trial]
        until, why, what, tries, begun = await self._store.run("hold", [self._store.keys.parked(route)], args)
        return Hold(Parking(float(until), why.decode(), what.decode()), tries, begun == 1)

    async def attempt(self, route: str, *, now: float, seconds: float) -> Hold | None:
        """Ask for the trial of a held route; it may take so many seconds. None where the route is not held (any more)."""
        args: list[Argument] = [secrets.token_hex(8), now, seconds]
        reply = await self._store.run("try_held", [self._store.keys.parked(route)], args)
        if not reply:
            return None
        until, reason, held, tries, trial, tried = reply
        return Hold(Parking(float(until), reason.decode(), held.decode(), tried == 1), tries, trial=trial.decode())

    async def end(self, route: str, trial: str, *, now: float, well: bool) -> bool:
        """The trial is over. Where it went `well` the hold is over, whoever has the trial by now, and the answer is whether this
        call has ended it; else the next trial may begin.
        """
        args: list[Argument] = [trial, now, int(well)]
        return bool(await self._store.run("end_trial", [self._store.keys.parked(route)], args))
