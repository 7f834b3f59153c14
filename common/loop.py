"""The event loop of a program that runs until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import uvloop

if TYPE_CHECKING:
    from collections.abc import Coroutine

LAST_SECONDS = 3.0


def run(work: Coroutine[Any, Any, int]) -> int:
    """Do the work on an event loop of its own; the exit code of the program, which has nothing left to do then.

    The work closes whatever it opened. What may be left are name lookups: they are made in threads, nobody can interrupt one,
    and where no name server answers a loop that is closed waits for each, 20 seconds by the resolver's defaults, twice that with
    a search domain. A container engine kills after ten. So the process ends after LAST_SECONDS even if the loop does not.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(work)
        last = threading.Timer(LAST_SECONDS, os._exit, [code])
        last.daemon = True
        last.start()
    last.cancel()
    return code
