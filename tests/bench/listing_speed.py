"""How fast one publisher process lists, compares, publishes and records, with or without a slow service.

    python -m tests.bench.listing_speed --new 100000 --unchanged 1000000
    python -m tests.bench.listing_speed --unchanged 300000 --delay-ms 50 --shards 1 --shards 8

A smaller thing than the rows `publish` and `sweep` of `make bench`: one scan each, nothing compared, for the time between two
changes of the code. The list server makes up its answers; Redis is a real one, on disk once a second.
"""

# ruff: noqa: T201 - its output is what the program is for

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tests.bench.line import ROOT, Line, conductor, environment
from tests.bench.stage import Ends, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.line import Hands

LONGEST = 1800.0
MIB = 1024 * 1024


def measure(stage: Stage, words: argparse.Namespace) -> Iterator[str]:
    store = stage.store()
    for keys in words.new:
        ends = Ends(store, f"s3://synthetic-{keys}", "gs://bench-destination", keys, keys)
        for shards in words.shards:
            stage.clean(ends)
            store.configure(delay_ms=words.delay_ms)
            yield scanned(stage, ends, shards, "new")
    for keys in words.unchanged:
        ends = Ends(store, f"s3://synthetic-{keys}", "gs://bench-destination", keys, keys)
        stage.clean(ends)
        store.configure()
        with hands(stage, ends, 1, "prefill") as asked:
            asked.ask(do="prefill", patience=LONGEST)
        store.configure(delay_ms=words.delay_ms)
        for shards in words.shards:
            yield scanned(stage, ends, shards, "unchanged")


def hands(stage: Stage, ends: Ends, shards: int, name: str) -> Any:
    folder: Path = stage.folder()
    line = Line(name, environ={"BRIGADE_LIST_SHARDS": str(shards)})
    return conductor(ROOT, environment(line, stage, ends, folder), folder)


def scanned(stage: Stage, ends: Ends, shards: int, kind: str) -> str:
    asked: Hands
    with hands(stage, ends, shards, kind) as asked:
        server, redis = stage.server_cpu(ends), stage.redis_cpu()
        told = asked.ask(do="publish", patience=LONGEST)
    listed = told["published"] if kind == "new" else told["proven"]
    if listed != ends.objects:
        raise SystemExit(f"{listed} of {ends.objects} keys were {kind}: {told}")
    redis_used, server_used = stage.redis_cpu() - redis, stage.server_cpu(ends) - server
    return (
        f"{ends.objects:>10,} {kind:<9} shards {shards:>2}: {ends.objects / told['seconds']:>9,.0f} keys/s in "
        f"{told['seconds']:.2f} s; CPU us/key: publisher {told['cpu'] / ends.objects * 1e6:.1f}, "
        f"Redis {redis_used / ends.objects * 1e6:.1f}, list server {server_used / ends.objects * 1e6:.1f}; "
        f"peak {told['memory'] / MIB:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--new", type=int, action="append", default=[], help="keys that nobody has seen")
    parser.add_argument("--unchanged", type=int, action="append", default=[], help="keys that are all at their destination")
    parser.add_argument("--shards", type=int, action="append", default=[])
    parser.add_argument("--delay-ms", type=float, default=0)
    words = parser.parse_args()
    words.shards = words.shards or [8]
    with Stage() as stage:
        for line in measure(stage, words):
            print(line, flush=True)


if __name__ == "__main__":
    main()
