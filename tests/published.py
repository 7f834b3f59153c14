"""What a publisher writes about objects that it sends, for tests and measurements that send none, or send them themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.state.flight import Flight, Scan, entries_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.state.store import Store


async def publish(
    store: Store,
    route: str,
    job: str,
    entries: Sequence[tuple[str, str]],
    *,
    at: float,
    after: str | None = None,
    proven: int = 0,
    per_bucket: int = 40,
) -> None:
    """Reserve and record (key, version) pairs in the open job of the route."""
    flight, scan, packed = Flight(store, per_bucket=per_bucket, clock=lambda: at), Scan(route, job, 0), entries_of(entries)
    first, _ = await flight.reserve(scan, packed)
    await flight.record(scan, packed, int(at), after, next_number=first + len(entries), proven=proven)
