"""Walks the records of one route in the order of the digests of their keys, a few buckets at a time.

A position is the start of a digest in hex: eight digits (a bucket begins there), or a whole digest and the first letter of a
kind (the last record that was seen). What follows it in the order of text is still to come. As a bucket holds a whole
range of digests at any time (`keys.spread`), buckets may split in the middle of a walk and nothing is missed or seen twice.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from common.state.keys import digest, key_text
from common.state.records import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.state.records import Record
    from common.state.store import Store

START = "00000000"
AT_ONCE = 1000
"""Objects per call of a script at most, so that others wait a few milliseconds for it and no longer."""
_CURSOR = re.compile(r"bucket:([A-Za-z0-9_-]+=*):([0-9a-f]{8}|[0-9a-f]{40}[cp])", re.ASCII)


class Kind(StrEnum):
    PUBLISHED = "published"
    CONSUMED = "consumed"


class Cursor(NamedTuple):
    """Where a walk over all routes is to go on. As text it is opaque, and says nothing that must stay secret."""

    route: str
    position: str

    def __str__(self) -> str:
        return f"bucket:{base64.urlsafe_b64encode(self.route.encode()).decode()}:{self.position}"

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Raises ValueError for what `str` of a cursor cannot have been."""
        match = _CURSOR.fullmatch(text)
        if not match:
            raise ValueError(f"not a cursor of ours: {text[:80]!r}; use the one that came with the page before, unchanged")
        try:
            return cls(base64.urlsafe_b64decode(match[1]).decode(), match[2])
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError(f"not a cursor of ours: {text[:80]!r}") from error


class Found(NamedTuple):
    position: str
    """Of the record itself: a walk that goes on from here has seen it."""
    kind: Kind
    key: str
    record: Record


async def walk(store: Store, route: str, kind: Kind | None, position: str, limit: int) -> tuple[list[Found], str | None]:
    """Up to `limit` records after `position`, and where to go on (None at the end of the route)."""
    found: list[Found] = []
    start = int(position[:8], 16)
    while True:
        # An object has a record of each kind, usually: half as many objects fill the page.
        wanted = max(limit - len(found), 1) if kind else (limit - len(found)) // 2 + 1
        start, entries, names = await store.run("page", [store.keys.route(route)], [start, min(wanted, AT_ONCE)])
        found += [record for record in _records(entries, worker_names(names), kind) if record.position > position]
        if len(found) > limit or (len(found) == limit and start >= 0):
            del found[limit:]
            return found, found[-1].position
        if start < 0:
            return found, None


async def remove(store: Store, route: str, kind: Kind | None, deletion: str) -> int:
    """Remove the records of a route, bucket by bucket. `deletion` is a new name under which the count is kept."""
    start, total = 0, 0
    while start >= 0:
        keys = [store.keys.route(route), store.keys.deleting(route, deletion)]
        start, total = await store.run("delete", keys, [start, kind or "", AT_ONCE])
    return total


def worker_names(flat: Sequence[Any]) -> dict[int, str]:
    return {number: name.decode("utf-8", "surrogatepass") for number, name in zip(flat[::2], flat[1::2], strict=True)}


def described(kind: Kind, key: str, record: Record) -> dict[str, Any] | None:
    """A record as the API shows it; None if there is none of this kind."""
    if kind is Kind.PUBLISHED:
        published = record.published
        if published is not None and (kept := published.kept) is not None:
            return {"key": key, "etag": published.etag, "at": _iso(kept.at), "left_out": "kept"}
        return published and {"key": key, "etag": published.etag, "at": _iso(published.at)}
    receipt = record.consumed
    return receipt and {
        "key": key,
        "etag": receipt.etag,
        "at": _iso(receipt.at),
        "size": receipt.size,
        "crc32c": receipt.crc32c,
        "destination_version": receipt.destination_version,
        "worker": receipt.worker,
    }


def _records(entries: Sequence[bytes], workers: dict[int, str], wanted: Kind | None) -> list[Found]:
    found = []
    for stored, value in zip(entries[::2], entries[1::2], strict=True):
        record = decode(value, workers)
        place, key = digest(stored).hex(), key_text(stored)
        if record.consumed and wanted is not Kind.PUBLISHED:
            found.append(Found(place + "c", Kind.CONSUMED, key, record))
        if record.published and wanted is not Kind.CONSUMED:
            found.append(Found(place + "p", Kind.PUBLISHED, key, record))
    found.sort(key=lambda record: record.position)
    return found


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()
