"""The benchmark: the whole line against rclone on the same servers, in one interleaved run, every object compared afterwards.

    python -m tests.bench                          every row, written to docs/performance/
    python -m tests.bench --quick                  a few rows, under two minutes
    python -m tests.bench --rows w1-s3,w3 --runs 9
    python -m tests.bench --base main~1            the quick rows, this tree against another revision

Exits with 1 when a run failed (an object missing or wrong, a program that did not end), not when a target was missed.
"""

# ruff: noqa: T201 - its output is what the program is for

from __future__ import annotations

import argparse
import datetime as dt
import fcntl
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import compare, rclone, report, rows
from tests.bench.line import ROOT
from tests.bench.options import Options
from tests.bench.outcome import Outcome
from tests.bench.runs import RunFailed
from tests.bench.stage import Stage
from tests.servers import ServerFailed, ServerMissing

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = ROOT / "docs/performance"
RUNS, QUICK_RUNS = 5, 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help="names, separated by commas: " + ", ".join(row.name for row in rows.ROWS))
    parser.add_argument("--runs", type=int, help=f"of each side [default: {RUNS}, with --quick {QUICK_RUNS}]")
    parser.add_argument("--quick", action="store_true", help="few rows, few runs, nothing written")
    parser.add_argument("--base", help="compare with this revision instead of rclone")
    parser.add_argument("--search", action=argparse.BooleanOptionalAction, help="look for rclone's best flags anew")
    parser.add_argument("--write", action=argparse.BooleanOptionalAction, help="results to docs/performance/")
    given = parser.parse_args()
    partly = given.quick or given.base or given.rows
    options = Options(
        runs=given.runs or (QUICK_RUNS if given.quick or given.base else RUNS),
        search=not partly if given.search is None else given.search,
        kept=RESULTS / "rclone-flags.json",
        quick=given.quick,
    )
    try:
        wanted = rows.chosen(given.rows, quick=bool(given.quick or given.base))
        with alone(), Stage() as stage:
            wanted = compare.rows(given.base, wanted) if given.base else wanted
            return measured(stage, options, wanted, write=not partly if given.write is None else given.write)
    except (ServerMissing, ServerFailed, compare.NoSuchRevision) as error:
        print(error, file=sys.stderr)
        return 2


@contextmanager
def alone() -> Iterator[None]:
    """Two benchmarks at once would measure each other: the second one waits."""
    with (Path(tempfile.gettempdir()) / f"bucketbrigade-bench-{os.getuid()}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another benchmark runs on this machine; waiting for its end", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def measured(stage: Stage, options: Options, wanted: list[rows.Row], *, write: bool) -> int:
    machine = described(stage)
    began, outcomes = time.monotonic(), []
    for row in wanted:
        print(f"{row.name} …", file=sys.stderr, flush=True)
        try:
            outcome = row.call(stage, options)
        except (RunFailed, ServerMissing) as error:
            print(f"    FAILED: {error}", file=sys.stderr, flush=True)
            outcome = Outcome(row.name, row.name, failed=str(error))
        outcomes.append(outcome)
        if write:
            machine["load_after"] = os.getloadavg()[0]
            report.write(RESULTS, [outcome], machine)
    machine["load_after"] = os.getloadavg()[0]
    report.show(outcomes, machine)
    if write:
        report.refresh_page(ROOT / "docs/performance.md", RESULTS)
    print(f"\n{len(outcomes)} rows in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def described(stage: Stage) -> dict[str, Any]:
    load = os.getloadavg()[0]
    return {
        "day": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "revision": _revision(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "rclone": rclone.version(),
        "redis": stage.redis_version(),
        "load_before": load,
        "load_after": load,
    }


def _revision() -> str:
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    return answer.stdout.strip() or "unknown"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
