"""Where a scan stands, as the text that is kept in the checkpoint of its job.

The checkpoint holds two things of its own, `published` (the number of the next task) and a text, `after`. The text holds: how
many numbers are accounted for, and the gaps, which are the parts of the listing that have not been recorded yet. Both move in
one step, because they are one value.

    7[["KEY",null]]              the numbers below 7 are accounted for; what follows KEY is still to be listed
    7[[null,"B"],["C","D"]]      the same; still to be listed is what comes up to B, and what comes behind C up to D
    7[]                          the same; nothing is left to be listed

The gaps are JSON, in the order of the listing, and apart from each other. A scan that lists in one piece has one gap, which
begins with what the reader calls `Page.after`; only where several ranges are listed side by side are there more.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from common.state.jobs import Checkpoint
from common.storage.key_order import order

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXT = re.compile(r"(\d{1,18})(\[.*\])", re.ASCII | re.DOTALL)


class Gap(NamedTuple):
    """What follows `after` (None: from the beginning), up to `until` and with it (None: to the end)."""

    after: str | None = None
    until: str | None = None


EVERYTHING = (Gap(),)


@dataclass(frozen=True, slots=True)
class Position:
    """`accounted`: every task with a lower number has been recorded as published, or was given up."""

    gaps: tuple[Gap, ...] = EVERYTHING
    accounted: int = 0

    @property
    def ended(self) -> bool:
        return not self.gaps

    @property
    def after(self) -> str | None:
        """Everything up to here has been recorded; None at the beginning, and at the end."""
        return self.gaps[0].after if self.gaps else None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Position:
        """A text that is not ours, of another version perhaps, is read as the beginning: scanning again does no harm."""
        if checkpoint.after is None:
            return cls()
        match = _TEXT.fullmatch(checkpoint.after)
        gaps = _gaps(match[2]) if match else None
        return cls(EVERYTHING, checkpoint.published) if match is None or gaps is None else cls(gaps, int(match[1]))

    def checkpoint(self, published: int) -> Checkpoint:
        return Checkpoint(f"{self.accounted}{json.dumps(self.gaps, separators=(',', ':'))}", published)

    def beyond(self, done: Gap, accounted: int) -> Position:
        """The position once what lies in `done`, which is in one of the gaps, has been recorded."""
        place = self._place(done.after)
        gap = self.gaps[place]
        left = [Gap(gap.after, done.after)] if done.after != gap.after else []
        right = [Gap(done.until, gap.until)] if done.until != gap.until else []
        return Position((*self.gaps[:place], *left, *right, *self.gaps[place + 1 :]), accounted)

    def _place(self, after: str | None) -> int:
        """Of the gap in which that place lies. Equal first: where a listing is not divided its places need not have an order."""
        for place, gap in enumerate(self.gaps):
            if gap.after == after:
                return place
        for place, gap in enumerate(self.gaps):
            begun = after is not None and (gap.after is None or order(gap.after) < order(after))
            if begun and (gap.until is None or order(after or "") < order(gap.until)):
                return place
        raise ValueError(f"{after!r} has been recorded before")


def unaccounted(checkpoint: Checkpoint) -> Iterable[int]:
    """The numbers that were reserved for tasks, which were perhaps sent, and never recorded."""
    return range(Position.of(checkpoint).accounted, checkpoint.published)


def _gaps(text: str) -> tuple[Gap, ...] | None:
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(end is None or isinstance(end, str) for end in pair)):
            return None
    return tuple(Gap(*pair) for pair in pairs)
