"""The queue contract. A queue carries bytes: what they mean is `common.task`'s business, so that a message nobody can
read is a delivery like any other, and can be rejected with its payload intact.

Delivery is at least once and unordered. A delivery is leased: while its holder extends the lease nobody else gets it,
and when the holder dies it comes back within about `Queue.lease` seconds. Every delivery ends in exactly one of ack, nack or
reject.

Every method raises only `common.errors.QueueUnavailable` (away: the implementation has already retried for a while),
`common.errors.SettingsError` (missing and not permitted to create; says what to grant) and CancelledError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

LARGEST_MESSAGE = 8_000_000
"""Bytes. Pub/Sub takes requests of 10 MB. Whoever writes a report cuts the payload that it quotes to fit."""


def check_size(messages: Sequence[bytes]) -> None:
    """Raise ValueError, before anything is sent, when a message is too large for any queue: a fault of the caller."""
    if (largest := max(map(len, messages), default=0)) > LARGEST_MESSAGE:
        raise ValueError(f"a message of {largest} bytes is larger than a queue takes ({LARGEST_MESSAGE})")


class Delivery(Protocol):
    """One hand-out of a message. Used by one coroutine; `extend` may be called by another at the same time."""

    @property
    def payload(self) -> bytes:
        """The message as it was sent, whoever sent it."""
        ...

    @property
    def attempt(self) -> int:
        """How often this message has been handed out, this time included, as far as the queue knows; at least 1."""
        ...

    async def ack(self) -> None:
        """The work is done and recorded: forget the message."""
        ...

    async def nack(self, delay: float = 0.0) -> None:
        """Hand the message out again, not before `delay` seconds (0..600) have passed."""
        ...

    async def reject(self, report: bytes) -> None:
        """Put `report` on the error topic and, once that is confirmed, forget the message."""
        ...

    async def extend(self) -> None:
        """Renew the lease to the queue's full `lease` from now. Without effect when the lease has already run out."""
        ...


class Queue(Protocol):
    """A topic with its subscription (Pub/Sub), or a stream with its consumer group (Redis Streams)."""

    lease: float
    """Seconds for which a delivery is leased. Holders extend at a third of it."""

    async def send(self, messages: Sequence[bytes]) -> None:
        """Put the messages on the queue. Returns when the queue has confirmed every one of them; raises if any was not confirmed
        (some may have been sent all the same: at least once).
        """
        ...

    async def receive(self, most: int, wait: float) -> Sequence[Delivery]:
        """Up to `most` deliveries; empty when none came within about `wait` seconds. Returns as soon as there is one.
        Takes nothing beyond what it returns: other workers get the rest.
        """
        ...

    async def backlog(self) -> int | None:
        """Messages not acknowledged yet, waiting, delayed or leased; None where the service cannot say."""
        ...

    async def close(self) -> None:
        """Confirm what is under way and let go. Deliveries still held come back to others by themselves. May be called twice."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A report as it lies on the error topic. `times`: how often its subject was reported, `first`: when first, in seconds since
    1970.
    """

    id: str
    payload: bytes
    times: int
    first: float


@runtime_checkable
class Browsable(Protocol):
    """The errors' own queue where it can be looked at without being handed out: nobody's lease is touched, everybody may look at
    once, and however many there are, one page is in memory.
    """

    def pages(self, most: int) -> AsyncIterator[Sequence[Kept]]:
        """What was there at the beginning, in the order in which it came, up to `most` reports at a time."""
        ...

    async def drop(self, ids: Sequence[str]) -> None:
        """Take these reports off. May be called twice."""
        ...


@runtime_checkable
class Checked(Protocol):
    """A queue that can tell whether what is sent would arrive: its topic may have been deleted and made again by somebody, and
    then sending works as before and nobody receives anything.
    """

    async def check(self) -> None:
        """Look, and mend what we may. Raises SettingsError with what to do where we may not, QueueUnavailable."""
        ...
