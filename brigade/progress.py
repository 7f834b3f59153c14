"""How far a sync has come, on a terminal, as plain lines, or as JSON lines: one `Snapshot` after another, then what failed."""

from __future__ import annotations

import json
from collections import deque
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from common.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WINDOW = 10.0
"""Seconds over which the speed is an average."""
LINE_EVERY = 5.0
JSON_EVERY = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Counters of this sync at `seconds` after its start; objects unless they are called bytes."""

    seconds: float
    scanning: bool
    parked_until: str | None = None
    """The reset of the limit that everything waits for."""
    listed: int = 0
    published: int = 0
    moved: int = 0
    proven: int = 0
    in_flight: int = 0
    failed: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    metadata_lost: int = 0
    unverified: int = 0
    overwritten: int = 0
    unbalanced: int = 0
    distrusted: int = 0
    """Of those moved or proven: not at the destination as they had been copied before."""
    extra: int | None = None
    """At the destination and not at the source; no part of any sum. None: not known."""

    @property
    def ended(self) -> int:
        """Objects that are not in flight any more."""
        return self.moved + self.proven + self.failed + sum(self.left_out.values())


class Speed:
    """Objects and bytes per second over the last moments."""

    def __init__(self) -> None:
        self._seen: deque[Snapshot] = deque()

    def add(self, snapshot: Snapshot) -> tuple[float, float]:
        self._seen.append(snapshot)
        while len(self._seen) > 2 and self._seen[1].seconds <= snapshot.seconds - WINDOW:
            self._seen.popleft()
        first = self._seen[0]
        seconds = snapshot.seconds - first.seconds
        if seconds <= 0:
            return 0.0, 0.0
        return (snapshot.ended - first.ended) / seconds, (snapshot.bytes - first.bytes) / seconds


class Display(Protocol):
    """What a sync tells the user. `note` is for people only."""

    def show(self, snapshot: Snapshot) -> None: ...

    def note(self, text: str) -> None: ...

    def failure(self, described: dict[str, Any], line: str) -> None: ...

    def summary(self, described: dict[str, Any], lines: list[str]) -> None: ...


class TerminalDisplay:
    """A bar that moves. Whatever else is written to standard error appears above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._speed = Speed()
        self._task = progress.add_task("starting", total=None, speed="", failed="")

    def show(self, snapshot: Snapshot) -> None:
        objects, volume = self._speed.add(snapshot)
        self._progress.update(
            self._task,
            description=_doing(snapshot),
            completed=snapshot.ended,
            total=None if snapshot.scanning else snapshot.listed,
            speed=size(snapshot.bytes) + ("" if snapshot.parked_until else f"  {objects:,.0f} objects/s  {size(volume)}/s"),
            failed=f"[red]{snapshot.failed:,} failed[/red]" if snapshot.failed else "",
        )

    def note(self, text: str) -> None:
        self._progress.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def failure(self, described: dict[str, Any], line: str) -> None:
        del described
        self.note(line)

    def summary(self, described: dict[str, Any], lines: list[str]) -> None:
        del described
        self._progress.stop()
        for line in lines:
            click.echo(line)


class LineDisplay:
    """A line every few seconds on standard error, the summary on standard output. `quiet`: notes, failures and summary only."""

    def __init__(self, *, quiet: bool) -> None:
        self._next = float("inf") if quiet else LINE_EVERY
        self._speed = Speed()

    def show(self, snapshot: Snapshot) -> None:
        objects, volume = self._speed.add(snapshot)
        if snapshot.seconds < self._next:
            return
        self._next = snapshot.seconds + LINE_EVERY
        known = f"{snapshot.listed:,}{' or more' if snapshot.scanning else ''}"
        self.note(
            f"{snapshot.ended:,} of {known} objects, {size(snapshot.bytes)}, "
            f"{objects:,.0f} objects/s, {size(volume)}/s, {snapshot.failed:,} failed"
            + (f", waits until {snapshot.parked_until}" if snapshot.parked_until else "")
        )

    def note(self, text: str) -> None:
        click.echo(f"brigade: {printable(text)}", err=True)

    def failure(self, described: dict[str, Any], line: str) -> None:
        del described
        self.note(line)

    def summary(self, described: dict[str, Any], lines: list[str]) -> None:
        del described
        for line in lines:
            click.echo(line)


class JsonDisplay:
    """JSON lines on standard output, each with an `event`: progress, failure, summary. Notes go to standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self._next = float("inf") if quiet else JSON_EVERY
        self._speed = Speed()

    def show(self, snapshot: Snapshot) -> None:
        objects, volume = self._speed.add(snapshot)
        if snapshot.seconds < self._next:
            return
        self._next = snapshot.seconds + JSON_EVERY
        speed = {"objects_per_second": round(objects, 1), "bytes_per_second": round(volume)}
        self._line("progress", {**asdict(snapshot), "seconds": round(snapshot.seconds, 1), **speed})

    def note(self, text: str) -> None:
        click.echo(f"brigade: {printable(text)}", err=True)

    def failure(self, described: dict[str, Any], line: str) -> None:
        del line
        self._line("failure", described)

    def summary(self, described: dict[str, Any], lines: list[str]) -> None:
        del lines
        self._line("summary", described)

    @staticmethod
    def _line(event: str, fields: dict[str, Any]) -> None:
        click.echo(json.dumps({"event": event, **fields}, separators=(",", ":")))


@contextmanager
def display(*, as_json: bool, quiet: bool) -> Iterator[Display]:
    """The display that fits: JSON where asked for, a bar on a terminal, lines elsewhere."""
    console = Console(stderr=True)
    if as_json:
        yield JsonDisplay(quiet=quiet)
    elif quiet or not console.is_terminal:
        yield LineDisplay(quiet=quiet)
    else:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}  {task.fields[failed]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, refresh_per_second=5, transient=True) as progress:
            yield TerminalDisplay(progress)


def _doing(snapshot: Snapshot) -> str:
    if snapshot.parked_until:
        return f"waits until {snapshot.parked_until}"
    return "listing and moving" if snapshot.scanning else "moving"


def moment(seconds: float) -> str:
    """Seconds since 1970 for people and programs: 2026-11-22T08:00:00+00:00."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def size(count: float) -> str:
    """Bytes for people: 1.2 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
