"""Time and chance for the tests of what waits, a directory for the tests of what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from common.storage.file import LIMITS
from common.storage.file_tree import Tree
from common.storage.file_writer import FileWriter
from common.storage.retry import Policy, Retrier

if TYPE_CHECKING:
    from pathlib import Path


class Naps:
    """A sleep that takes no time and remembers how long it would have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def naps() -> Naps:
    return Naps()


def retrier(naps: Naps, **policy: Any) -> Retrier:
    """Always the longest wait that the policy allows."""
    return Retrier(Policy(**policy), naps, lambda: 1.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


@pytest.fixture
def writer(root: Path) -> FileWriter:
    return FileWriter.open(Tree(f"{root}/"), LIMITS)
