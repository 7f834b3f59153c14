"""How a service spells the keys of a listing that does not say so.

We ask for percent-encoded keys, and an answer that repeats the question (`<EncodingType>`) has them. One that does not may have
them as they are, encoded as a form is ("+" for a space), or encoded with "+" as it is; read under a wrong spelling an object
is missing. So where the spellings differ the service is asked for the object itself, by the names that it would have.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from urllib.parse import unquote

from common.storage.s3_listing import decoded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    Spelling = Callable[[Sequence[str]], Sequence[str]]
    Exists = Callable[[str], Awaitable[bool]]

MOST_ASKED = 8
"""Keys of one page that are asked for: where none of so many is found under any name, more questions do not help."""


def _as_sent(keys: Sequence[str]) -> Sequence[str]:
    return keys


def _percent(keys: Sequence[str]) -> Sequence[str]:
    return [unquote(key, errors="surrogateescape") for key in keys]


SPELLINGS: Mapping[str, Spelling] = {"plain": _as_sent, "form": decoded, "percent": _percent}


class Spelt:
    """What is known of one bucket's listings, for one run. `exists` looks for an object by its whole key."""

    def __init__(self, exists: Exists) -> None:
        self._exists = exists
        self._possible = dict(SPELLINGS)

    async def names(self, sent: Sequence[str], prefix: str) -> list[str | None]:
        """The keys as they are at the service; None for each of which that cannot be told. All begin with `prefix`, or the
        service has not kept it.
        """
        spelt = {name: self._possible[name](sent) for name in self._possible}
        below = {name for name, keys in spelt.items() if all(key.startswith(prefix) for key in keys)}
        self._leave(below - _impossible(sent) or below)
        await self._ask(spelt)
        left = [spelt[name] for name in self._possible]
        return [names[0] if len(set(names)) == 1 else None for names in zip(*left, strict=True)]

    async def _ask(self, spelt: Mapping[str, Sequence[str]]) -> None:
        for place in self._telling(spelt):
            by_name: dict[str, set[str]] = defaultdict(set)
            for name in self._possible:
                by_name[spelt[name][place]].add(name)
            if len(by_name) == 1:
                continue
            found = [spellings for key, spellings in by_name.items() if await self._exists(key)]
            if len(found) < len(by_name) and found:
                self._leave(set().union(*found))

    def _telling(self, spelt: Mapping[str, Sequence[str]]) -> Iterator[int]:
        """Places of keys whose name depends on the spelling."""
        asked = 0
        for place, names in enumerate(zip(*spelt.values(), strict=True)):
            if len(set(names)) > 1 and asked < MOST_ASKED and len(self._possible) > 1:
                asked += len({spelt[name][place] for name in self._possible}) > 1
                yield place

    def _leave(self, spellings: set[str]) -> None:
        left = {name: spelling for name, spelling in self._possible.items() if name in spellings}
        self._possible = left or self._possible


def _impossible(sent: Sequence[str]) -> set[str]:
    """A form has no "%20", because it has a plus for a space; and where a plus is itself nothing is written "%2B".
    (Where both are, and no plus, everything is encoded, as encodeURIComponent does it.)
    """
    together = "\0".join(sent).upper()
    impossible = {"form"} if "%20" in together else set()
    return impossible | {"percent"} if "%2B" in together and "+" in together else impossible
