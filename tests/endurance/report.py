"""The outcomes, as a table for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tests.endurance.trial import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.endurance.trial import Outcome


def table(outcomes: Sequence[Outcome]) -> Table:
    made = Table(title="in MiB; of the worker that was killed, and of the one that went on")
    for heading in ("to", "object", "killed at", "again", "read back", "memory", "seconds", ""):
        made.add_column(heading, justify="left" if heading in ("to", "") else "right", no_wrap=True)
    for each in outcomes:
        made.add_row(
            each.destination,
            f"{each.size / MIB:,.0f}",
            f"{each.parts_before} of {each.parts}",
            f"{each.again / MIB:.1f}",
            "" if each.read_back is None else f"{each.read_back / MIB:,.1f}",
            ", ".join(f"{peak / MIB:.0f}" for peak in each.peaks),
            f"{each.seconds_before:.0f} + {each.seconds_after:.0f}",
            "[red]✗[/]" if each.faults() else "[green]✓[/]",
        )
    return made


def as_json(outcomes: Sequence[Outcome], failed: Sequence[str]) -> dict[str, Any]:
    return {"outcomes": [{**asdict(each), "faults": each.faults()} for each in outcomes], "failed": list(failed)}
