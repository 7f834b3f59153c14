"""The Lua scripts: named files, because each is one atomic change of state and deserves to be read as one.

A script's first line may include others ("-- include: _record _buckets"); their text is put before its own. Redis runs a script
whole or, when memory is full or it has become a replica, refuses its first write: none of ours can stop half-way.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

_INCLUDE = "-- include:"


class Script(NamedTuple):
    name: str
    text: str
    sha: str
    """What EVALSHA knows it by."""


@cache
def scripts() -> dict[str, Script]:
    """Every script by name, read once per process."""
    folder = resources.files("common.state") / "scripts"
    texts = {file.name[:-4]: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".lua")}
    return {name: _whole(name, texts) for name in texts if not name.startswith("_")}


def _whole(name: str, texts: dict[str, str]) -> Script:
    first, _, _ = texts[name].partition("\n")
    parts = first.removeprefix(_INCLUDE).split() if first.startswith(_INCLUDE) else []
    text = "".join(texts[part] for part in [*parts, name])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
