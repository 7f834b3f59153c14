"""Large and small objects side by side: each kind's rate alone and beside the other.

There are more large objects than slots, and they are first on the queue. Both rates of a run are taken while both kinds are under
way. Latency is added so that it and not this machine's cores bounds the small ones; the cores are shared in any case. That in
one lane no small object would arrive while large ones have all slots is shown by a test (tests/unit/worker/test_lanes.py).
"""

from __future__ import annotations

import signal
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.bench import process
from tests.bench.line import ROOT, Line, conductor, environment, working
from tests.bench.moving import KIB, MIB
from tests.bench.outcome import Goal, Outcome, raw, summed_up
from tests.bench.runs import Run, RunFailed, rate
from tests.bench.stage import Ends

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.line import Hands
    from tests.bench.options import Options
    from tests.bench.stage import Stage

DELAY_MS = 30.0
SLOTS = 16
FEWER_RUNS = 3
LONGEST = 180.0
LOOK_SECONDS = 0.05
LEAST_SHARE = 0.33
"""Of two kinds of work on the same cores neither can have all."""


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    count: int
    size: int
    unit: str

    def ends(self, stage: Stage) -> Ends:
        bucket = f"bench-lanes-{self.name}"
        return Ends(stage.store(), f"s3://{bucket}", f"s3://{bucket}-copy", self.count, self.count * self.size)


LARGE = Kind("large", 36, 24 * MIB, "MiB/s")
SMALL = Kind("small", 4_000, 4 * KIB, "objects/s")
OURS = Line("ours", slots=SLOTS)


def lanes(stage: Stage, options: Options) -> Outcome:
    found: dict[str, list[Run]] = {}
    for kind in (LARGE, SMALL):
        for bucket in kind.ends(stage).buckets:  # the copy too: memory that is touched for the first time makes a slow run
            stage.store().server.fill(bucket, count=kind.count, size=kind.size)
    for _ in range(min(options.runs, FEWER_RUNS)):
        for kinds in ([LARGE], [SMALL], [LARGE, SMALL]):
            for kind, run in _once(stage, kinds).items():
                name = f"{kind.name} {'alone' if len(kinds) == 1 else 'beside'}"
                found.setdefault(name, []).append(run)
                print(f"    {name:<32}{rate(run, kind.unit):>10,.0f} {kind.unit}", file=sys.stderr, flush=True)  # noqa: T201
    for kind in (LARGE, SMALL):
        for bucket in kind.ends(stage).buckets:
            stage.store().server.drop(bucket)
    outcome = Outcome(
        "lanes",
        f"{SMALL.count:,} x 4 KiB behind {LARGE.count} x 24 MiB, S3 to S3, {SLOTS} slots in each of two processes, "
        f"{DELAY_MS:.0f} ms added to every request",
    )
    for kind in (SMALL, LARGE):
        mine = {name: runs for name, runs in found.items() if name.startswith(kind.name)}
        outcome.lines += summed_up("lanes", mine, dict.fromkeys(mine, OURS.said()), kind.unit)
        outcome.goals.append(Goal(f"{kind.name} objects beside the others, of their rate alone", _share(mine, kind), LEAST_SHARE))
        outcome.raw |= raw(mine)
    return outcome


def _share(found: Mapping[str, Sequence[Run]], kind: Kind) -> float:
    alone, beside = (
        statistics.median(rate(run, kind.unit) for run in found[f"{kind.name} {how}"]) for how in ("alone", "beside")
    )
    return beside / alone


def _once(stage: Stage, kinds: Sequence[Kind]) -> dict[Kind, Run]:
    """One run on clean servers: published in this order, released, watched until one kind is done, finished, verified."""
    store = stage.store()
    for kind in kinds:
        stage.clean(kind.ends(stage))
    store.configure(delay_ms=DELAY_MS)
    store.begin()
    try:
        with ExitStack() as stack:
            hands, config, environ = {}, "", {}
            for kind in kinds:
                folder = stage.folder()
                environ = environment(OURS, stage, kind.ends(stage), folder)
                path = folder / "brigade.toml"
                path.write_text(path.read_text().replace('name = "bench"', f'name = "{kind.name}"'))
                config += path.read_text()
                hands[kind] = stack.enter_context(conductor(ROOT, environ, folder))
            folder = stage.folder()
            (folder / "brigade.toml").write_text(config)
            environ = {**environ, "BRIGADE_CONFIG": str(folder / "brigade.toml")}
            workers = stack.enter_context(working(OURS, environ, folder))
            process.signal_family(workers.parent, signal.SIGSTOP)
            jobs = {kind: hands[kind].ask(do="publish")["job"] for kind in kinds}
            before, server, began = process.usage(workers.pids), store.server.stats().cpu_seconds, time.monotonic()
            process.signal_family(workers.parent, signal.SIGCONT)
            seen = _watched(hands, jobs, until=began + LONGEST)
            after, server = process.usage(workers.pids), store.server.stats().cpu_seconds - server
            for kind in kinds:
                hands[kind].ask(do="wait", job=jobs[kind], seconds=LONGEST, patience=LONGEST + 10)
    finally:
        store.configure()
    for kind in kinds:
        store.verify(kind.ends(stage))
    return {
        kind: Run(
            contender=OURS.name,
            seconds=told["at"] - began,
            objects=max(1, told["moved"]),  # none would be a rate that nothing can be held against
            bytes=max(1, told["bytes"]),
            cpu=after.cpu - before.cpu,
            memory_sum=after.memory_sum,
            memory_max=after.memory_max,
            server_cpu=server,
            startup=workers.startup,
        )
        for kind, told in seen.items()
    }


def _watched(hands: Mapping[Kind, Hands], jobs: Mapping[Kind, str], *, until: float) -> dict[Kind, dict[str, Any]]:
    """How far each kind was when the first of them was done."""
    while time.monotonic() < until:
        seen = {kind: hands[kind].ask(do="progress", job=jobs[kind]) for kind in jobs}
        if any(told["state"] == "done" for told in seen.values()):
            return seen
        time.sleep(LOOK_SECONDS)
    raise RunFailed(f"after {LONGEST:.0f} s neither kind was done")
