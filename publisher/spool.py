"""A listing that is kept on the disk for as long as a scan lasts, because it comes in an order of its own.

SQLite's private temporary database: a file that has no name and rights for its owner alone, gone with the process, in the
directory that SQLITE_TMPDIR or TMPDIR names, else /var/tmp (https://www.sqlite.org/tempfiles.html). In memory: CACHE_KIB,
whatever the listing holds; on the disk about 100 bytes an entry with keys of 60.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

from common.state.keys import text_bytes, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

CACHE_KIB = 16 * 1024
ASKED_AT_ONCE = 500
"""Keys in one question; SQLite took 999 before 3.32."""


class Spool:
    """Keys with version token and size. Used by one coroutine at a time; SQLite works in threads. Close it."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for line in (f"PRAGMA cache_size = -{CACHE_KIB}", "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"):
            self._base.execute(line)
        self._base.execute("CREATE TABLE listed (key BLOB PRIMARY KEY, token BLOB, size INTEGER) WITHOUT ROWID")
        self.entries = 0

    async def add(self, keys: Sequence[str], tokens: Sequence[str], sizes: Sequence[int]) -> None:
        """A page of the listing; of a key that comes twice the later counts."""
        await asyncio.to_thread(self._add, keys, tokens, sizes)

    async def find(self, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Token and size of those that are listed."""
        return await asyncio.to_thread(self._find, keys)

    def close(self) -> None:
        self._base.close()

    def _add(self, keys: Sequence[str], tokens: Sequence[str], sizes: Sequence[int]) -> None:
        rows = zip(map(text_bytes, keys), map(text_bytes, tokens), sizes, strict=True)
        self._base.execute("BEGIN")
        self._base.executemany("INSERT OR REPLACE INTO listed VALUES (?, ?, ?)", rows)
        self._base.execute("COMMIT")
        self.entries += len(keys)

    def _find(self, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
        found: dict[str, tuple[str, int]] = {}
        for start in range(0, len(keys), ASKED_AT_ONCE):
            some = [text_bytes(key) for key in keys[start : start + ASKED_AT_ONCE]]
            marks = ",".join("?" * len(some))
            rows = self._base.execute(f"SELECT key, token, size FROM listed WHERE key IN ({marks})", some)  # noqa: S608 - marks
            found.update((text_of(key), (text_of(token), size)) for key, token, size in rows)
        return found
