"""A route that keeps its name and leads somewhere else: what was noted of the old pair is dropped before anything is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.config import Route
    from common.ends import Ends
    from common.state.cache import Cache
    from common.state.route_ends import RouteEnds

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Moved:
    """`ends` says where a route leads by our settings."""

    notes: RouteEnds
    cache: Cache
    ends: Callable[[Route], Ends]

    async def look(self, route: Route) -> None:
        """To be called by the publisher that leads, before it opens a job of the route."""
        ends = self.ends(route)
        before = await self.notes.changed(route.name, ends)
        if before is None:
            return
        log.warning(
            "the route leads somewhere else now: it is begun afresh, and everything that is at its destination is looked at",
            action="route_changed",
            route=route.name,
            before=str(before),
            now=str(ends),
        )
        await self.notes.forget(route.name, self.cache)
