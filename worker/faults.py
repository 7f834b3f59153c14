"""Deliveries that end by a fault of our own each time, before anything could be said about their object.

Such a message must not come back for ever, and must not be lost. It cannot be counted in Redis, because that may be where the
fault is; so each process counts for itself, by the message's bytes, and after `attempts` times it goes to the error topic.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from common.errors import Category
from common.report import Report, encode

if TYPE_CHECKING:
    from common.queues.base import Delivery

FIRST_DELAY, LONGEST_DELAY = 30.0, 600.0
"""Seconds. A fault that everything meets at once, as after a bad change of Redis, gets a quarter of an hour to be noticed."""
ATTEMPTS = 5
MOST_REMEMBERED = 10_000


class Faults:
    """Of one process. `name` is the worker's."""

    def __init__(self, name: str, attempts: int = ATTEMPTS) -> None:
        self._name = name
        self._attempts = attempts
        self._met: dict[bytes, int] = {}

    async def handle(self, delivery: Delivery, error: Exception) -> None:
        """Nack it with a delay, or reject it. Raises QueueUnavailable, SettingsError."""
        times = self._count(delivery.payload)
        if times < self._attempts:
            await delivery.nack(min(FIRST_DELAY * 2 ** (times - 1), LONGEST_DELAY))
            return
        await delivery.reject(encode(self._report(delivery.payload, error, times)))
        del self._met[_name(delivery.payload)]

    def _count(self, payload: bytes) -> int:
        name = _name(payload)
        times = self._met.pop(name, 0) + 1  # to the end of the order in which they are forgotten
        while len(self._met) >= MOST_REMEMBERED:
            del self._met[next(iter(self._met))]
        self._met[name] = times
        return times

    def _report(self, payload: bytes, error: Exception, times: int) -> Report:
        return Report(
            category=Category.INTERNAL,
            message=f"a fault of ours ended it each time, before its object was looked at: {type(error).__name__}: {error}",
            attempts=times,
            worker=self._name,
            queued=None,
            failed=datetime.now(UTC),
            route=None,
            key=None,
            payload=payload,
        )


def _name(payload: bytes) -> bytes:
    return hashlib.sha256(payload).digest()
