"""The results as people and programs read them: a table on the terminal, results.json, results.md, charts, docs/performance.md.

results.json is the truth; the others are made from it. A run of some rows replaces these rows and leaves the others, each with
the revision and the day on which it was measured.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tests.bench.chart import chart
from tests.bench.outcome import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.bench.outcome import Outcome

CHARTS = {
    "concurrency": ("objects/s by objects in flight: 4 KiB, S3 to S3, 30 ms per request", "objects in flight", "objects/s", True),
    "latency": ("objects/s by latency: 5,000 x 4 KiB, S3 to S3, 256 in flight", "ms added to each request", "objects/s", False),
    "workers": ("objects/s by workers: 32 in flight in each, 30 ms per request", "worker processes", "objects/s", False),
    "sweep": ("memory of the publisher by bucket size", "objects in the bucket", "MiB", True),
}
COLUMNS = (
    "row", "", "runs", "unit", "least", "median", "most", "ours is",
    "req/obj", "ms/obj", "s/GiB", "RSS sum", "RSS max", "server", "Redis",
)  # fmt: skip
_MARK = "<!-- {edge} {name}: written by make bench -->"


def cells(line: Mapping[str, Any]) -> list[str]:
    """One line of the table, in the order of COLUMNS."""
    ratio = line["ratio"]
    large = line["unit"] == "MiB/s"
    return [
        line["row"],
        line["contender"],
        str(line["runs"]),
        line["unit"],
        *(number(line["rate"][name]) for name in ("least", "median", "most")),
        f"{ratio['median']:.2f}x ({ratio['least']:.2f}-{ratio['most']:.2f})" if ratio else "",
        f"{line['requests_per_object']:.1f}" if line.get("requests_per_object") else "",
        "" if large else f"{line['cpu_per_object']:.3f}",
        f"{line['cpu_per_gib']:.2f}" if large else "",
        f"{line['memory_sum']:,.0f}",
        f"{line['memory_max']:,.0f}",
        f"{line['server_cpu']:.2f} s ({line['server_share']:.0%})",
        f"{line['redis_cpu']:.2f} s" if line["redis_cpu"] else "",
    ]


def show(outcomes: Sequence[Outcome], machine: Mapping[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    table = Table(title=described(machine), title_justify="left", header_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("row", "", "unit") else "right", no_wrap=True)
    for outcome in outcomes:
        for line in outcome.as_json()["lines"]:
            table.add_row(*cells(line))
        table.add_section()
    console.print(table)
    console.print(LEGEND, style="dim")
    for outcome in outcomes:
        console.print(f"\n[bold]{outcome.title}[/]", highlight=False)
        for text in _told(outcome.as_json()):
            console.print(f"  {text}", markup=False, highlight=False)


LEGEND = (
    "least, median, most: of the rate. ours is: ours over this line, median of the pairs (least-most). req/obj: requests that "
    "the server answered. ms/obj, s/GiB: CPU of the program, all its processes. RSS: MiB, of all its processes and of the "
    "largest. server, Redis: CPU during the run, and the share of a core that the server took. Times are without the start of "
    "the programs; ours without publishing, stated below."
)


def _told(outcome: Mapping[str, Any]) -> Iterable[str]:
    if outcome["failed"]:
        yield f"FAILED: {outcome['failed']}"
    for goal in outcome["goals"]:
        yield goal["said"]
    for line in outcome["lines"]:
        publishing = line["with_publishing"]
        with_it = f"; {number(publishing)} {line['unit']} with listing and publishing first" if publishing else ""
        yield f"{line['contender']}: `{line['said']}`, started in {line['startup']:.2f} s{with_it}"
    yield from outcome["notes"]


def described(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['day']}, revision {machine['revision']}: {machine['cores']} cores ({machine['processor']}), "
        f"{machine['kernel']}, Python {machine['python']}, {machine['rclone']}, {machine['redis']}; "
        f"load {machine['load_before']:.1f} before, {machine['load_after']:.1f} after"
    )


def write(folder: Path, outcomes: Sequence[Outcome], machine: Mapping[str, Any]) -> None:
    """results.json with these rows in it, and everything that is made from it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    for outcome in outcomes:
        kept["rows"][outcome.row] = {**outcome.as_json(), "machine": dict(machine)}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(kept["rows"]))
    for name, (title, x, y, logarithmic) in CHARTS.items():
        points = kept["rows"].get(name, {}).get("points")
        if points:
            series = {label: [(float(at), float(value)) for at, value in found] for label, found in points.items()}
            (folder / f"{name}.svg").write_text(chart(title, x, y, series, logarithmic=logarithmic))


def markdown(rows: Mapping[str, Any]) -> str:
    """All rows as one table, then what each one says."""
    parts = [
        "# Results",
        "",
        "Made by `make bench` from results.json; do not edit.",
        "",
        *goals_table(rows),
        "",
        "## Every line",
        "",
    ]
    parts += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows.values():
        parts += ["| " + " | ".join(cells(line)) + " |" for line in row["lines"]]
    parts += ["", LEGEND, ""]
    for row in rows.values():
        parts += [f"## {row['row']}: {row['title']}", "", *(f"- {text}" for text in _told(row))]
        parts += [f"- measured {described(row['machine'])}", ""]
    return "\n".join(parts)


def goals_table(rows: Mapping[str, Any]) -> list[str]:
    parts = ["| row | target | wanted | measured | |", "|---|---|---|---|---|"]
    for row in rows.values():
        if row["failed"]:
            parts.append(f"| {row['row']} | {row['title']} | | failed | ✗ |")
        for goal in row["goals"]:
            sign = "≥" if goal["more_is_better"] else "≤"
            met = "✓" if goal["met"] else "✗"
            parts.append(
                f"| {row['row']} | {goal['text']} | {sign} {number(goal['wanted'])} | {number(goal['measured'])} | {met} |"
            )
    return parts


def put_between_marks(text: str, name: str, content: str) -> str:
    """The page with what is generated replaced; a page without the marks is left alone."""
    begin, end = (_MARK.format(edge=edge, name=name) for edge in ("begin", "end"))
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def refresh_page(page: Path, folder: Path) -> None:
    """docs/performance.md: the targets and the charts, from results.json."""
    rows = json.loads((folder / "results.json").read_text())["rows"]
    text = put_between_marks(page.read_text(), "targets", "\n".join(goals_table(rows)))
    pictures = [f"![{CHARTS[name][0]}]({folder.name}/{name}.svg)" for name in CHARTS if (folder / f"{name}.svg").exists()]
    measured = sorted({described(row["machine"]) for row in rows.values()})
    text = put_between_marks(text, "charts", "\n\n".join(pictures))
    page.write_text(put_between_marks(text, "machine", "\n".join(f"- {one}" for one in measured)))
