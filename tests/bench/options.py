"""What the caller asked for, and the flags that earlier searches found best for rclone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Options:
    """`search`: look for rclone's best flags even where `kept` has some."""

    runs: int
    search: bool
    kept: Path
    """A JSON file: name of the setting -> flags and what each candidate made."""
    quick: bool = False
    """Only the faster one of rclone's two settings, and less of what takes long."""
    _found: dict[str, dict[str, Any]] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.kept.exists():
            self._found = json.loads(self.kept.read_text())

    def flags(self, name: str) -> tuple[str, ...] | None:
        """None: not known, or to be searched anew. A search serves all rows of this run that need it."""
        if name not in self._found or (self.search and name not in self._fresh):
            return None
        return tuple(self._found[name]["flags"])

    def keep(self, name: str, flags: tuple[str, ...], tried: dict[str, float]) -> None:
        self._found[name] = {"flags": list(flags), "tried": tried}
        self._fresh.add(name)
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        self.kept.write_text(json.dumps(self._found, indent=1, sort_keys=True) + "\n")

    def made(self, name: str) -> float:
        """The rate of the best candidate."""
        tried: dict[str, float] = self._found[name]["tried"]
        return max(tried.values())

    def works(self, name: str) -> bool:
        """Some combinations of flags fail with every transfer."""
        return any(self._found[name]["tried"].values())

    def tried(self, name: str) -> str:
        tried: dict[str, float] = self._found[name]["tried"]
        return ", ".join(f"{_short(flags)}: {made:g}" for flags, made in tried.items())


def _short(flags: str) -> str:
    """Without those that all candidates have."""
    return flags.split(" --s3-no-", maxsplit=1)[0].replace("--", "")
