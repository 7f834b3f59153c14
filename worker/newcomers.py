"""Messages that this worker does not know yet: of a route that its settings do not have, or in a schema newer than its own.

Where publishers are upgraded before workers, that is every message of the new route for as long as the roll-out takes. They go
back to the queue with growing delays, so that workers that know them get them; what nobody has known for long enough is given up.
The time runs from when the message was made or from when the fleet first met something of its kind, whichever is later: a message
that waited behind a long queue is not given up at its first delivery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.errors import NotKnownYet
    from common.storage.shared import Shared

log = get_logger(__name__)

FIRST_DELAY, LONGEST_DELAY = 2.0, 60.0
"""Seconds. A roll-out is noticed within a minute of its end."""
MOST_SAID = 1000
"""Subjects that are remembered as said. Messages may be forged, and their subjects are theirs to choose."""


class Newcomers:
    """How long unknown messages wait. `patience` is in seconds, 0 for none; `now` is in seconds since 1970."""

    def __init__(self, shared: Shared, patience: float, *, random: Callable[[], float], now: Callable[[], float]) -> None:
        self._shared = shared
        self._patience = patience
        self._random = random
        self._now = now
        self._said: dict[str, None] = {}

    async def delay(self, error: NotKnownYet) -> float:
        """Seconds after which the message is to be looked at again; 0 when it has waited long enough."""
        if self._patience <= 0:
            return 0.0
        now = self._now()
        met = float(await self._shared.agree(f"not known: {error.subject}", repr(now), 2 * self._patience))
        since = max(met, min(error.queued or 0.0, now))
        left = since + self._patience - now
        if left <= 0:
            return 0.0
        self._say(error, since + self._patience)
        waited = min(max(FIRST_DELAY, (now - since) / 2), LONGEST_DELAY) * (1 + self._random() / 2)
        return min(waited, left + FIRST_DELAY)

    def _say(self, error: NotKnownYet, until: float) -> None:
        if error.subject in self._said:
            return
        while len(self._said) >= MOST_SAID:
            del self._said[next(iter(self._said))]
        self._said[error.subject] = None
        log.warning(
            "messages that this worker does not know wait for one that does: upgrade workers before publishers",
            action="not_known_yet",
            subject=error.subject,
            error=str(error),
            seconds=round(until - self._now()),
        )
