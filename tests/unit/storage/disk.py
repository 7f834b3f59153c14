"""What the tests of files do to a disk, and how they look at it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import google_crc32c

from common.objects import Headers
from common.storage.base import Body
from common.storage.file_tree import STAGING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pytest

STAGED = os.fsdecode(STAGING)
DATA = b"some bytes"


def body(data: bytes = DATA, metadata: Mapping[str, str] | None = None) -> Body:
    return Body(data, google_crc32c.value(data), Headers(metadata=metadata or {}))


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def files(root: Path) -> list[str]:
    """Everything that is not a directory, files under way too."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def failing(code: int) -> Callable[..., Any]:
    """A system call that fails."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def folding(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on names that differ in their case alone are one name in every directory, as on macOS and Windows."""

    def resolved(name: Any, directory: Any) -> Any:
        if directory is None or isinstance(name, int):
            return name
        with scandir(directory) as entries:
            there = [os.fsencode(entry.name) for entry in entries]
        wanted = os.fsencode(name)
        return next((other for other in there if other.lower() == wanted.lower()), wanted)

    scandir = os.scandir

    def one(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda name, *rest, **named: real(resolved(name, named.get("dir_fd")), *rest, **named)

    def two(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda source, target, **named: real(source, resolved(target, named.get("dst_dir_fd")), **named)

    for call in ("open", "stat", "mkdir"):
        monkeypatch.setattr(os, call, one(getattr(os, call)))
    for call in ("link", "rename"):
        monkeypatch.setattr(os, call, two(getattr(os, call)))
