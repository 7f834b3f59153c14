"""Files that nobody else may read: a sync's state holds upload sessions, each of which lets its holder write for a week."""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from common.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = ("lock", "pair", "route.toml", "sync.log", "failures.jsonl", "redis.log", "appendonly.aof")
"""What a sync keeps in its state directory, beside the FOLDER that Redis 7 makes."""
FOLDER = "appendonlydir"


def opener(path: str, flags: int) -> int:
    """For `open`: a new file is its owner's alone, whatever the directory and the umask; a link is not followed."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def text_file(path: Path, mode: str = "w") -> IO[str]:
    """In UTF-8; `mode` as for `open`. The caller closes it."""
    return cast("IO[str]", open(path, mode, encoding="utf-8", opener=opener))


def log_file(path: Path) -> BinaryIO:
    """Emptied, and unbuffered: what a full disk does not take is gone, and is not tried again when the file is closed. The
    caller closes it.
    """
    return cast("BinaryIO", open(path, "wb", buffering=0, opener=opener))


@contextlib.contextmanager
def usable(directory: Path) -> Iterator[None]:
    """Raises SettingsError where the directory cannot be written: full, read-only, or not ours to use."""
    try:
        yield
    except OSError as error:
        raise SettingsError(
            [f"{directory}: cannot be used for state ({error.strerror or error}): name another with --state-dir"]
        ) from error


def tighten(directory: Path) -> None:
    """Take from everybody else what an earlier version let them read. Raises SettingsError for what is not ours: its owner could
    read and replace it.
    """
    found = [directory / name for name in OURS] + [directory / FOLDER, *(directory / FOLDER).glob("*")]
    _owned(directory)
    for path in found:
        if path.is_symlink():
            raise SettingsError([f"{path} is a link, which a sync does not follow: remove it, or name another --state-dir"])
        if path.exists():
            _owned(path)
            path.chmod(0o700 if path.is_dir() else 0o600)


def _owned(path: Path) -> None:
    """By us, or by root, which can read everything anyway."""
    owner = path.stat().st_uid
    if owner not in (os.geteuid(), 0):
        remedy = "run as that user, or name a directory of your own with --state-dir"
        raise SettingsError([f"{path} belongs to {_name(owner)}, who could read and change the state: {remedy}"])


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
