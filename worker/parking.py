"""Routes that wait for a limit of the day. Nothing is wrong with their objects: they go back to the queue uncounted, and go
on when the limit is reset, by themselves.

The worker that is told of the limit notes it in Redis, so that the others need not find out one by one; each looks there now
and then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.storage.shared import Parking
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.errors import Parked
    from common.storage.shared import Shared

log = get_logger(__name__)

LOOK_SECONDS = 30.0
"""How long a worker may not know that another has parked a route; it then costs one request in vain."""


class ParkedRoutes:
    """What this worker knows of the routes that wait. `now` is in seconds since 1970."""

    def __init__(self, shared: Shared, now: Callable[[], float]) -> None:
        self._shared = shared
        self._now = now
        self._known: dict[str, Parking] = {}
        self._looked: dict[str, float] = {}

    async def seconds(self, route: str) -> float:
        """How long the route has to wait yet; 0 when it may go on."""
        now = self._now()
        looked = self._looked.get(route)
        if looked is None or now - looked >= LOOK_SECONDS:
            self._looked[route] = now
            found = await self._shared.parked(route)
            if found is not None and found.until > now:
                self._note(route, found)
        parking = self._known.get(route)
        if parking is None:
            return 0.0
        if parking.until <= now:
            del self._known[route]
            log.info("a parked route goes on", action="route_resumed", route=route)
            return 0.0
        return parking.until - now

    async def park(self, route: str, error: Parked) -> float:
        """Let the route wait, here and in all workers; how long."""
        self._note(route, await self._shared.park(route, Parking(error.until, str(error))))
        return max(0.0, self._known[route].until - self._now())

    def _note(self, route: str, parking: Parking) -> None:
        new = route not in self._known
        self._known[route] = parking
        if new:
            log.warning(
                "a limit of the day is used up: the route waits until it is reset, and then goes on by itself",
                action="route_parked",
                route=route,
                until=datetime.fromtimestamp(parking.until, UTC).isoformat(timespec="seconds"),
                reason=parking.reason,
            )
