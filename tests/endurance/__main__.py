"""5 GiB to every kind of destination: memory stays flat, and a worker's death costs no more than the parts on their way.

    python -m tests.endurance                       5 GiB to each, some minutes
    python -m tests.endurance --gib 1 --to s3,file
    python -m tests.endurance --json                the same for programs

The source is sparse. The server for S3 and GCS has the object in memory, a directory has it on the disk. Exits with 1 when
anything is wrong: the object differs, more than one part for each stream was sent again, or a worker had more than 256 MiB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.endurance import report
from tests.endurance.destinations import DESTINATIONS
from tests.endurance.trial import PART, Outcome, TrialFailed, run
from tests.servers import ServerFailed, ServerMissing, redis_server

GIB = 1024**3
PATIENCE, PATIENCE_PER_GIB = 90.0, 240.0
"""Seconds for each of the two workers: a machine that is slow and shared is not a fault."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=5.0, help="size of the object [default: 5]")
    parser.add_argument("--to", default=",".join(DESTINATIONS), help="separated by commas [default: %(default)s]")
    parser.add_argument("--json", action="store_true", dest="as_json", help="the outcomes as JSON instead of a table")
    given = parser.parse_args()
    size, wanted = int(given.gib * GIB), given.to.split(",")
    if size < 2 * PART or (unknown := set(wanted) - set(DESTINATIONS)):
        parser.error(f"at least two parts of {PART} bytes" if size < 2 * PART else f"unknown: {', '.join(sorted(unknown))}")
    try:
        outcomes, failed = tried(wanted, size)
    except (ServerMissing, ServerFailed) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, ServerMissing) else 1
    console = Console(highlight=False, soft_wrap=True)
    if given.as_json:
        print(json.dumps(report.as_json(outcomes, failed), indent=2))  # noqa: T201
    else:
        console.print(report.table(outcomes))
    wrong = failed + [f"{each.destination}: {fault}" for each in outcomes for fault in each.faults()]
    for text in wrong:
        print(text, file=sys.stderr)  # noqa: T201
    return 1 if wrong else 0


def tried(wanted: list[str], size: int) -> tuple[list[Outcome], list[str]]:
    """One destination after the other; what could not be judged as text."""
    outcomes, failed = [], []
    progress = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="bucketbrigade-endurance-") as scratch:
        home = Path(scratch)
        with redis_server(home / "redis") as redis:
            for name in wanted:
                with tempfile.TemporaryDirectory(dir=home) as folder, progress.status(f"{size / GIB:g} GiB to {name}"):
                    try:
                        outcomes.append(run(name, size, redis.address, Path(folder), PATIENCE + PATIENCE_PER_GIB * size / GIB))
                    except TrialFailed as error:
                        failed.append(str(error))
    return outcomes, failed


if __name__ == "__main__":
    sys.exit(main())
