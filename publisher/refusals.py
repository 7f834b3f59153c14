"""What a listing names and no task can carry: it fails by name, as an object fails at a worker.

The report goes to the error topic, and then the job counts it, so that a crash in between reports it twice rather than
never. What has failed for the same reason before is counted by each job and not reported again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.errors import InvalidName
from common.report import Report, encode
from common.storage.base import Fault
from common.task import LARGEST_BYTES, Form
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.config import Route
    from common.objects import StoredObject
    from common.state.flight import Flight, Scan
    from common.storage.listed import Listed
    from publisher.outlet import Outlet

log = get_logger(__name__)

LONG_KEY = 4096
"""Characters. A task holds its key twice, and a character takes at most six bytes in it: with fewer, nobody need look closer."""
LARGEST_NUMBER = 10**18


class Refusals:
    """For one scan. `report` raises what the outlet and the flight table raise."""

    def __init__(
        self, route: Route, scan: Scan, *, flight: Flight, errors: Outlet, owner: str, clock: Callable[[], float]
    ) -> None:
        self._route = route
        self._scan = scan
        self._flight = flight
        self._errors = errors
        self._owner = owner
        self._clock = clock

    async def report(self, faults: Sequence[Fault]) -> None:
        """Report what is new among them, and let the job count them all."""
        names = [(fault.key, f"!{fault.error.category}") for fault in faults]
        new = await self._flight.not_refused(self._route.name, names)
        if new:
            await self._errors.open_once()
            await self._errors.send([encode(self._report(faults[place])) for place in new])
            for place in new:
                self._say(faults[place])
        await self._flight.refuse(self._scan, names)

    def too_long(self, objects: Listed, places: Sequence[int]) -> list[Fault]:
        """Those of the objects at these places whose tasks would be larger than a task may be."""
        long = [objects[place] for place in places if len(objects.keys[place]) > LONG_KEY]
        return [Fault(item.key, InvalidName(_too_long(item))) for item in long if self._large(item)]

    def _large(self, item: StoredObject) -> bool:
        form = Form(self._route.name, self._scan.job, datetime.fromtimestamp(self._clock(), UTC))
        (message,) = form.filled([item], LARGEST_NUMBER, self._route.destination.url)
        return len(message) > LARGEST_BYTES

    def _report(self, fault: Fault) -> Report:
        return Report(
            category=fault.error.category,
            message=str(fault.error),
            attempts=1,
            worker=self._owner,
            queued=None,
            failed=datetime.fromtimestamp(self._clock(), UTC),
            route=self._route.name,
            key=fault.key,
            payload=b"",
        )

    def _say(self, fault: Fault) -> None:
        log.error(
            "an entry of the listing cannot be replicated",
            action="object_refused",
            route=self._route.name,
            job=self._scan.job,
            key=fault.key,
            location=str(self._route.source),
            category=fault.error.category.value,
            error=str(fault.error),
        )


def _too_long(item: StoredObject) -> str:
    return f"the key has {len(item.key):,} characters, and a task holds at most {LARGEST_BYTES:,} bytes: shorten the path"
