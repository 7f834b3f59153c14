"""What the workers of a fleet tell each other, in Redis: `common.storage.shared`, for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.state.findings import Findings
from common.state.keys import digest, text_bytes
from common.storage.shared import BURST, WEEK, Parking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.state.store import Store
    from common.storage.abilities import Finding


class Agreements:
    """`Shared` on Redis. When it forgets, a file is looked for at the service again, a budget is full, a parked route tries
    once more and is told again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def agree(self, name: str, proposal: str, seconds: float = WEEK) -> str:
        agreed: bytes = await self._store.run("agree", [self._agreed(name)], [proposal, _milliseconds(seconds)])
        return agreed.decode()

    async def recall(self, name: str) -> str | None:
        (agreed,) = await self._store.send([("GET", self._agreed(name))])
        return None if agreed is None else str(agreed, "utf-8")

    async def forget(self, name: str, value: str, after: float = 0) -> None:
        await self._store.run("end_agreement", [self._agreed(name)], [value, int(after * 1000)])

    async def spend(self, budget: str, units: int, per_seconds: float, limit: float) -> float:
        rate, most = limit * (1 - BURST) / per_seconds, limit * BURST
        milliseconds = await self._store.run("spend", [self._store.keys.budget(budget)], [units, rate, most])
        return float(milliseconds) / 1000

    async def park(self, route: str, parking: Parking) -> Parking:
        until, reason = await self._store.run("park", [self._store.keys.parked(route)], [parking.until, parking.reason])
        return Parking(float(until), reason.decode())

    async def parked(self, route: str) -> Parking | None:
        (found,) = await self._store.send([("HGETALL", self._store.keys.parked(route))])
        return parking(found)

    async def findings(self, service: str) -> Mapping[str, Finding]:
        return await Findings(self._store).of(service)

    async def found(self, service: str, ability: str, finding: Finding) -> None:
        await Findings(self._store).put(service, ability, finding)

    def _agreed(self, name: str) -> str:
        return self._store.keys.agreed(digest(text_bytes(name)).hex())


def parking(stored: Mapping[bytes, bytes]) -> Parking | None:
    """What `park` or `Holds.hold` has written."""
    if not stored:
        return None
    held = stored.get(b"held", b"").decode()
    return Parking(float(stored[b"until"]), stored[b"reason"].decode(), held, b"trial" in stored)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
