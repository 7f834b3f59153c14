"""`brigade sync` over files that somebody else has put at the destination."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.brigade.test_sync import sync

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("redis_program")]

LATER, EARLIER = 1_700_000_000, 1_600_000_000


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A source with an old file, a new one, and one that the destination has not; there both are of another's making."""
    source, destination = tmp_path / "source", tmp_path / "destination"
    for folder, old, new in ((source, EARLIER, LATER), (destination, LATER, EARLIER)):
        folder.mkdir()
        for name, time in (("old", old), ("new", new)):
            (folder / name).write_text(f"{name} at the {folder.name}")
            os.utime(folder / name, (time, time))
    (source / "only here").write_text("only here")
    return source, destination


def held(destination: Path) -> dict[str, str]:
    found = {path.name: path.read_text() for path in destination.iterdir() if path.is_file()}
    assert found.pop("only here") == "only here"
    return {name: text.rpartition(" ")[2] for name, text in found.items()}


def summary(events: list[dict[str, Any]]) -> dict[str, Any]:
    return next(event for event in events if event["event"] == "summary")


def test_what_is_not_ours_is_written_over_and_counted(places: tuple[Path, Path], tmp_path: Path) -> None:
    source, destination = places
    code, events, _ = sync(source, destination, state=tmp_path / "state")
    assert code == 0
    assert held(destination) == {"old": "source", "new": "source"}
    assert summary(events)["overwritten"] == 2
    # And in the next run they are ours: nothing is written
    (source / "old").write_text("old, changed at the source")
    code, events, _ = sync(source, destination, "--ignore-existing", state=tmp_path / "state")
    assert code == 0
    assert (destination / "old").read_text() == "old, changed at the source"
    assert summary(events)["overwritten"] == 0


@pytest.mark.parametrize(
    ("option", "there"),
    [
        ("--ignore-existing", {"old": "destination", "new": "destination"}),
        ("--update", {"old": "destination", "new": "source"}),
    ],
)
def test_what_is_kept_is_left_out_and_never_an_error(
    places: tuple[Path, Path], tmp_path: Path, option: str, there: dict[str, str]
) -> None:
    source, destination = places
    kept = sum(holder == "destination" for holder in there.values())
    for _ in range(2):
        # Given a first run, and a second
        code, events, _err = sync(source, destination, option, state=tmp_path / "state")
        # Then what is there stays, and is counted by its reason
        assert code == 0
        assert held(destination) == there
        assert summary(events)["left_out"] == {"kept": kept}
        assert summary(events)["overwritten"] <= 2 - kept
    # And it is written over by a run that is told to
    assert sync(source, destination, state=tmp_path / "state")[0] == 0
    assert held(destination) == {"old": "source", "new": "source"}


def test_what_must_not_change_is_reported(places: tuple[Path, Path], tmp_path: Path) -> None:
    source, destination = places
    code, events, _ = sync(source, destination, "--immutable", state=tmp_path / "state")
    assert code == 1
    assert held(destination) == {"old": "destination", "new": "destination"}
    assert summary(events)["categories"] == {"destination_conflict": 2}
    assert summary(events)["failed"] == 2


def test_options_that_contradict_each_other_are_refused(places: tuple[Path, Path], tmp_path: Path) -> None:
    code, _, err = sync(*places, "--update", "--immutable", state=tmp_path / "state")
    assert code == 2
    assert "--update and --immutable contradict each other" in err
