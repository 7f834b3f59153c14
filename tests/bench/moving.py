"""The rows in which objects move: both sides on the same servers, in turns, and every object compared after every run."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tests.bench import rclone
from tests.bench.outcome import Goal, Outcome, raw, summed_up
from tests.bench.runs import Run, RunFailed, rate, ratios
from tests.bench.stage import DESTINATION, SOURCE, Ends

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.bench.line import Line
    from tests.bench.options import Options
    from tests.bench.stage import Stage

KIB, MIB = 1 << 10, 1 << 20


class Contender(Protocol):
    @property
    def name(self) -> str: ...

    def said(self) -> str: ...

    def run(self, stage: Stage, ends: Ends, seconds: float) -> Run: ...


@dataclass(frozen=True, slots=True)
class Work:
    """So many objects of one size. `kind` says which of rclone's flags matter; `seconds` bounds one run."""

    count: int
    size: int
    kind: str = "small"
    seconds: float = 120.0

    @property
    def unit(self) -> str:
        return "objects/s" if self.size < MIB else "MiB/s"


W1 = Work(5_000, 4 * KIB)
W2 = Work(500, MIB)
W3 = Work(4, 512 * MIB, "large")


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the work is done."""

    to: str = "s3"
    tls: bool = False
    delay_ms: float = 0
    fail_percent: float = 0

    @property
    def name(self) -> str:
        """Of the search's results: the best flags depend on all of it."""
        return f"{self.to}{'-tls' if self.tls else ''}{f'-{self.delay_ms:g}ms' if self.delay_ms else ''}"


def prepared(stage: Stage, work: Work, setting: Setting) -> Ends:
    """The source filled, the server as slow and as faulty as asked for."""
    store = stage.store(tls=setting.tls)
    store.configure()
    store.fill(SOURCE, work.count, work.size, prefix="exports/2026/11/21/")
    scheme = "gs" if setting.to == "gcs" else "s3"
    return Ends(store, f"s3://{SOURCE}", f"{scheme}://{DESTINATION}", work.count, work.count * work.size)


def once(stage: Stage, contender: Contender, ends: Ends, setting: Setting, seconds: float) -> Run:
    """One run on clean servers, verified."""
    ends.store.configure()
    stage.clean(ends)
    ends.store.configure(delay_ms=setting.delay_ms, fail_percent=setting.fail_percent)
    ends.store.begin()
    try:
        run = contender.run(stage, ends, seconds)
        run.more["requests"] = ends.store.requests()
    finally:
        ends.store.configure()
    ends.store.verify(ends)
    print(f"    {run.contender:<22}{rate(run, _unit(ends)):>10,.0f} {_unit(ends)}", file=sys.stderr, flush=True)  # noqa: T201
    return run


def in_turns(stage: Stage, contenders: Sequence[Contender], work: Work, setting: Setting, runs: int) -> dict[str, list[Run]]:
    """A B B A A B …: who goes first in each round was found to lose some five percent by it."""
    ends = prepared(stage, work, setting)
    found: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for number in range(runs):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            found[contender.name].append(once(stage, contender, ends, setting, work.seconds))
    return found


def best_rclones(stage: Stage, options: Options, work: Work, setting: Setting) -> tuple[list[rclone.Rclone], list[str]]:
    """rclone with its checks and rclone tuned, each with the best flags found (a quick run takes the faster one of them); and
    notes on what was tried.
    """
    chosen: dict[str, rclone.Rclone] = {}
    notes = []
    for tuned in (False, True):
        candidates = rclone.candidates(work.kind, to_gcs=setting.to == "gcs", tuned=tuned)
        name = f"{setting.name} {work.kind} {work.size} {'tuned' if tuned else 'checked'}"
        flags = options.flags(name)
        if flags is None:
            best, tried = rclone.search(candidates, partial(_searched, stage, prepared(stage, work, setting), setting, work))
            options.keep(name, best.flags, tried)
        else:
            best = rclone.Rclone(candidates[0].name, flags)
        if options.works(name):
            chosen[name] = best
            notes.append(f"{best.name}: `{best.said()}`, the best of {options.tried(name)}")
        else:
            notes.append(f"{best.name}: not one of its runs ended well, with {options.tried(name)}")
    if options.quick and chosen:
        return [chosen[max(chosen, key=options.made)]], notes
    return list(chosen.values()), notes


def _searched(stage: Stage, ends: Ends, setting: Setting, work: Work, one: rclone.Rclone) -> float:
    try:
        return rate(once(stage, one, ends, setting, work.seconds), work.unit)
    except RunFailed as error:
        print(f"    {one.said()} does not count: {error}", file=sys.stderr)  # noqa: T201
        return 0.0


def compared(
    stage: Stage,
    options: Options,
    row: str,
    title: str,
    *,
    work: Work,
    setting: Setting,
    ours: Sequence[Line],
    goals: Callable[[Mapping[str, Sequence[Run]]], list[Goal]],
    others: Sequence[rclone.Rclone] = (),
) -> Outcome:
    """Ours against rclone at its best, with and without its checks, and against `others`."""
    if options.quick and work.kind == "large":
        work, title = replace(work, count=2), f"{title} (only 2 objects)"
    rclones, notes = best_rclones(stage, options, work, setting)
    contenders: list[Contender] = [*ours, *others, *rclones]
    runs = in_turns(stage, contenders, work, setting, options.runs)
    said = {contender.name: contender.said() for contender in contenders}
    lines = summed_up(row, runs, said, work.unit)
    return Outcome(row, title, lines, goals(runs), notes, raw=raw(runs))


def ratio_to_best(runs: Mapping[str, Sequence[Run]], unit: str, ours: str = "ours") -> float:
    """The least favourable of the medians: against whichever of rclone's settings was faster."""
    theirs = [name for name in runs if name in ("rclone", "rclone tuned")]
    return min(median_ratio(runs, unit, ours, name) for name in theirs)


def median_ratio(runs: Mapping[str, Sequence[Run]], unit: str, ours: str, theirs: str) -> float:
    found = sorted(ratios(runs[ours], runs[theirs], unit))
    middle = len(found) // 2
    return found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2


def _unit(ends: Ends) -> str:
    return "MiB/s" if ends.bytes // ends.objects >= MIB else "objects/s"
