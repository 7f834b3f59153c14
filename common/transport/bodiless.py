"""Whether a server keeps the body back that it announces in the answer to HEAD (RFC 9110, 9.3.2).

One that sends it after all, a moment later, would have it taken for the answer to the next request on that connection; and the
bytes of an object can be made to look like one. So the first connections on which a body was announced and none came are held
back for a moment and listened to, once per server. After that they are used again, or never.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.transport.connection import Connection

LISTEN_SECONDS = 0.5


class Bodiless:
    """What is known of one server. `release` is called with each connection that was held back. Not thread-safe."""

    def __init__(self, release: Callable[[Connection], None]) -> None:
        self._release = release
        self._held: list[Connection] = []
        self._quiet: bool | None = None
        self._timer: asyncio.TimerHandle | None = None

    def holds(self, connection: Connection) -> bool:
        """Whether a connection that a request is done with is held back. Call it again when it has been released."""
        if not connection.announced:
            return False
        self.noted(connection)
        if self._quiet is False:
            connection.abort()
        if self._quiet is not None or connection.closed:
            return False
        self._held.append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LISTEN_SECONDS, self._end)
        return True

    def noted(self, connection: Connection) -> None:
        """Look at a connection that was left alone for a while."""
        if connection.announced and connection.out_of_step:
            self._quiet = False

    def close(self) -> None:
        """End what is held back."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in self._held:
            connection.fail("the transport was closed")
        self._held.clear()

    def _end(self) -> None:
        self._timer = None
        held, self._held = self._held, []
        if any(connection.out_of_step for connection in held):
            self._quiet = False
        elif any(not connection.closed for connection in held):
            self._quiet = True
        for connection in held:
            self._release(connection)
