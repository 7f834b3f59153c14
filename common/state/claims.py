"""What workers ask of the cache: claim an object, settle its task."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.state.records import Receipt, Record


class Outcome(StrEnum):
    """What came of a claim."""

    TAKEN = "taken"
    """The lease is ours."""
    DONE = "done"
    """This version is at its destination."""
    BUSY = "busy"
    """Someone else has the lease."""
    ELSEWHERE = "elsewhere"
    """The route leads somewhere else than our settings say."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`owner` wants to move version `etag` of the object, and asks for a lease of so many seconds."""

    route: str
    key: str
    etag: str
    owner: str
    seconds: float
    alone: bool = False
    """The owner begins with an object of which others died (`Claimed.deaths`), with no other of that kind beside it."""


@dataclass(frozen=True, slots=True)
class Claimed:
    outcome: Outcome
    record: Record
    deaths: int = 0
    """How many others had taken this version before us, and were never heard of again: most likely their processes died of it."""


class Settled(StrEnum):
    """How a task ended; each is a counter of its job, GONE, CHANGING and KEPT are reasons for which objects are left out."""

    MOVED = "moved"
    """We brought the version to its destination."""
    PROVEN = "proven"
    """The destination had this version: a receipt, or a look, says so."""
    FAILED = "failed"
    """It went to the error topic."""
    GONE = "gone"
    """The source holds it no more, and its listing is known to be of earlier."""
    CHANGING = "changing"
    """The source had another version each time, and it is left to the next scan."""
    KEPT = "kept"
    """The destination has another object there, which stays by the route's `on_conflict`."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a task for version `etag`. A receipt goes with MOVED and PROVEN, where there is proof."""

    route: str
    key: str
    etag: str
    owner: str
    outcome: Settled
    receipt: Receipt | None = None
    copied_bytes: int = 0
    metadata_lost: bool = False
    """The destination could not keep all that the object has beside its bytes."""
    unverified: bool = False
    """It was moved, and at one end nothing could be compared with its bytes but their number."""
    overwritten: bool = False
    """What was at the destination before was not ours."""
    mark: int | None = None
    """With KEPT: what is recorded in place of the time of publishing (`records.kept_mark`)."""


@dataclass(frozen=True, slots=True)
class Missed:
    """`owner` did not find version `etag` of the object at the source, nor any other."""

    route: str
    key: str
    etag: str
    owner: str


@dataclass(frozen=True, slots=True)
class HandedOver:
    """`owner` found version `successor` where the task named `etag`, and has sent a task for it."""

    route: str
    key: str
    etag: str
    successor: str
    owner: str
