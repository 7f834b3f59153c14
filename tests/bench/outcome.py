"""What a row of the benchmark has found: lines of its table, goals met or missed, and everything that was measured."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bench.runs import MIB, Run, Spread, rate, ratios

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Goal:
    """A target of the project and what was measured. `best` says which direction is better."""

    text: str
    measured: float
    wanted: float
    more_is_better: bool = True

    @property
    def met(self) -> bool:
        return self.measured >= self.wanted if self.more_is_better else self.measured <= self.wanted

    def said(self) -> str:
        sign = "≥" if self.more_is_better else "≤"
        return f"{self.text}: {number(self.measured)} (wanted {sign} {number(self.wanted)}) {'✓' if self.met else '✗'}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: medians, and the least and most of the rate. `ratio` is ours over this one, pair by pair."""

    row: str
    contender: str
    said: str
    runs: int
    unit: str
    rate: Spread
    ratio: Spread | None
    cpu_per_object: float
    cpu_per_gib: float
    memory_sum: float
    memory_max: float
    server_cpu: float
    redis_cpu: float
    server_share: float
    """Of one core, while the run lasted."""
    requests_per_object: float | None
    with_publishing: float | None
    startup: float


@dataclass
class Outcome:
    row: str
    title: str
    lines: list[Line] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """For a chart: name -> (x, y)."""
    failed: str | None = None
    raw: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        found = dataclasses.asdict(self)
        found["goals"] = [{**dataclasses.asdict(goal), "met": goal.met, "said": goal.said()} for goal in self.goals]
        return found


def summed_up(row: str, runs: Mapping[str, Sequence[Run]], said: Mapping[str, str], unit: str) -> list[Line]:
    """One line for each contender; the first one is the one that the others are held against."""
    first = next(iter(runs.values()))
    return [
        Line(
            row=row,
            contender=name,
            said=said.get(name, ""),
            runs=len(found),
            unit=unit,
            rate=Spread.of([rate(run, unit) for run in found]),
            ratio=None if found is first else Spread.of(ratios(first, found, unit)),
            cpu_per_object=statistics.median(run.cpu_per_object for run in found),
            cpu_per_gib=statistics.median(run.cpu_per_gib for run in found),
            memory_sum=statistics.median(run.memory_sum for run in found) / MIB,
            memory_max=max(run.memory_max for run in found) / MIB,
            server_cpu=statistics.median(run.server_cpu for run in found),
            redis_cpu=statistics.median(run.redis_cpu for run in found),
            server_share=statistics.median(run.server_cpu / run.seconds for run in found),
            requests_per_object=_requests_per_object(found),
            with_publishing=_with_publishing(found, unit),
            startup=statistics.median(run.startup for run in found),
        )
        for name, found in runs.items()
    ]


def raw(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [dataclasses.asdict(run) for run in found] for name, found in runs.items()}


def number(value: float) -> str:
    """Three digits that matter, and no exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def _requests_per_object(found: Sequence[Run]) -> float | None:
    if any("requests" not in run.more for run in found):
        return None
    return float(statistics.median(run.more["requests"] / run.objects for run in found))


def _with_publishing(found: Sequence[Run], unit: str) -> float | None:
    if any(run.publish_seconds is None for run in found):
        return None
    return statistics.median(rate(dataclasses.replace(run, seconds=run.whole_seconds), unit) for run in found)
