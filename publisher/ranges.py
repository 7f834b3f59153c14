"""Dividing what is left of a listing, so that several parts of it are listed side by side.

A service answers a page of a thousand keys in 50 to 100 ms, one after the other: some 15,000 keys a second, whatever we do. So
the listing is divided into ranges of keys while it goes on, one more whenever the publisher waits for pages and a lister is free.
Nothing is known of the keys beforehand; each page shows a little of them, and a division that finds nothing costs one
request and narrows the next one down:

- Where the listing ends is not known at first. The keys seen so far begin alike ("logs/2026/01/", say), and a range that begins
  behind everything that begins so is either empty, or shows a key that begins otherwise; so the whole common beginning is found
  in a few steps, and everything before it is bounded on both sides.
- A bounded range is divided in the middle between the key where it stands and its end, as if the keys were spread evenly
  between the two. Of several, the one with most left: how much that is follows from how far its keys have brought it.

None of this decides what is listed: any text may divide a range. It decides only how well the work is spread. Whether a service
begins at any text is asked before the first division (`RangesReader.divisible`), and each range that ends where another begins
is laid against it (publisher.border).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

from common.storage.key_order import order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from publisher.position import Gap

FARTHEST = "\U0010fffd"
"""Behind everything that begins alike stands that beginning and this, the last character that XML may hold."""
WORTH_DIVIDING = 2000
"""Keys. A range with less left ends before another lister has had its first answer."""
_BASE = 96
"""Digits of a key read as a fraction: 0 behind its end, 1 to 95 for what is printable in ASCII; most keys hold nothing else."""

_KINDS = (("0", ":"), ("A", "["), ("a", "{"))
"""Digits and letters: the first of them, and what comes behind the last."""


@dataclass(slots=True, eq=False)
class Range:
    """`after` is as far as its pages have come. `until` moves towards it when the range is divided."""

    after: str | None
    until: str | None
    began: str | None = field(init=False)
    listed: int = 0
    left: float = 0.0
    """About how many keys; before the first page what the division expected."""
    behind: Range | None = None
    """The one that was divided off at `until`; None where the listing ends, or where a checkpoint says that it goes on."""
    first: Sequence[str] = ()
    """The keys of its first page, as the service sent them: what lies beyond `until` too. Known once it has `begun`."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.began = self.after

    def begins_with(self, keys: Sequence[str]) -> None:
        """The first page has come; later ones change nothing."""
        if not self.begun.is_set():
            self.first = keys
            self.begun.set()

    def reached(self, first: str, last: str, keys: int) -> None:
        """A page with these keys has come."""
        self.began = first if self.began is None else self.began
        self.after = last
        self.listed += keys
        if self.until is not None:
            self.left = self.listed * _share(self.began, last, self.until)


class Ranges:
    """The ranges that are being listed. Together they hold everything that is not listed yet, and no two of them overlap."""

    def __init__(self) -> None:
        self._live: list[Range] = []
        self._first: str | None = None
        """The first key that came: what it shares with another is what all keys between them share."""

    def __len__(self) -> int:
        return len(self._live)

    def begin(self, gap: Gap) -> Range:
        made = Range(*gap)
        self._live.append(made)
        return made

    def reached(self, span: Range, keys: Sequence[str], after: str | None) -> None:
        """A page of this range has come, with these keys, and the range goes on behind `after`."""
        if keys:
            span.reached(keys[0], keys[-1], len(keys))
            if self._first is None or order(keys[0]) < order(self._first):
                self._first = keys[0]
        span.after = after

    def ended(self, span: Range) -> None:
        self._live.remove(span)

    def divide(self) -> Range | None:
        """A new range, taken from the end of the one with most left; None if none is worth it, or nothing is known of it yet."""
        for span in self._live:
            if span.until is None and span.listed and self._first is not None and span.after is not None:
                at = beginning(self._first, span.after) + FARTHEST
                if order(at) > order(span.after):  # keys may hold what XML cannot: U+10FFFE and U+10FFFF come behind it
                    return self._part(span, at)
        best = max(self._live, key=lambda span: span.left, default=None)
        if best is None or best.until is None or best.left < WORTH_DIVIDING or best.after is None:
            return None
        middle = between(best.after, best.until)
        if middle is None:
            best.left = 0.0
            return None
        return self._part(best, middle)

    def _part(self, span: Range, at: str) -> Range:
        made = Range(at, span.until, behind=span.behind)
        span.behind = made
        bounded = span.until is not None
        span.until = at
        if bounded:
            span.left = made.left = span.left / 2
        else:
            span.left = span.listed * _share(span.began, span.after, at)
        self._live.append(made)
        return made


def beginning(one: str, other: str) -> str:
    """What both begin with."""
    return "".join(a for a, b in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def between(low: str, high: str) -> str | None:
    """A short text about half-way from `low` to `high`; None where there is none to be found.

    Where they part, names usually go on with more of the kind that `low` has there: numbers with digits, words with letters.
    """
    shared = beginning(low, high)
    end = next((end for first, end in _KINDS if shared < low and first <= low[len(shared)] < end), None)
    if end is not None and order(shared + end) < order(high):
        high = shared + end
    for digits in (8, 64):
        middle = (_number(low, len(shared), digits) + _number(high, len(shared), digits)) // 2
        text = _text(middle, digits)
        for length in range(1, digits + 1):
            if order(low) < order(shared + text[:length]) < order(high):
                return shared + text[:length]
    return _between_letters(low, high, len(shared))


def _between_letters(low: str, high: str, at: int) -> str | None:
    """For keys in other alphabets, whose letters are all one digit above."""
    bottom, top = ord(low[at]) if at < len(low) else 0, ord(high[at]) if at < len(high) else 0
    middle = (bottom + top) // 2
    if middle < 32:
        return None  # nothing that could be written in a request
    text = low[:at] + chr(middle if not 0xD800 <= middle < 0xE000 else 0xD7FF)
    return text if order(low) < order(text) < order(high) else None


def _share(began: str | None, after: str | None, until: str) -> float:
    """What is left of the way from `began` to `until`, as a multiple of what has been gone to `after`."""
    if began is None or after is None:
        return 0.0
    shared = len(beginning(began, until))
    low, here, high = (_number(key, shared, 16) for key in (began, after, until))
    return max(0, high - here) / max(1, here - low)


def _number(key: str, start: int, digits: int) -> int:
    number = 0
    for place in range(start, start + digits):
        number = number * _BASE + (min(max(ord(key[place]) - 31, 1), _BASE - 1) if place < len(key) else 0)
    return number


def _text(number: int, digits: int) -> str:
    """The key of a number, without what stands behind its end."""
    letters = []
    for _ in range(digits):
        number, digit = divmod(number, _BASE)
        letters.append(digit)
    return "".join(chr(digit + 31) for digit in takewhile(bool, reversed(letters)))
