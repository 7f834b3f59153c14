"""The endurance run can fail: what it moves shows every mistake, and each promise that is not kept is told with exit code 1."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import google_crc32c
import pytest

from tests.endurance import __main__ as program
from tests.endurance import source
from tests.endurance.remains import await_end
from tests.endurance.trial import MIB, PART, Outcome

if TYPE_CHECKING:
    from pathlib import Path

HELD = Outcome(
    destination="s3",
    size=100 * PART,
    parts=100,
    parts_before=50,
    streams=4,
    again=3 * PART,
    read_back=0,
    peaks=(150 * MIB, 160 * MIB),
    seconds_before=1.0,
    seconds_after=11.0,
    resumed=1,
    equal=True,
)


def test_every_part_of_the_source_is_unlike_every_other(tmp_path: Path) -> None:
    # Given a source of four parts
    source.make(tmp_path / "file", 4 * PART)
    data = (tmp_path / "file").read_bytes()
    parts = [data[start : start + PART] for start in range(0, len(data), PART)]
    # Then its checksum tells it from one with two parts exchanged, or one of them repeated, or left as a hole
    expected = source.checksum(tmp_path / "file")
    assert expected == (4 * PART, google_crc32c.value(data))
    for wrong in ([1, 0, 2, 3], [0, 1, 1, 3]):
        assert google_crc32c.value(b"".join(parts[number] for number in wrong)) != expected[1]
    assert all(any(part) for part in parts)
    # And it takes next to no room
    assert (tmp_path / "file").stat().st_blocks * 512 < MIB


def test_a_trial_that_held_has_no_faults() -> None:
    assert HELD.faults() == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (replace(HELD, equal=False), "the object differs from its source"),
        (replace(HELD, resumed=0), "the upload was gone on with 0 times"),
        (replace(HELD, again=5 * PART), "83,886,080 bytes were sent beyond the object's own; at most 67,518,464 is right"),
        (replace(HELD, streams=1), "50,331,648 bytes were sent beyond the object's own; at most 17,186,816 is right"),
        (replace(HELD, again=-1), "-1 bytes were sent beyond the object's own; at most 67,518,464 is right"),
        (replace(HELD, peaks=(150 * MIB, 300 * MIB)), "a worker had 300 MiB in memory, more than 256"),
    ],
)
def test_what_is_not_as_promised_ends_the_run_with_1(
    wrong: Outcome, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a trial in which one thing went wrong, among one that held
    monkeypatch.setattr(program, "tried", lambda wanted, size: ([HELD, wrong], []))
    monkeypatch.setattr(sys, "argv", ["endurance", "--json"])
    # When the run ends
    code = program.main()
    # Then it says what, once, with the figures
    out, err = capsys.readouterr()
    assert (code, err) == (1, f"s3: {told}\n")
    assert [each["faults"] for each in json.loads(out)["outcomes"]] == [[], [told]]


def test_what_could_not_be_judged_ends_it_with_1_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(program, "tried", lambda wanted, size: ([HELD], ["gs: not done"]))
    monkeypatch.setattr(sys, "argv", ["endurance"])
    assert program.main() == 1
    out, err = capsys.readouterr()
    assert err == "gs: not done\n"
    assert "50 of 100" in out


def test_what_a_process_has_used_is_known_after_its_death() -> None:
    # Given a process that touches memory, writes, and is killed
    words = "import os, signal\nheld = b'x' * (64 << 20)\nos.write(1, held[:100000])\nos.kill(os.getpid(), signal.SIGKILL)"
    process = subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.DEVNULL)
    # When it has ended
    remains = await_end(process, 60)
    # Then all of it is counted
    assert remains.code == process.returncode == -signal.SIGKILL
    assert remains.peak >= 64 * MIB
    assert 100_000 <= remains.written < 200_000
