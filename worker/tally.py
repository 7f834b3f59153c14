"""What this process has done so far, for a line in the log now and then instead of one for each of a hundred million objects."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from common.telemetry import get_logger

if TYPE_CHECKING:
    from common.state.cache import Settled
    from common.storage.metadata import Field
    from worker.verify import End

log = get_logger(__name__)

EVERY_SECONDS = 10.0


class Tally:
    """Tasks by how they ended, bytes copied, and what was lost beside them, since the start of the process."""

    def __init__(self) -> None:
        self.ended: Counter[Settled] = Counter()
        self.lost: Counter[Field] = Counter()
        self.unverified: Counter[End] = Counter()
        """Objects that were moved, by the end that states no checksum of them."""
        self.bytes = 0
        self.overwritten = 0
        """Objects that were written over something that was not ours."""

    def add(self, outcome: Settled, copied_bytes: int) -> None:
        self.ended[outcome] += 1
        self.bytes += copied_bytes

    async def report(self) -> None:
        """Log what was done in the last seconds, for ever; silent while nothing is done."""
        objects, copied, since = 0, 0, time.monotonic()
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            now, total = time.monotonic(), self.ended.total()
            if total > objects:
                seconds = now - since
                log.info(
                    "at work",
                    action="worker_progress",
                    objects_per_second=round((total - objects) / seconds, 1),
                    bytes_per_second=round((self.bytes - copied) / seconds),
                    **self.counts(),
                )
            objects, copied, since = total, self.bytes, now

    def counts(self) -> dict[str, Any]:
        """Ready for a log line."""
        counts: dict[str, Any] = {**{outcome.value: count for outcome, count in self.ended.items()}, "bytes": self.bytes}
        if self.lost:
            counts["metadata_lost"] = {field.value: count for field, count in self.lost.items()}
        if self.unverified:
            counts["unverified"] = {end.value: count for end, count in self.unverified.items()}
        if self.overwritten:
            counts["overwritten"] = self.overwritten
        return counts
