"""Where a scan stands, as the text that is kept in the checkpoint of its job.

The checkpoint holds two things of its own, `published` (the number of the next task) and a text, `after`. The text holds:
how many numbers are accounted for, and the place in the listing. Both move in one step, because they are one value.

    7>KEY    the numbers below 7 are accounted for; go on behind KEY (what the reader calls `Page.after`)
    7^       the same, from the beginning of the listing
    7$       the same, and the listing has been read to its end
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.state.jobs import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXT = re.compile(r"(\d{1,18})(?:>(.*)|(\^)|(\$))", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Position:
    """`accounted`: every task with a lower number has been recorded as published, or was given up."""

    after: str | None = None
    accounted: int = 0
    ended: bool = False

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Position:
        """A text that is not ours, of another version perhaps, is read as the beginning: scanning again does no harm."""
        if checkpoint.after is None:
            return cls()
        match = _TEXT.fullmatch(checkpoint.after)
        if match is None:
            return cls(None, checkpoint.published)
        accounted, after, _, ended = match.groups()
        return cls(after, int(accounted), ended is not None)

    def checkpoint(self, published: int) -> Checkpoint:
        place = "$" if self.ended else "^" if self.after is None else f">{self.after}"
        return Checkpoint(f"{self.accounted}{place}", published)


def unaccounted(checkpoint: Checkpoint) -> Iterable[int]:
    """The numbers that were reserved for tasks, which were perhaps sent, and never recorded."""
    return range(Position.of(checkpoint).accounted, checkpoint.published)
