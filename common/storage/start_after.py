"""Whether a service begins a listing behind any text that it is given, found out by asking it behind texts that are no keys.

Between two keys that follow each other nothing lies; so behind any text between them the second one has to come first. Servers
fail at certain texts: SeaweedFS 4.48 at the name of a directory, of which it leaves out what is in it; others ignore all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.storage.key_order import order

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

LAST = "\U0010fffd"
"""The last character that XML may hold."""


async def begins_anywhere(
    first_key: Callable[[str], Awaitable[str | None]], after: str | None, keys: Sequence[str]
) -> bool | None:
    """`first_key` gives the first key behind a text; `keys` were listed behind `after`, in this order. At most three questions;
    None where none can be asked.
    """
    questions = {kind: (text, key) for kind, text, key in reversed(list(_questions(after, keys)))}
    for text, key in questions.values():
        if await first_key(text) != key:
            return False
    return True if questions else None


def _questions(after: str | None, keys: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Of each kind those that the keys allow: the kind, a text, and the key that has to come first behind it."""
    before = after
    for key in keys:
        for length in range(len(key) - 1, 0, -1):
            text = key[:length]
            if before is not None and order(text) <= order(before):
                break
            yield ("directory" if key[length] == "/" else "beginning"), text, key
        if before is not None:
            folder = before[: before.rfind("/") + 1]
            if not key.startswith(folder) and order(folder + LAST) < order(key):
                yield "end", folder + LAST, key
        before = key
