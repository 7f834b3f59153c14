"""Two lanes through a worker process: one for objects that are moved in parts, one for all others.

A large object may hold its slot for hours and a small one for milliseconds. With one line for both, as many large objects as
there are slots stop a million small ones behind them; and a process takes as many large objects as it has slots, while others
have nothing to do. So each lane has slots of its own and a queue of its own (common.queues.large_lane): `slots` for what comes
from the queue, `large_slots` beside them for what comes from the lane. Both share the bytes in memory (worker.budget).
"""

from __future__ import annotations

import re
from enum import Enum

_SIZE = re.compile(rb',"size":(\d{1,20}),"modified":')
"""Where common.task writes the size. No key can look like this: the quotes in a key have a backslash before them."""


class Lane(Enum):
    SMALL = "small"
    LARGE = "large"


def lane_of(payload: bytes, large_bytes: int) -> Lane:
    """Of a task. What cannot be read is small: it is rejected in no time."""
    size = _SIZE.search(payload)
    return Lane.LARGE if size is not None and int(size[1]) > large_bytes else Lane.SMALL
