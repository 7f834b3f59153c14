"""What the log hears of a service that is away: when it goes, once a minute while it is away and why, and when it is back.

Many calls wait at a time and share one Absence, so that it is said once and not once per call.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.telemetry import Logger

AGAIN_SECONDS = 60.0


class Absence:
    """One service's. `reason` is why it cannot be used, None while it can."""

    def __init__(
        self,
        log: Logger,
        *,
        service: str = "Redis",
        action: str = "redis",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reason: str | None = None
        self._log = log
        self._service = service
        self._action = action
        self._clock = clock
        self._since = self._said = 0.0

    def goes_on(self, reason: str) -> None:
        """A call was not answered, for this reason."""
        now = self._clock()
        if self.reason is None:
            self._since, self._said = now, float("-inf")
        self.reason = reason
        if now - self._said >= AGAIN_SECONDS:
            self._said = now
            self._log.warning(
                f"{self._service} cannot be used; work waits until it can",
                action=f"{self._action}_away",
                reason=reason,
                seconds=round(now - self._since),
            )

    def ended(self) -> None:
        """A call was answered."""
        if self.reason is not None:
            self.reason = None
            seconds = round(self._clock() - self._since, 1)
            self._log.info(f"{self._service} can be used again; work goes on", action=f"{self._action}_back", seconds=seconds)
