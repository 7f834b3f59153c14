"""The flight table: which version of which object is awaited, and what its job counts of it.

An object is in flight from the moment its task is about to be sent until the task is settled (`Cache.settle`). Every method is
one round trip and may be repeated; what a repetition does stands at the head of the script it runs. Who scans passes the `term`
in which it may (common.state.locks); JobLost says that it may no more, and then nothing was counted.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from common.state.cache import PER_BUCKET
from common.state.jobs import JobLost, new_id
from common.state.keys import digest, key_bytes, keys_bytes, placed, places, text_bytes
from common.state.records import pack_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from common.state.claims import HandedOver, Missed
    from common.state.store import Argument, Store

    Entry = tuple[bytes, bytes, bytes]
    """An object in one of its versions: its key as it is stored, the digest of that, the packed token of the version."""
    Entries = Sequence[Entry]

DECIDED_AT_ONCE = 1000


class Reserved(NamedTuple):
    """`first` is the number of the first task; `left` are the positions of what has been consumed meanwhile, or stays
    failed: no task is sent.
    """

    first: int
    left: Sequence[int]


class Scan(NamedTuple):
    """The open job of a route, scanned in this term."""

    route: str
    job: str
    term: int


class Flight:
    def __init__(self, store: Store, *, per_bucket: int = PER_BUCKET, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._keys = store.keys
        self._per_bucket = per_bucket
        self._clock = clock

    async def reserve(
        self,
        scan: Scan,
        publish: Entries,
        *,
        in_flight: Entries = (),
        awaited: Entries = (),
        lost_before: float = 0.0,
        not_failed: bool = False,
    ) -> Reserved:
        """Before the tasks of a page are sent: what it holds and what is not consumed is in flight.

        `in_flight` was published and is not sent again yet; `awaited` is consumed as it is listed and in flight all the same. A
        task made before `lost_before` counts as lost. With `not_failed` what has failed in this version is not published again.
        Raises JobLost.
        """
        entries = [*publish, *in_flight, *awaited]
        letters = ("l" if not_failed else "p") * len(publish) + "f" * len(in_flight) + "c" * len(awaited)
        numbers, digests, pairs = _packed(entries)
        fixed: list[Argument] = [scan.job, scan.term, self._now(), secrets.token_bytes(8), max(0, int(lost_before))]
        reply = await self._run("reserve", scan.route, [*fixed, numbers, digests, letters, *pairs])
        if not reply[0]:
            raise JobLost
        return Reserved(reply[1], reply[2])

    async def record(
        self,
        scan: Scan,
        entries: Entries,
        at: int,
        after: str | None,
        *,
        next_number: int | None = None,
        proven: int = 0,
        left_out: Mapping[str, int] | None = None,
    ) -> None:
        """Record what the queue has confirmed as published, and how far the scan has come, as one step. `next_number` follows
        those of the tasks of all that is recorded.

        `proven` counts what is consumed as it was listed, `left_out` by reason what is no object to be replicated. Raises
        JobLost; what was published is recorded all the same.
        """
        numbers, digests, pairs = _packed(entries)
        checkpoint = b"" if after is None else b"=" + text_bytes(after)
        reasons: list[Argument] = [part for pair in (left_out or {}).items() for part in pair]
        fixed: list[Argument] = [at, self._per_bucket, secrets.token_bytes(8), scan.job, scan.term, checkpoint, proven]
        fixed += [numbers, digests, "" if next_number is None else next_number, len(reasons) // 2]
        args = [*fixed, *reasons, *pairs]
        calls = [("SADD", self._keys.routes(), scan.route), self._store.call("record", [self._keys.route(scan.route)], args)]
        if not (await self._store.send(calls))[1]:
            raise JobLost

    async def not_refused(self, route: str, names: Sequence[tuple[str, str]]) -> list[int]:
        """The positions of those that have not failed for this reason, as far as is known."""
        wanted = [digest(key_bytes(name)) for name, _ in names]
        (marks,) = await self._store.send([("HMGET", f"{self._keys.route(route)}:failed", *wanted)])
        pairs = enumerate(zip(names, marks, strict=True))
        return [place for place, ((_, why), mark) in pairs if mark is None or mark[4:].partition(b"\0")[2] != pack_token(why)]

    async def refuse(self, scan: Scan, names: Sequence[tuple[str, str]]) -> None:
        """What a listing names and no task can carry, with the reason of each, has failed. Raises JobLost."""
        digests = b"".join([digest(key_bytes(name)) for name, _ in names])
        args: list[Argument] = [scan.job, scan.term, self._now(), digests, *(pack_token(reason) for _, reason in names)]
        if not await self._run("refuse", scan.route, args):
            raise JobLost

    async def decide(self, scan: Scan, lost_before: float) -> None:
        """At the end of a full scan: what is in flight and was not listed any more is gone, if a worker has missed it or its
        task is lost; what failed and was not listed any more is forgotten. One round trip for each thousand. Raises JobLost.
        """
        for table in ("flight", "failed"):
            cursor = b"0"
            while True:
                fixed: list[Argument] = [scan.job, scan.term, self._now(), max(0, int(lost_before))]
                reply = await self._run("decide", scan.route, [*fixed, table, cursor, DECIDED_AT_ONCE])
                if not reply[0]:
                    raise JobLost
                cursor = reply[1]
                if cursor == b"0":
                    break

    async def miss(self, items: Sequence[Missed]) -> list[bool]:
        """Objects that the source did not have stay in flight until a full scan has decided. False where one had been missing
        before, and was listed again since: that one has failed, and nothing has changed yet.
        """
        replies = [False] * len(items)
        for route, indexes in _by_route(items).items():
            args: list[Argument] = []
            stored = [key_bytes(items[index].key) for index in indexes]
            for index, key in zip(indexes, stored, strict=True):
                args += [digest(key).hex(), key, pack_token(items[index].etag), items[index].owner]
            for index, reply in zip(indexes, await self._run("miss", route, [self._now(), *places(stored), *args]), strict=True):
                replies[index] = bool(reply)
        return replies

    async def hand_over(self, items: Sequence[HandedOver]) -> None:
        """The tasks of the successors have been sent: those versions are awaited now."""
        for route, indexes in _by_route(items).items():
            args: list[Argument] = []
            stored = [key_bytes(items[index].key) for index in indexes]
            for index, key in zip(indexes, stored, strict=True):
                item = items[index]
                args += [digest(key).hex(), key, pack_token(item.etag), pack_token(item.successor), item.owner]
            await self._run("hand_over", route, [self._now(), self._per_bucket, *places(stored), *args])

    async def redrive(self, route: str, versions: Sequence[tuple[str, str]]) -> int:
        """Tasks for these versions have been sent again: they are failed no more but in flight, in the open job of the
        route; one of kind `redrive` is opened if there is none. How many were not in flight before.
        """
        now = self._now()
        numbers, digests, pairs = _packed(entries_of(versions))
        args: list[Argument] = [now, route, new_id(route, now), numbers, digests, *pairs]
        calls = [("SADD", self._keys.routes(), route), self._store.call("redrive", [self._keys.route(route)], args)]
        return int((await self._store.send(calls))[1])

    async def forgive(self, route: str, keys: Sequence[str]) -> int:
        """That these failed is taken back: the next scan counts and tries them anew, if it lists them. How many had failed."""
        digests = b"".join([digest(key_bytes(key)) for key in keys])
        return int(await self._run("forgive", route, [self._now(), digests]))

    async def _run(self, script: str, route: str, args: Sequence[Argument]) -> Any:
        return await self._store.run(script, [self._keys.route(route)], args)

    def _now(self) -> int:
        return int(self._clock())


def entries_of(versions: Sequence[tuple[str, str]]) -> Entries:
    """Of pairs of an object's key and the token of its version."""
    stored = keys_bytes([key for key, _ in versions])
    return [(key, digest(key), pack_token(token)) for key, (_, token) in zip(stored, versions, strict=True)]


def _packed(entries: Entries) -> tuple[bytes, bytes, list[bytes]]:
    """Numbers and digests, one after the other, and keys and tokens in turn."""
    numbers, digests = placed([each for _, each, _ in entries])
    return numbers, digests, [part for key, _, token in entries for part in (key, token)]


def _by_route(items: Sequence[Missed | HandedOver]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(item.route, []).append(index)
    return groups
