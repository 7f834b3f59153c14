"""Where the objects of a destination are from: what a copy says of its source, and what that makes of an object that is there.

A copy says it in its metadata (`common.storage.names`), so that the proof outlives Redis, and so that a destination that takes
two keys for one (`a//b` and `a/b`, `A` and `a`) is found out before one of the two is lost.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING

from common.objects import UNSIZED
from common.storage.names import SOURCE_KEY, SOURCE_MODIFIED, SOURCE_SIZE, SOURCE_VERSION
from common.storage.source_time import as_iso, noted, since_epoch, without_ours

if TYPE_CHECKING:
    from common.location import Location
    from common.objects import Headers, StoredObject
    from common.task import Task

_SOURCE_DIGITS = 16
_KEY_DIGITS = 32


class Standing(Enum):
    """What an object at the destination is to a task for its key."""

    THIS = auto()
    """Made from the version that the task names, whole."""
    OURS = auto()
    """Made by us from the task's object, of another version."""
    TWIN = auto()
    """Made by us from another key of the same source: to this destination both keys are one."""
    FOREIGN = auto()
    """Anything else, copies from another source among it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a route, in the digits by which its copies name it."""

    digits: str = ""
    """16 of them; none where there is no route, as in tests."""

    @classmethod
    def of(cls, source: Location) -> Origin:
        return cls(_digits(str(source), _SOURCE_DIGITS))

    def name(self, key: str) -> str:
        """The value of SOURCE_KEY for a copy of the object `key`."""
        return f"{self.digits}-{_digits(key, _KEY_DIGITS)}"

    def standing(self, found: StoredObject, task: Task) -> Standing:
        """What `found`, with the metadata of the destination, is to the task."""
        metadata = found.headers.metadata
        if SOURCE_VERSION not in metadata or metadata.get(SOURCE_SIZE) != str(found.size):
            return Standing.FOREIGN
        named = metadata.get(SOURCE_KEY)
        if named not in (None, self.name(task.key)):
            return Standing.TWIN if named.startswith(f"{self.digits}-") else Standing.FOREIGN
        this = metadata[SOURCE_VERSION] == task.version.token and task.size in (found.size, UNSIZED)
        return Standing.THIS if this else Standing.OURS


def marked(found: StoredObject, task: Task, origin: Origin) -> Headers:
    """The headers of `found`, the object at the source, with which version of it the copy will be made from. Of an object that is
    a copy of ours already the time of its source is handed on.
    """
    metadata = without_ours(found.headers.metadata)
    time = noted(metadata)
    if time is None and task.modified is not None:
        time = since_epoch(task.modified, found.nanoseconds if found.modified == task.modified else 0)
    metadata.pop(SOURCE_MODIFIED, None)
    metadata |= {SOURCE_VERSION: task.version.token, SOURCE_SIZE: str(task.size), SOURCE_KEY: origin.name(task.key)}
    if time is not None:
        metadata[SOURCE_MODIFIED] = as_iso(time)
    return replace(found.headers, metadata=MappingProxyType(metadata), storage_class=None)


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:count]
