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


@dataclass(frozen=True, slots=True)
class Claim:
    """`owner` wants to move version `etag` of the object, and asks for a lease of so many seconds."""

    route: str
    key: str
    etag: str
    owner: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Claimed:
    outcome: Outcome
    record: Record


class Settled(StrEnum):
    """How a task ended; each is a counter of its job."""

    CONSUMED = "consumed"
    """We moved it."""
    ALREADY = "already"
    """The destination had this version."""
    SUPERSEDED = "superseded"
    """The source has another version, or none, by now."""
    FAILED = "failed"
    """It went to the error topic."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of task `number` of `job`. A receipt goes with CONSUMED and ALREADY, where there is proof."""

    route: str
    key: str
    job: str
    number: int
    owner: str
    outcome: Settled
    receipt: Receipt | None = None
    copied_bytes: int = 0
    metadata_lost: bool = False
    """The destination could not keep all that the object has beside its bytes."""
