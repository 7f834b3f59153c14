"""A destination that takes several keys for one, as SeaweedFS and the file systems of Windows and macOS do."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from common.storage.base import Absent, Matches

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.objects import Headers, StoredObject
    from common.storage.base import Body, Precondition, Upload, Writer

FOLDS: dict[str, tuple[Callable[[str], str], tuple[str, str]]] = {
    "double slash": (lambda key: re.sub("/+", "/", key), ("a/b", "a//b")),
    "backslash": (lambda key: key.replace("\\", "/"), ("c/d", "c\\d")),
    "case": (str.lower, ("photo.jpg", "Photo.JPG")),
    "unicode": (lambda key: key.replace("u\u0308", "\u00fc"), ("\u00fcber", "u\u0308ber")),
}
"""A fold, and two keys that it takes for one."""


class Folding:
    """A writer whose service makes of each key another. `preconditions=False`: that keeps no conditions either."""

    def __init__(self, inner: Writer, fold: Callable[[str], str], *, preconditions: bool) -> None:
        self._inner = inner
        self._fold = fold
        self._preconditions = preconditions
        self.limits = replace(inner.limits, preconditions=preconditions)

    async def stat(self, key: str) -> StoredObject | None:
        return await self._inner.stat(self._fold(key))

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        return await self._inner.put(self._fold(key), body, await self._assumed(key, precondition))

    async def begin(self, key: str, size: int, headers: Headers, precondition: Precondition, token: str | None = None) -> Upload:
        return await self._inner.begin(self._fold(key), size, headers, await self._assumed(key, precondition), token)

    async def close(self) -> None:
        await self._inner.close()

    async def _assumed(self, key: str, precondition: Precondition) -> Precondition:
        """Without conditions whatever is there is written over."""
        if self._preconditions:
            return precondition
        found = await self.stat(key)
        return Absent() if found is None else Matches(found.version)
