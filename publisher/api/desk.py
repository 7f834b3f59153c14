"""What the views may ask of the rest of the publisher. The only way from the API to anything that holds state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.state.cache import Cache
    from common.state.jobs import Job, Jobs
    from publisher.api.bridge import Bridge
    from publisher.health import Health


class Scans(Protocol):
    """Whoever runs the scans (publisher.schedule)."""

    async def request(self, routes: Sequence[str], *, reconcile: bool = False) -> list[Job]:
        """One scanning job for each route: the one that is under way, or a new one that begins as soon as it can. With
        `reconcile` the next scan that begins lists the destination, too.
        """
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    bridge: Bridge
    routes: Sequence[str]
    cache: Cache
    jobs: Jobs
    scans: Scans
    health: Health
