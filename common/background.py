"""Tasks that live as long as their owner: none of them may die unseen.

A task that nobody awaits dies in silence: Python says so only when the task is collected, and an owner who still holds it never
learns of it. One refused command once ended the renewal of all claims of a worker, without a line in the log. So what is to run
all the time is started here (`keep`: begun again when it ends), and so is what runs once with nobody waiting for it (`begin`:
its failure is logged). Everywhere else a task is awaited by the function that creates it (tests/test_background_tasks.py).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from common.cancelling import cancel
from common.errors import BrigadeError
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

log = get_logger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class Background:
    """The background tasks of one owner, which closes it. Belongs to one event loop."""

    def __init__(
        self,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`clock` tells seconds; None: the event loop's own."""
        self._sleep = sleep
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]], *, longest_pause: float = LONGEST_PAUSE) -> None:
        """Run `work`, which is meant never to end, until `close`. When it ends all the same, by an error or without one, that is
        logged under `name` and it is begun again after a pause, which grows to `longest_pause` seconds while it keeps failing.
        """
        self._add(name, self._kept(name, work, longest_pause))

    def begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` once. A failure is logged under `name`."""
        self._add(name, _once(name, work))

    async def finish(self) -> None:
        """Return when nothing is left that `begin` has begun. For an owner that keeps nothing."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Cancel everything and return when all has ended. May be called twice."""
        await cancel(*self._tasks)

    def _add(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _kept(self, name: str, work: Callable[[], Coroutine[Any, Any, None]], longest_pause: float) -> None:
        clock = self._clock or asyncio.get_running_loop().time
        pause = FIRST_PAUSE
        while True:
            began = clock()
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - whatever it is, the task must go on and the log must have it
                ended: Exception | None = error
            else:
                ended = None
            if clock() - began > 2 * longest_pause:
                pause = FIRST_PAUSE
            pause = min(pause, longest_pause)
            _say(name, ended, next_try_seconds=pause)
            await self._sleep(pause)
            pause *= 2


async def _once(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - nobody else will look at it
        _say(name, error)


def _say(name: str, error: Exception | None, **fields: float) -> None:
    """With a traceback only where the fault is ours."""
    text = "a background task failed, and is begun again" if fields else "a background task failed"
    if error is None:
        log.error("a background task ended that should not have, and is begun again", action="task_ended", task=name, **fields)
    elif isinstance(error, BrigadeError):
        log.warning(text, action="task_failed", task=name, error=str(error), **fields)
    else:
        log.error(text, action="task_failed", task=name, error=f"{type(error).__name__}: {error}", exc_info=error, **fields)
