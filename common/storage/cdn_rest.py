"""When an edge is left alone: who cannot reach it waits ten seconds before S3 is asked, and must not do so for every object."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES = 3
"""In a row, of whatever objects."""
SECONDS = 30.0


class Rest:
    """Begins when the edge gave no whole answer FAILURES times in a row, and ends with the first that it gives."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def disturb(self) -> bool:
        """Whether the edge may be asked now: while it rests one request in SECONDS may, to see whether it is back."""
        if self._failures < FAILURES:
            return True
        if self._clock() < self._until:
            return False
        self._until = self._clock() + SECONDS
        return True

    def failed(self) -> None:
        self._failures += 1
        if self._failures == FAILURES:
            self._until = self._clock() + SECONDS

    def answered(self) -> None:
        self._failures = 0
