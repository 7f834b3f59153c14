"""How one object will be moved: whole in one put, or in parts of which size, and what the destination may hold beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import TooLarge
from common.objects import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.storage.base import Limits


@dataclass(frozen=True, slots=True)
class Plan:
    """`part_bytes` is None for one put; otherwise every part but the last has this size."""

    size: int
    part_bytes: int | None = None

    @property
    def most_held(self) -> int:
        """Bytes of memory that the step with the largest buffers needs: a put holds the object and the request made of it."""
        return 2 * self.size if self.part_bytes is None else self.part_bytes

    def spans(self) -> Iterator[Span]:
        """The parts in order. A whole put has none."""
        if self.part_bytes is not None:
            for start in range(0, self.size, self.part_bytes):
                yield Span(start, min(start + self.part_bytes, self.size))


def plan(key: str, size: int, destination: Limits, part_bytes: int) -> Plan:
    """One put for what fits into a part and a put; parts of at least `part_bytes` for the rest, larger where the destination
    takes few.

    Raises TooLarge when the destination cannot hold the object, however it is cut.
    """
    if size > destination.largest_object:
        raise TooLarge(f"{key!r} has {size} bytes, the destination holds objects of at most {destination.largest_object}")
    if size <= min(part_bytes, destination.largest_put):
        return Plan(size)
    multiple = destination.part_multiple
    wanted = max(part_bytes, destination.smallest_part, -(-size // destination.most_parts))
    return Plan(size, -(-wanted // multiple) * multiple)
