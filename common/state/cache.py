"""The cache: which version of each object was published, and which was consumed. What publisher, workers and the API ask of it.

Every method is one round trip (`page` and `delete` are one per few buckets) and may be repeated; what a repetition does stands at
the head of the script it runs. Methods raise `SettingsError` when Redis refuses our identity, and otherwise wait until Redis
answers (see `Store`).
"""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from common.state.browse import START, Cursor, Kind, described, remove, walk, worker_names
from common.state.claims import Claim, Claimed, Outcome, Settled, Settlement
from common.state.keys import digest, digests_of, key_bytes, keys_bytes, placed, spread, spreads, text_bytes
from common.state.records import NOTHING, Published, Receipt, Record, decode, pack_listed, pack_receipt, pack_token, pack_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from common.state.store import Argument, Store

__all__ = [
    "Cache", "Claim", "Claimed", "Compared", "Doubted", "Kind", "Outcome", "Published", "Receipt", "Record", "Settled",
    "Settlement", "There",
]  # fmt: skip


class There(NamedTuple):
    """What the listing of a destination says of the objects of a page: version token and size by key, of those that are there."""

    began: float
    """When it began to be listed, in unix seconds."""
    listed: Mapping[str, tuple[str, int]]


PER_BUCKET = 40
"""Objects per bucket on average. Fewer cost memory for keys, more cost time, because Redis reads a bucket from its start."""
_OUTCOMES = (Outcome.TAKEN, Outcome.DONE, Outcome.BUSY, Outcome.ELSEWHERE)

Item = TypeVar("Item", Claim, Settlement)


class Doubted(NamedTuple):
    """An object by its position on the page, and its record as it is stored, for `distrust`."""

    place: int
    stored: bytes


class Compared(NamedTuple):
    """What came of comparing a page with the receipts; objects by their positions on it, in order."""

    differ: Sequence[tuple[int, Record]] = ()
    """Those that are not consumed in the version that was named, and what is known of them."""
    counted: Sequence[int] = ()
    """Those that are, and that the open job has counted before its scan came to them."""
    awaited: Sequence[int] = ()
    """Those that are, and that are in flight all the same."""
    ended: Sequence[int] = ()
    """Those that differ, and that the open job has counted all the same before its scan came to them."""
    stored: Sequence[bytes] = ()
    """The keys as they are stored, and their digests: whoever goes on with some of them need not make them again."""
    digests: Sequence[bytes] = ()
    doubted: Sequence[Doubted] = ()
    """Those that are, and that the destination does not list as their receipts have it; none of them is in the others."""


