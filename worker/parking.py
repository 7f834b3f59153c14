"""Routes that wait: for a limit of the day, or because one end refuses everything (worker/holding.py). Nothing is wrong with
their objects: they go back to the queue uncounted, and go on by themselves.

The worker that is told of it notes it in Redis, so that the others need not find out one by one; each looks there now and then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.storage.shared import Parking
from common.telemetry import get_logger
from worker.holding import FREE_TRIALS

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.errors import ObjectError, Parked
    from common.state.holds import Hold
    from common.storage.shared import Shared
    from common.task import Task
    from worker.holding import Holding

log = get_logger(__name__)

LOOK_SECONDS = 30.0
"""How long a worker may not know that another has parked a route; it then costs one request in vain."""
TRIAL_SECONDS = 3.0
"""How long deliveries wait for the end of somebody else's trial of a held route, before they look again."""


class ParkedRoutes:
    """What this worker knows of the routes that wait. `now` is in seconds since 1970."""

    def __init__(self, shared: Shared, now: Callable[[], float], holding: Holding | None = None) -> None:
        """Without `holding` no route is ever held."""
        self._shared = shared
        self._now = now
        self._holding = holding
        self._known: dict[str, Parking] = {}
        self._looked: dict[str, float] = {}

    async def seconds(self, route: str) -> float:
        """How long the route has to wait yet; 0 when it may go on."""
        now = self._now()
        known = self._known.get(route)
        every = TRIAL_SECONDS if known is not None and known.tried else LOOK_SECONDS
        looked = self._looked.get(route)
        if looked is None or now - looked >= every:
            await self._look(route)
        parking = self._known.get(route)
        if parking is None:
            return 0.0
        if parking.until <= now:
            if not parking.held:
                self._forget(route)
            return 0.0
        return min(parking.until - now, TRIAL_SECONDS) if parking.tried else parking.until - now

    async def admit(self, task: Task) -> float:
        """How long the task has to wait yet; 0 when it may go on. Of a held route whose pause is over only one may."""
        waits = await self.seconds(task.route)
        parking = self._known.get(task.route)
        if waits or parking is None or self._holding is None:
            return waits
        hold = await self._holding.attempt(task)
        if hold is None:
            self._forget(task.route)
            return 0.0
        self._note(task.route, hold.parking)
        return 0.0 if hold.trial else await self.seconds(task.route)

    async def park(self, route: str, error: Parked) -> float:
        """Let the route wait, here and in all workers; how long."""
        self._note(route, await self._shared.park(route, Parking(error.until, str(error))))
        return max(0.0, self._known[route].until - self._now())

    async def refused(self, task: Task, error: ObjectError) -> float:
        """How long an object waits that is not to blame, because the end that refused it refuses everything; 0 where it is."""
        if self._holding is None or not error.of_location or error.at_source is None:
            return 0.0
        if self._holding.tries(task):
            return self._waits(task, await self._holding.hold(task, error))
        if self._holding.in_a_row(task, error):
            return self._waits(task, await self._holding.hold(task, error))
        await self._look(task.route)  # another may have found out meanwhile
        known = self._known.get(task.route)
        return max(TRIAL_SECONDS, known.until - self._now()) if known is not None and known.held else 0.0

    async def served(self, task: Task, *, source: bool, destination: bool) -> None:
        """These ends of the route have just served the object."""
        if self._holding is not None and self._holding.served(task, source=source, destination=destination):
            await self._holding.end(task, well=True)
            self._forget(task.route)

    async def over(self, task: Task) -> None:
        """The task has ended somehow. A trial that has shown nothing makes room for the next."""
        if self._holding is not None and self._holding.tries(task):
            await self._holding.end(task, well=False)
            await self._look(task.route)

    def _waits(self, task: Task, hold: Hold) -> float:
        self._note(task.route, hold.parking)
        return 0.0 if hold.tries > FREE_TRIALS else max(1.0, hold.parking.until - self._now())

    async def _look(self, route: str) -> None:
        self._looked[route] = self._now()
        found = await self._shared.parked(route)
        if found is not None and (found.held or found.until > self._now()):
            self._note(route, found)
        elif route in self._known and self._known[route].held:
            self._forget(route)

    def _forget(self, route: str) -> None:
        if self._holding is not None:
            self._holding.forget(route)
        if self._known.pop(route, None) is not None:
            log.info("a route that waited goes on", action="route_resumed", route=route)

    def _note(self, route: str, parking: Parking) -> None:
        new = route not in self._known
        self._known[route] = parking
        if new and not parking.held:
            log.warning(
                "a limit of the day is used up: the route waits until it is reset, and then goes on by itself",
                action="route_parked",
                route=route,
                until=datetime.fromtimestamp(parking.until, UTC).isoformat(timespec="seconds"),
                reason=parking.reason,
            )
