"""What is made of measurements: a wrong median or a swapped ratio would make every figure of the project a lie."""

from __future__ import annotations

import pytest

from tests.bench.moving import median_ratio, ratio_to_best
from tests.bench.outcome import Goal, number, summed_up
from tests.bench.rclone import Rclone, search
from tests.bench.runs import GIB, MIB, Run, ratios


def run(name: str, seconds: float, **more: float) -> Run:
    values = {"objects": 1000, "bytes": 512 * MIB, "cpu": 0.5, "memory_sum": 3 * MIB, "memory_max": 2 * MIB}
    return Run(contender=name, seconds=seconds, server_cpu=0.25, startup=1.0, **{**values, **more})  # type: ignore[arg-type]


def test_a_run_says_what_it_made_of_its_time() -> None:
    # Given
    one = run("ours", 2.0, publish_seconds=0.5)
    # Then
    assert (one.objects_per_second, one.mib_per_second) == (500, 256)
    assert (one.cpu_per_object, one.cpu_per_gib) == (0.5, 0.5 * GIB / (512 * MIB))
    assert one.whole_seconds == 2.5


def test_ratios_are_taken_pair_by_pair_and_say_how_much_faster_ours_is() -> None:
    # Given a machine that was twice as slow during the second pair
    ours, theirs = [run("ours", 1.0), run("ours", 2.0)], [run("rclone", 3.0), run("rclone", 6.0)]
    # Then
    assert ratios(ours, theirs, "objects/s") == [3.0, 3.0]


def test_the_goal_is_held_against_the_faster_of_their_settings() -> None:
    # Given
    runs = {"ours": [run("ours", 1.0)] * 3, "rclone": [run("rclone", 2.0)] * 3, "rclone tuned": [run("rclone tuned", 1.5)] * 3}
    # Then
    assert ratio_to_best(runs, "MiB/s") == pytest.approx(1.5)
    assert median_ratio(runs, "MiB/s", "ours", "rclone") == pytest.approx(2.0)


def test_a_search_runs_its_leader_twice_before_it_believes_it() -> None:
    # Given one that was lucky the first time
    slow, fast, lucky = (Rclone("rclone", ("--transfers", count)) for count in ("4", "16", "64"))
    rates = {slow: [10.0], fast: [50.0, 54.0], lucky: [90.0, 10.0, 10.0, 10.0]}
    # When
    best, tried = search([slow, fast, lucky], lambda one: rates[one].pop(0))
    # Then
    assert best is fast
    assert tried == {"--transfers 4": 10, "--transfers 16": 52, "--transfers 64": 50}


def test_a_line_of_the_table_has_medians_and_the_spread_of_the_rate() -> None:
    # Given
    runs = {
        "ours": [run("ours", seconds, publish_seconds=1.0) for seconds in (1.0, 4.0, 2.0)],
        "rclone": [run("rclone", 4.0)] * 3,
    }
    # When
    ours, theirs = summed_up("w1", runs, {"rclone": "rclone copy"}, "objects/s")
    # Then
    assert (ours.rate.least, ours.rate.median, ours.rate.most) == (250, 500, 1000)
    assert ours.ratio is None
    assert ours.with_publishing == pytest.approx(1000 / 3)
    assert theirs.ratio is not None
    assert (theirs.ratio.least, theirs.ratio.median, theirs.ratio.most) == (1, 2, 4)
    assert (theirs.said, theirs.with_publishing, theirs.memory_max) == ("rclone copy", None, 2)


def test_a_goal_knows_which_direction_is_better() -> None:
    assert Goal("objects/s", 1.6, 1.5).met
    assert not Goal("CPU", 0.3, 0.25, more_is_better=False).met
    assert Goal("CPU", 0.2, 0.25, more_is_better=False).said() == "CPU: 0.20 (wanted ≤ 0.25) ✓"


@pytest.mark.parametrize(("value", "text"), [(15_432.1, "15,432"), (99.94, "99.9"), (1.234, "1.23"), (0.0456, "0.046")])
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
