"""What services were found to do (`common.storage.abilities`), for all workers and for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from common.state.keys import text_bytes, text_of
from common.storage.abilities import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.state.store import Store

_BETWEEN = "\0"


class Findings:
    """Every call is one round trip and may be repeated. One field for each service and ability: few, whatever is moved."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def all(self) -> Mapping[tuple[str, str], Finding]:
        """By service and ability. What another version has written and nobody can read is left out: it is asked anew."""
        (stored,) = await self._store.send([("HGETALL", self._store.keys.services())])
        read = ((text_of(field).partition(_BETWEEN), _finding(value)) for field, value in stored.items())
        return {(service, ability): finding for (service, _, ability), finding in read if finding is not None}

    async def of(self, service: str) -> Mapping[str, Finding]:
        return {ability: finding for (name, ability), finding in (await self.all()).items() if name == service}

    async def put(self, service: str, ability: str, finding: Finding) -> None:
        value = json.dumps({"kept": finding.kept, "how": finding.how, "at": finding.at}, separators=(",", ":"))
        field = text_bytes(f"{service}{_BETWEEN}{ability}")
        await self._store.send([("HSET", self._store.keys.services(), field, value)])

    async def forget(self) -> int:
        """Everything is asked anew; how many findings there were."""
        key = self._store.keys.services()
        count, _ = await self._store.send([("HLEN", key), ("DEL", key)])
        return int(count)


def _finding(value: bytes) -> Finding | None:
    try:
        read = json.loads(value)
        return Finding(bool(read["kept"]), str(read["how"]), float(read["at"]))
    except (ValueError, KeyError, TypeError):
        return None
