"""The rows that show how the rate grows: with workers, with objects in flight, and with what each request takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.line import Line
from tests.bench.moving import KIB, Contender, Setting, Work, in_turns
from tests.bench.outcome import Goal, Outcome, raw, summed_up
from tests.bench.rclone import TUNED, Rclone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.options import Options
    from tests.bench.stage import Stage

SLOW_MS = 30.0
WORKERS = (1, 2, 4, 8)
SLOTS = 32
PER_WORKER = 2_000
"""Objects for each worker: a run of some four seconds, so that its ramps up and down do not count for much."""
IN_FLIGHT = (16, 64, 256, 512)
DELAYS = (0.0, 10.0, 30.0, 100.0)
FEWER_RUNS = 3


def only(
    stage: Stage,
    options: Options,
    row: str,
    title: str,
    work: Work,
    setting: Setting,
    contenders: Sequence[Contender],
) -> Outcome:
    """No search and no goals: these contenders, in turns."""
    runs = in_turns(stage, contenders, work, setting, options.runs)
    lines = summed_up(row, runs, {one.name: one.said() for one in contenders}, work.unit)
    notes = [
        f"{name}: {sum(run.more['retries'] for run in found)} requests were tried again, in {len(found)} runs"
        for name, found in runs.items()
        if any(run.more.get("retries") for run in found)
    ]
    return Outcome(row, title, lines, [], notes, raw=raw(runs))


def workers(stage: Stage, options: Options) -> Outcome:
    """1, 2, 4 and 8 worker processes, 32 objects in flight in each, every request answered after 30 ms."""
    outcome = Outcome("workers", "workers 1, 2, 4, 8, each with 32 in flight, 4 KiB objects, 30 ms added to every request")
    rates: list[tuple[float, float]] = []
    for count in WORKERS:
        line = Line(f"{count} worker{'s' if count > 1 else ''}", processes=count, slots=SLOTS)
        work = Work(PER_WORKER * count, 4 * KIB)
        runs = in_turns(stage, [line], work, Setting(delay_ms=SLOW_MS), options.runs)
        (summed,) = summed_up("workers", runs, {line.name: line.said()}, work.unit)
        outcome.lines.append(summed)
        outcome.raw |= raw(runs)
        rates.append((float(count), summed.rate.median))
        outcome.goals.append(Goal(f"{line.name}: share of linear", summed.rate.median / (rates[0][1] * count), 0.95))
    outcome.points = {"Bucket Brigade": rates, "linear": [(count, rates[0][1] * count) for count, _ in rates]}
    return outcome


def concurrency(stage: Stage, options: Options) -> Outcome:
    """Two worker processes share what is in flight."""
    outcome = Outcome("concurrency", "4 KiB objects, S3 to S3, 30 ms added to every request, by objects in flight")
    for count in IN_FLIGHT:
        work = Work(min(5_000, count * 60), 4 * KIB)
        _point(stage, options, outcome, count, work, Setting(delay_ms=SLOW_MS), in_flight=count)
    return outcome


def latency(stage: Stage, options: Options) -> Outcome:
    outcome = Outcome("latency", "W1, S3 to S3, 256 in flight, by what is added to every request (ms)")
    for delay in DELAYS:
        _point(stage, options, outcome, delay, Work(5_000, 4 * KIB), Setting(delay_ms=delay), in_flight=256)
    return outcome


def _point(stage: Stage, options: Options, outcome: Outcome, x: float, work: Work, setting: Setting, *, in_flight: int) -> None:
    names = {"ours": "Bucket Brigade", "rclone": "rclone", "rclone tuned": "rclone tuned"}
    contenders: list[Contender] = [
        Line(processes=2, slots=in_flight // 2),
        Rclone("rclone", ("--transfers", str(in_flight))),
        Rclone("rclone tuned", ("--transfers", str(in_flight), *TUNED)),
    ]
    runs = in_turns(stage, contenders, work, setting, min(options.runs, FEWER_RUNS))
    for line in summed_up(f"{outcome.row} {x:g}", runs, {one.name: one.said() for one in contenders}, work.unit):
        outcome.lines.append(line)
        outcome.points.setdefault(names[line.contender], []).append((x, line.rate.median))
    outcome.raw |= {f"{name} at {x:g}": found for name, found in raw(runs).items()}
