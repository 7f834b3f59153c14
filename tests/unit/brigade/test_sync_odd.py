"""`brigade sync` of a directory of which not everything can be read, under any locale, with its files' modes."""

from __future__ import annotations

import ctypes
import os
import stat

import pytest

from tests.unit.brigade.test_sync import ended, files, fill, started, sync

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("redis_program")]
_DROP_FROM_BOUNDING_SET = 24
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


def held_to_modes():
    """In a child that is about to be started: root, too, may open only what its owner lets others open."""
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


@pytest.fixture
def source(tmp_path):
    directory = tmp_path / "source"
    directory.mkdir()
    return directory


@pytest.fixture
def destination(tmp_path):
    directory = tmp_path / "destination"
    directory.mkdir()
    return directory


def test_what_cannot_be_read_fails_alone(source, destination, tmp_path):
    # Given ten files, a link, and a directory of somebody else's, as every ext4 has one at its root
    fill(source, 10)
    (source / "link").symlink_to("nothing")
    locked = source / "lost+found"
    locked.mkdir()
    (locked / "inside").touch()
    if os.geteuid() == 0:
        os.chown(locked, 12345, 12345)
        locked.chmod(0o700)
    else:
        locked.chmod(0)

    # When it is synced
    try:
        code, events, err = ended(started(source, destination, state=tmp_path / "state", preexec=held_to_modes))
    finally:
        locked.chmod(0o700)

    # Then what can be read has arrived, and the directory is named once, with what to do about a directory
    assert code == 1, (events, err)
    assert files(destination) == {f"f {number:04}" for number in range(10)}
    (failure,) = [event for event in events if event["event"] == "failure"]
    assert (failure["key"], failure["category"]) == ("lost+found/", "forbidden")
    assert "chmod" in failure["message"]
    assert "s3:" not in failure["message"]
    assert events[-1]["left_out"] == {"symlink": 1}


def test_files_keep_their_modes(source, destination, tmp_path):
    # Given files with the modes that files have
    modes = {"plain": 0o644, "program": 0o755, "secret": 0o600, "fixed": 0o444, "runs as its owner": 0o4755}
    for name, mode in modes.items():
        (source / name).touch()
        (source / name).chmod(mode)

    # When they are synced, then they have them there, without the bit that makes a program run as somebody else
    code, events, _ = sync(source, destination, state=tmp_path / "state")
    assert code == 0, events
    assert {name: stat.S_IMODE((destination / name).stat().st_mode) for name in modes} == {**modes, "runs as its owner": 0o755}
