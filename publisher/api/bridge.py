"""From a thread of the HTTP server to the event loop of the publisher, and back with the answer.

All state is spoken to from one event loop; the server's threads ask it. So there is one implementation of the state, not an
asynchronous one and its synchronous twin.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar

from common.errors import StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine

Answer = TypeVar("Answer")


class Bridge:
    """Any thread but the loop's own may call it; there it would wait for itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self, work: Coroutine[Any, Any, Answer], seconds: float) -> Answer:
        """The answer of `work`, run on the loop. Raises what it raises.

        Raises StateUnavailable when the loop is stopping, or when it takes longer than `seconds`: then it is cancelled.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:
            work.close()
            raise StateUnavailable("the publisher is stopping") from error
        try:
            return future.result(seconds)
        except TimeoutError as error:
            future.cancel()
            raise StateUnavailable(f"no answer within {seconds:g} seconds") from error
        except CancelledError as error:
            raise StateUnavailable("the publisher is stopping") from error