class Cache:
    def __init__(
        self,
        store: Store,
        *,
        per_bucket: int = PER_BUCKET,
        clock: Callable[[], float] = time.time,
        ends: Mapping[str, str] | None = None,
    ) -> None:
        """`ends` are the digests of the places that routes join by our settings: where the state is of others, nothing is
        claimed and no receipt is written.
        """
        self._ends = ends or {}
        self._store = store
        self._keys = store.keys
        self._per_bucket = per_bucket
        self._clock = clock

    async def lookup(self, route: str, keys: Sequence[str]) -> list[Record]:
        """What is known of each key, in the same order."""
        if not keys:
            return []
        stored = keys_bytes(keys)
        values, names = await self._store.run("lookup", [self._keys.route(route)], [spreads(stored), *stored])
        workers = worker_names(names)
        return [decode(value, workers) if value else NOTHING for value in values]

    async def compare(self, route: str, keys: Sequence[str], tokens: Sequence[str], there: There | None = None) -> Compared:
        """Which of these versions have not been consumed, and of which of the others the open job knows already; with what is
        `there` also which of the others the destination does not bear out. A receipt from after it began to be listed is not
        held against it.

        The names of workers are left out of the records. Redis compares: a page in which nothing is new costs one short reply.
        """
        if not keys:
            return Compared()
        stored = keys_bytes(keys)
        packed = pack_tokens(tokens)
        digests = digests_of(stored)
        began: Argument = "" if there is None else math.ceil(there.began)
        args: list[Argument] = [*placed(digests), packed or b"", began, *stored]
        if packed is None:
            args += [pack_token(token) for token in tokens]
        if there is not None:
            args += [pack_listed(*said) if (said := there.listed.get(key)) else b"" for key in keys]
        differ, values, counted, awaited, ended, *doubts = await self._store.run("compare", [self._keys.route(route)], args)
        records = [decode(value, {}) if value else NOTHING for value in values]
        doubted = [Doubted(*doubt) for doubt in zip(*doubts, strict=True)]
        if there is not None:
            doubted = [doubt for doubt in doubted if not _borne_out(doubt.stored, there.listed.get(keys[doubt.place]))]
        return Compared(list(zip(differ, records, strict=True)), counted, awaited, ended, stored, digests, doubted)

    async def distrust(self, route: str, job: str, keys: Sequence[str], doubted: Sequence[Doubted]) -> set[int]:
        """Forget what is known of these objects of a page, which the destination does not hold as their receipts say; the job
        counts them. The positions of those that have got another receipt meanwhile, and keep it.
        """
        if not doubted:
            return set()
        stored = [key_bytes(keys[doubt.place]) for doubt in doubted]
        pairs: list[Argument] = []
        for key, doubt in zip(stored, doubted, strict=True):
            pairs += [key, doubt.stored]
        args: list[Argument] = [spreads(stored), self._keys.job(route, job), *pairs]
        left = await self._store.run("distrust", [self._keys.route(route)], args)
        return {doubted[place].place for place in left}

    async def claim(self, wanted: Sequence[Claim]) -> list[Claimed]:
        """For each: take the lease, unless the version is consumed already or someone else has the lease."""
        groups = _by_route(wanted)
        calls = []
        for route, indexes in groups.items():
            numbers: list[bytes] = []
            args: list[Argument] = []
            for item in (wanted[index] for index in indexes):
                stored = key_bytes(item.key)
                place = digest(stored)
                numbers.append(spread(place))
                args += [place.hex(), stored, pack_token(item.etag), item.owner, _milliseconds(item), int(item.alone)]
            calls.append(
                self._store.call("claim", [self._keys.route(route)], [b"".join(numbers), self._ends.get(route, ""), *args])
            )
        claimed = [Claimed(Outcome.BUSY, NOTHING)] * len(wanted)
        for indexes, reply in zip(groups.values(), await self._send(calls), strict=True):
            outcomes, values, names, deaths = reply
            workers = worker_names(names)
            for index, outcome, value, died in zip(indexes, outcomes, values, deaths, strict=True):
                claimed[index] = Claimed(_OUTCOMES[outcome], decode(value, workers) if value else NOTHING, died)
        return claimed

    async def renew(self, leases: Sequence[Claim]) -> None:
        """Leases that their owners still have run for `seconds` from now. One that has run out is not taken again."""
        await self._for_leases("renew", leases, lambda lease: [_place(lease), lease.owner, _milliseconds(lease)])

    async def release(self, leases: Sequence[Claim]) -> None:
        """Leases that their owners still have are free. May be called twice."""
        await self._for_leases("release", leases, lambda lease: [_place(lease), lease.owner])

    async def settle(self, items: Sequence[Settlement]) -> None:
        """End tasks: receipts, counts (of what is in flight in this version), leases. Each item is whole: all of it or
        nothing has happened.
        """
        now = int(self._clock())
        calls = []
        for route, indexes in _by_route(items).items():
            digests: list[bytes] = []
            args: list[Argument] = []
            for item in (items[index] for index in indexes):
                stored = key_bytes(item.key)
                digests.append(digest(stored))
                args += [digests[-1].hex(), stored, pack_token(item.etag), item.owner, item.outcome.value, item.copied_bytes]
                args += [text_bytes(item.receipt.worker), *pack_receipt(item.receipt)] if item.receipt else ["", "", ""]
                args += [int(item.metadata_lost), int(item.unverified), int(item.overwritten)]
                args.append("" if item.mark is None else item.mark)
            numbers = b"".join([spread(each) for each in digests])
            fixed: list[Argument] = [now, self._per_bucket, numbers, b"".join(digests), self._ends.get(route, "")]
            calls += [self._known(route), self._store.call("settle", [self._keys.route(route)], [*fixed, *args])]
        await self._send(calls)

    async def count_failure(self, route: str, key: str, etag: str) -> int:
        """How often this version has failed by now, this time included.

        Forgotten 7 days after the last failure, or with a receipt. A reply lost on the way makes one failure look like two.
        """
        place = digest(key_bytes(key)).hex()
        return int(await self._store.run("count_failure", [self._keys.route(route)], [place, pack_token(etag)]))

    async def routes(self) -> list[str]:
        """Names of the routes that have or had records or jobs, sorted."""
        (names,) = await self._store.send([("SMEMBERS", self._keys.routes())])
        return sorted(name.decode() for name in names)

    async def counts(self, route: str) -> dict[Kind, int]:
        """How many records of each kind there are now."""
        (values,) = await self._store.send([("HMGET", self._keys.route(route), *Kind)])
        return {kind: int(value or 0) for kind, value in zip(Kind, values, strict=True)}

    async def get(self, route: str, kind: Kind, key: str) -> dict[str, Any] | None:
        (record,) = await self.lookup(route, [key])
        return described(kind, key, record)

    async def page(
        self, route: str | None, kind: Kind | None, cursor: str | None, limit: int
    ) -> tuple[list[tuple[str, dict[str, Any]]], str | None]:
        """Up to `limit` records with their names ("published:KEY"), and the cursor of the next page (None: that was all).

        Records that are there during the whole walk come exactly once; those that come or go meanwhile may be among them.
        Raises ValueError for a cursor that is not ours, or of another route.
        """
        if limit < 1:
            raise ValueError(f"limit is at least 1, not {limit}")
        routes = [route] if route is not None else await self.routes()
        place = Cursor.read(cursor) if cursor is not None else Cursor(routes[0] if routes else "", START)
        if route is not None and place.route != route:
            raise ValueError(f"this cursor belongs to another route than {route!r}")
        records: list[tuple[str, dict[str, Any]]] = []
        for name in (name for name in routes if name >= place.route):
            position = place.position if name == place.route else START
            if len(records) == limit:
                return records, str(Cursor(name, position))
            found, after = await walk(self._store, name, kind, position, limit - len(records))
            records += [(f"{it.kind}:{it.key}", described(it.kind, it.key, it.record) or {}) for it in found]
            if after is not None:
                return records, str(Cursor(name, after))
        return records, None

    async def delete(self, route: str | None, kind: Kind | None) -> int:
        """Remove records; how many there were. Leases and jobs stay. Not one step: records that come meanwhile may stay or go."""
        routes = [route] if route is not None else await self.routes()
        await self._look_at_everything(routes)
        return sum([await remove(self._store, name, kind, secrets.token_hex(8)) for name in routes])

    async def delete_one(self, route: str, kind: Kind, key: str) -> bool:
        """Whether there was such a record. (A reply that is lost on the way makes it False: the repetition finds nothing.)"""
        stored = key_bytes(key)
        args = [spread(digest(stored)), stored, kind.value]
        await self._look_at_everything([route])
        return bool(await self._store.run("delete_one", [self._keys.route(route)], args))

    async def _look_at_everything(self, routes: Sequence[str]) -> None:
        """An object without a record is to be found by the next sweep, though nothing has changed at its source."""
        await self._send([("UNLINK", self._keys.feed(route)) for route in routes])

    def _known(self, route: str) -> tuple[str, str, str]:
        return ("SADD", self._keys.routes(), route)

    async def _for_leases(self, script: str, leases: Sequence[Claim], args: Callable[[Claim], list[str | int]]) -> None:
        calls = []
        for route, indexes in _by_route(leases).items():
            flat = [part for index in indexes for part in args(leases[index])]
            calls.append(self._store.call(script, [self._keys.route(route)], flat))
        await self._send(calls)

    async def _send(self, calls: list[Any]) -> list[Any]:
        return await self._store.send(calls) if calls else []


def _by_route(items: Sequence[Item]) -> dict[str, list[int]]:
    """Positions by route: a script touches the keys of one route, so that it can run in a Redis Cluster."""
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(item.route, []).append(index)
    return groups


def _borne_out(stored: bytes, listed: tuple[str, int] | None) -> bool:
    """What the script compares, exactly."""
    receipt = decode(stored, {}).consumed
    return receipt is not None and listed == (receipt.destination_version, receipt.size)


def _place(lease: Claim) -> str:
    return digest(key_bytes(lease.key)).hex()


def _milliseconds(lease: Claim) -> int:
    return max(1, int(lease.seconds * 1000))
