"""An event loop whose clock stands still while there is work, and leaps to the next timer when there is none.

What takes seconds on it takes none, and how long it took does not depend on the machine: a test may assert durations.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class _Leaping(selectors.DefaultSelector):
    """Never waits: what it was asked to wait is added to `seconds`, unless something was ready."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, and no timer is set: this would hang")
        if not ready and timeout:
            self.seconds += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on such a loop. Not for anything that uses sockets or threads: the clock would leap while those work."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)
