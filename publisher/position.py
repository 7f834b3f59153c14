"""Where a scan stands, as the text that is kept in the checkpoint of its job: the gaps, which are the parts of the listing that
have not been recorded yet.

    [["KEY",null]]              what follows KEY is still to be listed
    [[null,"B"],["C","D"]]      still to be listed is what comes up to B, and what comes behind C up to D
    []                          nothing is left to be listed

The gaps are JSON, in the order of the listing, and apart from each other. A scan that lists in one piece has one gap, which
begins with what the reader calls `Page.after`; only where several ranges are listed side by side are there more. Texts of
format 1 (common.state.formats) begin with a number.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from common.storage.key_order import order

if TYPE_CHECKING:
    from common.state.jobs import Checkpoint

_TEXT = re.compile(r"\d{0,18}(\[.*\])", re.ASCII | re.DOTALL)


class Gap(NamedTuple):
    """What follows `after` (None: from the beginning), up to `until` and with it (None: to the end)."""

    after: str | None = None
    until: str | None = None


EVERYTHING = (Gap(),)


@dataclass(frozen=True, slots=True)
class Position:
    gaps: tuple[Gap, ...] = EVERYTHING

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
        gaps = _gaps(match[1]) if match else None
        return cls() if gaps is None else cls(gaps)

    def __str__(self) -> str:
        """What `of` reads."""
        return json.dumps(self.gaps, separators=(",", ":"))

    def beyond(self, done: Gap) -> Position:
        """The position once what lies in `done`, which is in one of the gaps, has been recorded."""
        place = self._place(done.after)
        gap = self.gaps[place]
        left = [Gap(gap.after, done.after)] if done.after != gap.after else []
        right = [Gap(done.until, gap.until)] if done.until != gap.until else []
        return Position((*self.gaps[:place], *left, *right, *self.gaps[place + 1 :]))

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


def _gaps(text: str) -> tuple[Gap, ...] | None:
    try:
        pairs = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(end is None or isinstance(end, str) for end in pair)):
            return None
    return tuple(Gap(*pair) for pair in pairs)
