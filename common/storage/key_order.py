"""The orders in which services list keys, and a listing that has to go forward in one of them.

S3 and GCS promise the order of the keys' UTF-8 bytes. Others that speak their protocols sort by the segments of the path
(SeaweedFS 4.48 walks its directories: "a/c" comes before "a-b") or by UTF-16 (servers that compare strings as Java does).
"""

from __future__ import annotations

from operator import lt
from typing import TYPE_CHECKING

from common.errors import Inconsistent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Sortable = Callable[[Sequence[str]], Sequence[str] | Sequence[bytes]]


def order(key: str) -> bytes:
    """Keys are listed in the order of these bytes, which for a key that is no Unicode text is not the order of the text."""
    try:
        return key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return key.encode("utf-8", "surrogatepass")


def _by_bytes(keys: Sequence[str]) -> Sequence[str] | Sequence[bytes]:
    """A text without surrogates sorts as its bytes do."""
    return keys if "".join(keys).isascii() else [order(key) for key in keys]


def _by_segments(keys: Sequence[str]) -> Sequence[str] | Sequence[bytes]:
    return _by_bytes([key.replace("/", "\0") for key in keys])


def _by_utf16(keys: Sequence[str]) -> Sequence[str] | Sequence[bytes]:
    return keys if "".join(keys).isascii() else [key.encode("utf-16-be", "surrogatepass") for key in keys]


BYTES = "bytes"
ORDERS: dict[str, Sortable] = {BYTES: _by_bytes, "segments": _by_segments, "UTF-16": _by_utf16}


def go_forward(keys: Sequence[str], after: str | None = None) -> bool:
    """Whether the keys follow `after` and each other in the order of their bytes."""
    return _ascends(_by_bytes(keys if after is None else [after, *keys]))


class Forward:
    """Holds the pages of one listing against each other; raises Inconsistent for one that brings nothing new or goes back.

    `service` is what errors name; everything is to come behind `after`. A service whose first page is in none of the orders has
    an order of its own: then a page must share no key with the one before it, nor with some earlier ones. In memory: two pages.
    """

    def __init__(self, service: str, after: str | None = None) -> None:
        self._service = service
        self._orders = set(ORDERS)
        self._last = after
        self._pages = 0
        self._before: Sequence[str] = ()
        self._marked: Sequence[str] = ()
        self._next_mark = 1

    @property
    def by_bytes(self) -> bool:
        """So far."""
        return BYTES in self._orders

    def follows(self, keys: Sequence[str]) -> bool:
        """Whether `page` would take them."""
        return bool(self._holding(keys)) or not self._orders or not (self._pages or _in_some_order(keys))

    def page(self, keys: Sequence[str]) -> None:
        """The next page that is not empty. Call it once for each."""
        self._pages += 1
        holding = self._holding(keys)
        if not holding:
            if self._orders and (self._pages > 1 or _in_some_order(keys)):
                raise Inconsistent(self._fault(keys))
            self._look_for_repetition(keys)
        self._orders = holding
        self._last, self._before = keys[-1], keys

    def _holding(self, keys: Sequence[str]) -> set[str]:
        run = keys if self._last is None else [self._last, *keys]
        return {name for name in self._orders if _ascends(ORDERS[name](run))}

    def _look_for_repetition(self, keys: Sequence[str]) -> None:
        """Brent's search for a cycle: one page is kept, and exchanged for the newest at each power of two."""
        again = set(self._before).intersection(keys) or set(self._marked).intersection(keys)
        if again:
            raise Inconsistent(f"{self._place()} brings {min(again)!r} for the second time: the service repeats itself")
        if self._pages == self._next_mark:
            self._marked, self._next_mark = keys, 2 * self._pages

    def _fault(self, keys: Sequence[str]) -> str:
        return (
            f"{self._place()} goes from {keys[0]!r} to {keys[-1]!r}, and what came before it ended with {self._last!r}: the keys "
            "do not go forward, so the service has repeated something, or left something out"
        )

    def _place(self) -> str:
        return f"cannot list {self._service!r}: page {self._pages}"


class Tokens:
    """The tokens that lead a listing from page to page; raises Inconsistent where one leads to where the listing has been."""

    def __init__(self, service: str) -> None:
        self._service = service
        self.next: str | None = None
        """The one that the next request is to follow."""
        self.pages = 0
        self._marked: str | None = None
        self._next_mark = 1

    def came(self, token: str | None) -> None:
        """With the next answer; None where it has none, or is the last. Call it once for each."""
        self.pages += 1
        if token is not None and token in (self.next, self._marked):
            raise Inconsistent(
                f"cannot list {self._service!r}: there is more behind page {self.pages}, and the answer does not say where: its "
                "token is one that has been followed before"
            )
        if self.pages == self._next_mark:
            self._marked, self._next_mark = token, 2 * self.pages
        self.next = token


def leads_on(service: str, token: str | None, following: str | None) -> str | None:
    """The token behind an answer to one with `token`. Raises Inconsistent where it leads to the same answer again."""
    if following is not None and following == token:
        raise Inconsistent(
            f"cannot list {service!r}: there is more, and the answer does not say where: its token is the one it answers"
        )
    return following


def _in_some_order(keys: Sequence[str]) -> bool:
    return any(_ascends(sortable(keys)) for sortable in ORDERS.values())


def _ascends(values: Sequence[str] | Sequence[bytes]) -> bool:
    return all(map(lt, values, values[1:]))
