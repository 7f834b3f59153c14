"""The objects of one page of a listing, as columns: what is compared for every object is a list of texts, and an object is made
only when it is asked for.

A sweep over a million objects that have not changed compares a million keys and versions and looks at nothing else; making an
object of each would cost more than all the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from common.objects import StoredObject

if TYPE_CHECKING:
    from collections.abc import Callable


class Listed(Sequence[StoredObject]):
    """`keys`, `tokens` (of the versions) and `sizes` belong together by position; `make` gives the object at a position.

    A part of it, by slice or `pick`, is one as well. Equal to another sequence of the same objects is what has the same objects.
    """

    __slots__ = ("_make", "keys", "sizes", "tokens")

    def __init__(
        self, keys: Sequence[str], tokens: Sequence[str], sizes: Sequence[int], make: Callable[[int], StoredObject]
    ) -> None:
        self.keys = keys
        self.tokens = tokens
        self.sizes = sizes
        self._make = make

    @classmethod
    def of(cls, objects: Sequence[StoredObject]) -> Listed:
        """The same objects; of a backend that has made them already, too."""
        if isinstance(objects, cls):
            return objects
        return cls(
            [item.key for item in objects],
            [item.version.token for item in objects],
            [item.size for item in objects],
            objects.__getitem__,
        )

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> StoredObject: ...
    @overload
    def __getitem__(self, place: slice) -> Listed: ...
    def __getitem__(self, place: int | slice) -> StoredObject | Listed:
        places = range(len(self.keys))[place]
        return self._make(places) if isinstance(places, int) else self.pick(places)

    def pick(self, places: Sequence[int]) -> Listed:
        """The objects at these positions."""
        make = self._make
        return Listed(
            [self.keys[place] for place in places],
            [self.tokens[place] for place in places],
            [self.sizes[place] for place in places],
            lambda place: make(places[place]),
        )
