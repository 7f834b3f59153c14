"""One run as it was measured, and what several of them say together."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

GIB = 1 << 30
MIB = 1 << 20


class RunFailed(Exception):  # noqa: N818 - named after the situation
    """A run that proves nothing: objects are missing or wrong, or it did not end in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`seconds` is without `startup` (of the interpreters, or of the program), which is only stated.

    `publish_seconds` is what listing, diffing and publishing took before the workers were released; None where the program
    lists and copies at once and `seconds` holds both.
    """

    contender: str
    seconds: float
    objects: int
    bytes: int
    cpu: float
    memory_sum: int
    memory_max: int
    server_cpu: float
    startup: float
    redis_cpu: float = 0.0
    publish_seconds: float | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def objects_per_second(self) -> float:
        return self.objects / self.seconds

    @property
    def mib_per_second(self) -> float:
        return self.bytes / MIB / self.seconds

    @property
    def whole_seconds(self) -> float:
        """With the listing, which is part of what the other side's time holds."""
        return self.seconds + (self.publish_seconds or 0.0)

    @property
    def cpu_per_object(self) -> float:
        """Milliseconds."""
        return self.cpu * 1000 / self.objects

    @property
    def cpu_per_gib(self) -> float:
        return self.cpu * GIB / max(1, self.bytes)


@dataclass(frozen=True, slots=True)
class Spread:
    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))


def rate(run: Run, unit: str) -> float:
    return {
        "objects/s": run.objects_per_second,
        "keys/s": run.objects_per_second,
        "MiB/s": run.mib_per_second,
    }[unit]


def ratios(ours: Sequence[Run], theirs: Sequence[Run], unit: str) -> list[float]:
    """Pair by pair: the n-th run of one side against the n-th of the other, which ran right after it."""
    return [rate(mine, unit) / rate(other, unit) for mine, other in zip(ours, theirs, strict=False)]
