"""The rows in which nothing moves: publishing what is new, sweeping what is unchanged, and what the cache takes in Redis.

The listing comes from a bucket that the server computes as it is asked (`synthetic-N`). The conductor does what `brigade publish`
does for one scan, in one process of its own; the start of its interpreter is not counted.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.bench.line import ROOT, Line, conductor, environment
from tests.bench.outcome import Goal, Outcome, raw, summed_up
from tests.bench.runs import MIB, Run, RunFailed
from tests.bench.stage import DESTINATION, Ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.line import Hands
    from tests.bench.options import Options
    from tests.bench.stage import Stage

NEW_KEYS = 100_000
SIZES = (10_000, 100_000, 1_000_000)
KEY_BYTES, OBJECT_BYTES = 56, 4096
LONGEST = 600.0
_PER_OBJECT = re.compile(r"([\d.]+) bytes of used_memory per object")


def publish(stage: Stage, options: Options) -> Outcome:
    """Every key is new: listed, looked up, diffed, sent to the queue, recorded."""
    ends = _synthetic(stage, NEW_KEYS)
    runs = []
    for _ in range(options.runs):
        stage.clean(ends)
        with _hands(stage, ends) as hands:
            runs.append(_scan(stage, ends, hands, "ours"))
            waiting = hands.ask(do="backlog")["backlog"]
        if (runs[-1].more["published"], waiting) != (NEW_KEYS, NEW_KEYS):
            raise RunFailed(f"of {NEW_KEYS} keys {runs[-1].more['published']} were published, {waiting} are on the queue")
    found = {"ours": runs}
    lines = summed_up("publish", found, {"ours": "one scan in one process, Redis Streams"}, "keys/s")
    goal = Goal("keys/s listed, diffed, published and recorded", lines[0].rate.median, 15_000)
    return Outcome("publish", f"publish {NEW_KEYS:,} new keys", lines, [goal], raw=raw(found))


def sweep(stage: Stage, options: Options) -> Outcome:
    """Every key is as it was. The cache is filled once per size, as a finished copy leaves it."""
    outcome = Outcome("sweep", "unchanged sweep, one process")
    memory: list[tuple[float, float]] = []
    for size in SIZES:
        ends = _synthetic(stage, size)
        stage.clean(ends)
        with _hands(stage, ends) as hands:
            filled = hands.ask(do="prefill", patience=LONGEST)
        runs = []
        for _ in range(options.runs if size == SIZES[-1] else min(options.runs, 3)):
            with _hands(stage, ends) as hands:
                runs.append(_scan(stage, ends, hands, f"ours, {size:,} keys"))
            if runs[-1].more["proven"] != size:
                raise RunFailed(f"{runs[-1].more['unchanged']} of {size} keys were found unchanged")
        found = {runs[0].contender: runs}
        outcome.lines += summed_up("sweep", found, {runs[0].contender: "one scan in one process"}, "keys/s")
        outcome.raw |= raw(found)
        outcome.notes.append(f"the cache of {size:,} objects was filled at {size / filled['seconds']:,.0f} objects/s")
        memory.append((float(size), statistics.median(run.memory_max for run in runs) / MIB))
    outcome.points = {"publisher, unchanged sweep": memory}
    outcome.goals = [
        Goal(f"keys/s with {SIZES[-1]:,} keys", outcome.lines[-1].rate.median, 80_000),
        Goal("MiB of peak memory, whatever the size", max(peak for _, peak in memory), 200, more_is_better=False),
    ]
    return outcome


def reconcile(stage: Stage, options: Options) -> Outcome:
    """Every key is as it was, at both ends, which are both listed."""
    size = SIZES[1]
    ends = replace(_synthetic(stage, size), destination=f"s3://synthetic-{size + 1}")
    stage.clean(ends)
    with _hands(stage, ends) as hands:
        hands.ask(do="prefill", alike=True, patience=LONGEST)
    found: dict[str, list[Run]] = {}
    for name, both in (("the source alone", False), ("both sides", True)):
        for _ in range(options.runs):
            with _hands(stage, ends) as hands:
                run = _scan(stage, ends, hands, name, reconcile=both)
            if run.more["proven"] != size:
                raise RunFailed(f"{run.more['proven']} of {size} keys were found unchanged")
            found.setdefault(name, []).append(run)
    lines = summed_up("reconcile", found, dict.fromkeys(found, "one scan in one process"), "keys/s")
    return Outcome("reconcile", f"unchanged sweep of {size:,} keys, of one side and of both", lines, [], raw=raw(found))


def cache(_stage: Stage, _options: Options) -> Outcome:
    """tests.bench.cache_memory, with a Redis of its own."""
    command = [sys.executable, "-m", "tests.bench.cache_memory", "--objects", str(SIZES[-1])]
    try:
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST, check=True).stdout
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise RunFailed(f"cache_memory failed: {error}: {error.stderr!r}") from error
    match = _PER_OBJECT.search(told)
    if match is None:
        raise RunFailed(f"cache_memory did not say what an object takes:\n{told}")
    goal = Goal(f"bytes of Redis per object, {SIZES[-1]:,} objects", float(match[1]), 100, more_is_better=False)
    title = f"cache, {SIZES[-1]:,} objects with keys of {KEY_BYTES} bytes and both records"
    return Outcome("cache", title, [], [goal], told.splitlines())


def _synthetic(stage: Stage, count: int) -> Ends:
    store = stage.store()
    store.configure()
    return Ends(store, f"s3://synthetic-{count}", f"gs://{DESTINATION}", count, count * OBJECT_BYTES)


@contextmanager
def _hands(stage: Stage, ends: Ends) -> Iterator[Hands]:
    folder = stage.folder()
    with conductor(ROOT, environment(Line(), stage, ends, folder), folder) as hands:
        yield hands


def _scan(stage: Stage, ends: Ends, hands: Hands, name: str, *, reconcile: bool = False) -> Run:
    server, redis = stage.server_cpu(ends), stage.redis_cpu()
    told: dict[str, Any] = hands.ask(do="publish", reconcile=reconcile, patience=LONGEST)
    return Run(
        contender=name,
        seconds=told["seconds"],
        objects=ends.objects,
        bytes=ends.bytes,
        cpu=told["cpu"],
        memory_sum=told["memory"],
        memory_max=told["memory"],
        server_cpu=stage.server_cpu(ends) - server,
        redis_cpu=stage.redis_cpu() - redis,
        startup=0.0,
        more={name: told[name] for name in ("published", "proven", "listed")},
    )
