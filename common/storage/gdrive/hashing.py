"""Drive's own hash of a file against the bytes that came of it: at once where they came together, else part by part.

Drive sends no checksum with a part. So the parts of a file are hashed one behind the other as they come, and the last one shows
whether all are right. A part that comes early waits for those before it that are on their way; its bytes are paid for by whoever
asked for them. Where the chain breaks, because another process read the beginning or a part had to be asked for again, nothing
can be compared but the size and the version of the file, as ever.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.errors import ChecksumMismatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.objects import Span
    from common.storage.gdrive.tree import Resource

REMEMBERED = 256
"""Files whose parts are under way, or were given up."""
_AT_ONCE = 1024 * 1024
"""Bytes; to hash more takes milliseconds, and is done beside the event loop."""
_KINDS = ("sha256", "md5")


@dataclass(slots=True)
class _Chain:
    """The hash of a file's bytes before `next`. `reading` has where the parts begin that are on their way."""

    next: int = 0
    broken: bool = False
    hash: Any = None
    reading: set[int] = field(default_factory=set)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class Part:
    """Bytes on their way, from `start` on."""

    def __init__(self, chain: _Chain | None, start: int) -> None:
        self._chain = chain
        self._start = start

    async def arrived(self, data: bytes, resource: Resource, name: str) -> None:
        """Raises ChecksumMismatch with the last bytes of the file if they are not, all together, what Drive has."""
        chain, end, size = self._chain, self._start + len(data), int(resource.get("size", 0))
        kind = next((kind for kind in _KINDS if resource.get(f"{kind}Checksum")), None)
        if kind is None or (chain is None and len(data) != size):
            return
        if chain is None:
            _compare(await _hashed(hashlib.new(kind, usedforsecurity=False), data), kind, resource, name)
            return
        async with chain.changed:
            await chain.changed.wait_for(lambda: self._may_go_on(chain))
            if end <= chain.next:
                return
            chain.broken |= self._start != chain.next
            if not chain.broken:
                chain.hash = await _hashed(chain.hash or hashlib.new(kind, usedforsecurity=False), data)
                chain.next = end
        if end == size and not chain.broken:
            chain.broken = True
            _compare(chain.hash, kind, resource, name)

    def _may_go_on(self, chain: _Chain) -> bool:
        """It is next, or never will be: nobody is reading what lies before it."""
        return chain.broken or self._start <= chain.next or self._start == min(chain.reading)


class Hashes:
    """Of the files that one reader reads. Belongs to one event loop."""

    def __init__(self) -> None:
        self._chains: OrderedDict[tuple[str, str], _Chain] = OrderedDict()

    @asynccontextmanager
    async def part(self, file_id: str, token: str, span: Span | None) -> AsyncIterator[Part]:
        """Around the request for a part; `Part.arrived` belongs inside."""
        chain = self._chain(file_id, token, span.start) if span is not None else None
        if span is None or chain is None:
            yield Part(None, 0)
            return
        chain.reading.add(span.start)
        try:
            yield Part(chain, span.start)
        finally:
            chain.reading.discard(span.start)
            async with chain.changed:
                chain.changed.notify_all()

    def _chain(self, file_id: str, token: str, start: int) -> _Chain | None:
        chain = self._chains.pop((file_id, token), None)
        if start == 0:  # whoever reads the beginning begins anew
            chain = _Chain()
        if chain is not None:
            self._chains[file_id, token] = chain
            if len(self._chains) > REMEMBERED:
                self._chains.popitem(last=False)
        return chain


async def _hashed(hashing: Any, data: bytes) -> Any:
    if len(data) > _AT_ONCE:
        await asyncio.to_thread(hashing.update, data)
    else:
        hashing.update(data)
    return hashing


def _compare(hashing: Any, kind: str, resource: Resource, name: str) -> None:
    if hashing.hexdigest() != resource[f"{kind}Checksum"].lower():
        raise ChecksumMismatch(f"cannot read {name!r}: the bytes do not match the {kind.upper()} that Drive keeps of them")
