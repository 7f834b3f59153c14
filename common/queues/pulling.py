"""Receiving that may be cancelled at any moment without leaving messages stranded until their lease runs out.

A worker that stops cancels its `receive`, but the request is with the server by then and may take messages all the same. So the
request runs in a task of its own. When its caller goes away it is left running: the next caller takes it over, and if there is
none, what it brings is handed back at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from common.background import Background
from common.cancelling import cancel
from common.errors import BrigadeError
from common.queues.outage import describe
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

log = get_logger(__name__)

OVERTIME = 1.5
"""Seconds that a pull may take beyond the wait that it was given before its caller stops waiting for it."""


class Returnable(Protocol):
    def nack(self, delay: float = 0.0) -> Awaitable[None]: ...


Taken = TypeVar("Taken", bound=Returnable)


class Pulling(Generic[Taken]):
    """`pull(most, wait)` answers within about `wait` seconds, or raises. Belongs to one event loop."""

    def __init__(self, pull: Callable[[int, float], Coroutine[None, None, Sequence[Taken]]]) -> None:
        self._pull = pull
        self._left: set[asyncio.Task[Sequence[Taken]]] = set()
        self._returning = Background()

    async def receive(self, most: int, wait: float) -> Sequence[Taken]:
        """What a pull brings, at most `most`; empty when it takes longer than it should: then it goes on for the next caller."""
        pull = self._left.pop() if self._left else asyncio.create_task(self._pull(most, wait))
        try:
            await asyncio.wait({pull}, timeout=wait + OVERTIME)
        except asyncio.CancelledError:
            self._leave(pull)
            raise
        if not pull.done():
            self._leave(pull)
            return []
        if pull.cancelled():  # the queue was closed meanwhile
            return []
        taken = pull.result()
        if len(taken) > most:  # it was begun for a caller who had room for more
            self._return(taken[most:])
        return taken[:most]

    async def close(self) -> None:
        """Give up what is still under way, and have the rest handed back."""
        await cancel(*self._left)
        await asyncio.sleep(0)  # the callbacks of the pulls that brought something after all run now
        await self._returning.finish()

    def _leave(self, pull: asyncio.Task[Sequence[Taken]]) -> None:
        self._left.add(pull)
        pull.add_done_callback(self._ended)

    def _ended(self, pull: asyncio.Task[Sequence[Taken]]) -> None:
        if pull not in self._left:
            return  # taken over
        self._left.discard(pull)
        if pull.cancelled():
            return
        if error := pull.exception():
            log.info("a pull that nobody waited for has failed", action="queue_pull_failed", error=describe(error))
        else:
            self._return(pull.result())

    def _return(self, surplus: Sequence[Taken]) -> None:
        async def hand_back() -> None:
            try:
                await asyncio.gather(*(delivery.nack() for delivery in surplus))
            except BrigadeError as error:
                log.info("could not hand messages back, their lease will", action="queue_not_returned", error=describe(error))

        if surplus:
            self._returning.begin("handing messages back", hand_back)
