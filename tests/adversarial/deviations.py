"""Which answers of an adversarial server deviate from the truth, and how.

Each kind has been reported of a real service, a proxy or a cache, or was seen on a server that others wrote. What is left out on
purpose: a server that says "stored" of bytes that it threw away, with their checksum repeated, and never shows it again in any
answer: nobody can tell.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class Deviation(StrEnum):
    # Listings
    ENTRY_LEFT_OUT = "entry_left_out"
    """An entry is missing from a page; the next listing may have it again."""
    SHUFFLED = "shuffled"
    """The entries of a page in another order."""
    REPEATED_PAGE = "repeated_page"
    """The page of the request before, whatever was asked for."""
    ENTRY_WITHOUT_VERSION = "entry_without_version"
    """An entry that lacks its ETag, generation or revision."""
    GROUP_HALF_ANSWERED = "group_half_answered"
    """Drive: of a question about several folders only one is answered, or none, and the answer calls itself complete."""
    ENCODING_UNSAID = "encoding_unsaid"
    """S3: keys are percent-encoded as asked for, and the answer does not say so."""
    # Reads
    MISSING = "missing"
    """404 for an object that is there and was listed."""
    STALE = "stale"
    """The object as it was before it was last written, as an edge or a replica shows it."""
    WRONG_BYTES = "wrong_bytes"
    """One byte of the body is another; the headers are those of the true bytes."""
    WRONG_VERSION = "wrong_version"
    """The answer names another version than that of its bytes: a foreign ETag or generation."""
    CONDITION_IGNORED = "condition_ignored"
    """A read that was pinned to a version is answered with what is there now."""
    NO_LENGTH = "no_length"
    """No Content-Length: the body comes in chunks."""
    NO_CHECKSUM = "no_checksum"
    """The headers or fields with checksums are left out."""
    NO_VERSION = "no_version"
    """The header or field with the version is left out."""
    # Anything
    ERROR_IN_200 = "error_in_200"
    """Status 200, and the body is an error."""
    UNAVAILABLE = "unavailable"
    """503, the one honest deviation: what everything else is mixed with."""


@dataclass
class Adversary:
    """Decides by the seed and the question, and not by the order in which many requests come: what the nth request for a thing is
    answered is the same in every run. `told` counts what was really done, by kind; `trace` says what was answered how.
    """

    seed: int
    kinds: Collection[Deviation] = frozenset(Deviation)
    rate: float = 0.1
    told: Counter[Deviation] = field(default_factory=Counter)
    honest: bool = False
    """While True nothing deviates."""
    trace: list[str] = field(default_factory=list)
    dice: random.Random = field(default_factory=random.Random)
    """For the deviation that was picked last; used before anybody else gets the loop."""
    _asked: Counter[str] = field(default_factory=Counter)

    def pick(self, operation: str, thing: str, possible: Collection[Deviation]) -> Deviation | None:
        """One of those that fit the request, or None: then the answer is true."""
        question = f"{operation} {thing}"
        self._asked[question] += 1
        self.dice = random.Random(f"{self.seed} {question} {self._asked[question]}")
        picked = None
        if not self.honest and self.dice.random() < self.rate:
            fitting = sorted(set(possible) & set(self.kinds))
            picked = self.dice.choice(fitting) if fitting else None
        self.trace.append(f"{question}{f': {picked}' if picked else ''}")
        return picked

    def done(self, deviation: Deviation) -> None:
        self.told[deviation] += 1
