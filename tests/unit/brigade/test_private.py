"""What a sync keeps is its user's alone, whatever the directory and the umask; and a directory that cannot be used says so."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from brigade import embedded
from brigade.__main__ import brigade
from brigade.embedded import locked
from common.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = 54321


@pytest.fixture(autouse=True)
def _open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def readable_by_others(directory: Path) -> set[str]:
    found = {path.relative_to(directory).as_posix(): path.lstat().st_mode for path in directory.rglob("*")}
    return {name for name, mode in found.items() if stat.S_IMODE(mode) & 0o077}


def synced(tmp_path: Path, state: Path, **environ: str) -> tuple[int, str]:
    """`brigade sync` of three small files, in a process of its own; exit code and what it said."""
    for end in ("from", "to"):
        (tmp_path / end).mkdir(exist_ok=True)
    for number in range(3):
        (tmp_path / "from" / f"{number}").write_text("x")
    command = [sys.executable, "-m", "brigade", "sync", str(tmp_path / "from"), str(tmp_path / "to"), "--state-dir", str(state)]
    command += ["--processes", "1"]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=110, check=False)
    return done.returncode, done.stdout + done.stderr


def test_nothing_is_readable_by_others_in_a_directory_that_is(tmp_path: Path) -> None:
    # Given a state directory that everybody may look into, with a name that no URL likes, and files of an earlier version in it
    state = tmp_path / "my state @home 50%25"
    (state / "appendonlydir").mkdir(parents=True)
    state.chmod(0o755)
    for name in ("sync.log", "failures.jsonl", "redis.log", "lock", "route.toml"):
        (state / name).touch(mode=0o644)
    assert readable_by_others(state)
    # When it is used
    code, said = synced(tmp_path, state)
    # Then nobody else can read any of it, and the copies are as open as the umask has it
    assert code == 0, said
    assert (state / "appendonlydir").is_dir() or (state / "appendonly.aof").exists()
    assert readable_by_others(state) == set()
    assert stat.S_IMODE((tmp_path / "to" / "0").stat().st_mode) & 0o044
    assert stat.S_IMODE(state.stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("theirs", [".", "sync.log"])
def test_what_belongs_to_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str) -> None:
    # Given a directory, or a file in it, that belongs to somebody else
    state = tmp_path / "state"
    state.mkdir()
    (state / "sync.log").touch()
    os.chown(state / theirs, STRANGER, STRANGER)
    # Then it is refused, with what to do
    with pytest.raises(SettingsError, match=rf"belongs to user {STRANGER}, .*name a directory of your own"), locked(state):
        pass


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "elsewhere").write_text("kept")
    (state / "sync.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="is a link"), locked(state):
        pass
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_a_state_directory_that_is_full_ends_the_sync_with_the_reason(tmp_path: Path) -> None:
    # Given a disk that takes some KiB of Redis's files and no more
    programs = tmp_path / "bin"
    programs.mkdir()
    limited = programs / "redis-server"
    limited.write_text(f"#!/bin/sh\ntrap '' XFSZ\nulimit -f 1\nexec {embedded.redis_program()} \"$@\"\n")
    limited.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    # When something is copied
    code, said = synced(tmp_path, tmp_path / "state", PATH=path, BRIGADE_REDIS_PATIENCE="1")
    # Then it gives up after a while, with the reason
    assert code == 2, said
    assert f"{tmp_path / 'state'}: the state cannot be kept there" in said
    assert "make room where it keeps its files" in said


def test_a_full_disk_is_said_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a disk on which not even the lock can be written
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("brigade.embedded._sign", full)
    for end in ("from", "to"):
        (tmp_path / end).mkdir()
    ends = [str(tmp_path / "from"), str(tmp_path / "to")]
    done = CliRunner().invoke(brigade, ["sync", *ends, "--state-dir", str(tmp_path / "state")])
    assert isinstance(done.exception, SettingsError)
    assert "cannot be used for state (No space left on device)" in str(done.exception)
