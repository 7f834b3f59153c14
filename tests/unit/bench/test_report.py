"""The results as files: charts that are XML, pages whose generated parts alone change, rows kept from other runs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from tests.bench import report
from tests.bench.chart import chart
from tests.bench.options import Options
from tests.bench.outcome import Goal, Outcome

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = {
    "day": "2026-11-21",
    "revision": "abc",
    "cores": 2,
    "processor": "x",
    "kernel": "Linux",
    "python": "3.11",
    "rclone": "rclone v1",
    "redis": "valkey 9",
    "load_before": 0.1,
    "load_after": 1.0,
}
_SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("logarithmic", [True, False])
def test_a_chart_shows_every_point_inside_its_frame(logarithmic: bool) -> None:
    # Given
    series = {"ours & theirs": [(16.0, 100.0), (256.0, 3130.0)], "rclone": [(16.0, 169.0), (256.0, 1560.0)]}
    # When
    root = ET.fromstring(chart("<rate>", "in flight", "objects/s", series, logarithmic=logarithmic))
    # Then
    points = [it for it in root.iter(f"{_SVG}circle") if it.get("r") == "4"]
    assert len(points) == 4
    assert all(60 < float(it.get("cx", 0)) < 720 and 50 < float(it.get("cy", 0)) < 350 for it in points)
    assert len({it.get("fill") for it in points}) == 2


def test_more_is_higher() -> None:
    root = ET.fromstring(chart("t", "x", "y", {"a": [(1.0, 10.0), (2.0, 20.0)]}))
    low, high = [float(it.get("cy", 0)) for it in root.iter(f"{_SVG}circle") if it.get("r") == "4"]
    assert high < low


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    # Given
    mark = "<!-- {} charts: written by make bench -->"
    page = f"before\n{mark.format('begin')}\nold\n{mark.format('end')}\nafter"
    # When
    once = report.put_between_marks(page, "charts", r"new \1")
    # Then
    assert once == f"before\n{mark.format('begin')}\nnew \\1\n{mark.format('end')}\nafter"
    assert report.put_between_marks(once, "targets", "nothing") == once


def test_a_run_of_some_rows_leaves_the_others(tmp_path: Path) -> None:
    # Given
    report.write(tmp_path, [Outcome("a", "A", goals=[Goal("x", 1, 2)]), Outcome("b", "B")], MACHINE)
    # When
    report.write(tmp_path, [Outcome("b", "B", failed="one object is missing")], MACHINE)
    # Then
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert (rows["a"]["goals"][0]["met"], rows["b"]["failed"]) == (False, "one object is missing")
    told = (tmp_path / "results.md").read_text()
    assert "| a | x | ≥ 2.00 | 1.00 | ✗ |" in told
    assert "FAILED: one object is missing" in told


def test_charts_are_drawn_for_rows_that_have_points(tmp_path: Path) -> None:
    report.write(tmp_path, [Outcome("workers", "w", points={"ours": [(1.0, 500.0), (2.0, 990.0)]})], MACHINE)
    assert ET.parse(tmp_path / "workers.svg").getroot().tag == f"{_SVG}svg"


def test_flags_that_were_searched_are_kept_until_a_new_search(tmp_path: Path) -> None:
    # Given
    kept = tmp_path / "flags.json"
    Options(runs=1, search=True, kept=kept).keep("s3", ("--transfers", "64"), {"--transfers 64": 900.0})
    # Then a later run knows them, and one that is to search does so once
    assert Options(runs=1, search=False, kept=kept).flags("s3") == ("--transfers", "64")
    anew = Options(runs=1, search=True, kept=kept)
    assert anew.flags("s3") is None
    anew.keep("s3", ("--transfers", "32"), {"--transfers 32": 950.0})
    assert anew.flags("s3") == ("--transfers", "32")
    assert anew.tried("s3") == "transfers 32: 950"
