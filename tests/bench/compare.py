"""This tree against another revision: the same rows with both of them in turns, instead of rclone."""

from __future__ import annotations

import atexit
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import scaling
from tests.bench.line import ROOT, Line
from tests.bench.moving import W1, W2, W3, Setting, Work
from tests.bench.rows import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.options import Options
    from tests.bench.outcome import Outcome
    from tests.bench.stage import Stage

COMPARED: dict[str, tuple[Work, Setting]] = {
    "w1-s3": (W1, Setting()),
    "w1-gcs": (W1, Setting("gcs")),
    "w1-30ms": (W1, Setting(delay_ms=30)),
    "w2": (W2, Setting()),
    "w2-gcs": (W2, Setting("gcs")),
    "w3": (W3, Setting()),
    "w3-gcs": (W3, Setting("gcs")),
    "w1-tls": (W1, Setting(tls=True)),
    "w2-tls": (W2, Setting(tls=True)),
    "w3-tls": (W3, Setting(tls=True)),
}


class NoSuchRevision(Exception):  # noqa: N818 - named after the situation
    """git knows no such revision, or cannot check it out beside this tree."""


def rows(base: str, wanted: Sequence[Row]) -> list[Row]:
    """The rows, as comparisons with `base`, which is checked out into a temporary worktree until this process ends."""
    lines = [Line("ours"), Line(f"at {base}", root=_checked_out(base))]
    return [Row(row.name, partial(_compared, row.name, lines)) for row in wanted if row.name in COMPARED]


def _compared(name: str, lines: Sequence[Line], stage: Stage, options: Options) -> Outcome:
    work, setting = COMPARED[name]
    title = f"{name}: this tree against {lines[1].name.removeprefix('at ')}"
    return scaling.only(stage, options, name, title, work, setting, lines)


def _checked_out(base: str) -> Path:
    home = tempfile.TemporaryDirectory(prefix="bucketbrigade-base-")
    tree = Path(home.name) / "tree"
    answer = _git("worktree", "add", "--detach", str(tree), base)
    if answer.returncode != 0:
        home.cleanup()
        raise NoSuchRevision(f"{base!r} cannot be checked out: {answer.stderr.strip()}")

    def remove() -> None:
        _git("worktree", "remove", "--force", str(tree))
        home.cleanup()

    atexit.register(remove)
    return tree


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
