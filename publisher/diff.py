"""What to do with each object of a page, decided from its records alone. Pure: no clock, no network.

Read from the top; the first line that holds decides. `e` is the version token that the listing shows.

| consumed | published                           | verdict   | publish? | why                                               |
|----------|-------------------------------------|-----------|----------|---------------------------------------------------|
| e        | anything                            | UNCHANGED | no       | proved to be at the destination                   |
| not e    | e, kept by the same rule, lately    | KEPT      | no       | what is at the destination is not ours, and stays |
| not e    | e, within `republish_after` of now  | IN_FLIGHT | no       | a worker has it, or will; or it failed            |
| not e    | e, longer ago                       | OVERDUE   | yes      | the task may be lost: `published` is only a hint  |
| none     | none                                | NEW       | yes      |                                                   |
| (else) at least one of the two names another version | CHANGED | yes |                                                 |

"Not e" includes no record. A `published` that lies further ahead than `republish_after` was written by a clock that was wrong,
and counts as longer ago: otherwise one bad clock could hold an object back for years.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.state.records import Kept, Record
    from common.storage.listed import Listed


class Verdict(Enum):
    """`value` is whether the object is published."""

    UNCHANGED = ("unchanged", False)
    KEPT = ("kept", False)
    IN_FLIGHT = ("in flight", False)
    OVERDUE = ("overdue", True)
    NEW = ("new", True)
    CHANGED = ("changed", True)

    @property
    def publish(self) -> bool:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Difference:
    """What of one page is to be published and what is in flight, by position, in the order of the listing. `unchanged` is only
    counted, `kept` are the positions of what is left out because something else stays at the destination.
    """

    publish: list[int] = field(default_factory=list)
    unchanged: int = 0
    in_flight: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Keeping:
    """The route's `on_conflict`, and since when (unix seconds) what was decided by it holds: later somebody has to look again."""

    on_conflict: str = "overwrite"
    since: float = 0.0

    def holds(self, kept: Kept | None) -> bool:
        return kept is not None and kept.on_conflict == self.on_conflict and kept.at >= self.since


_OVERWRITING = Keeping()


def judge(token: str, record: Record, now: float, republish_after: float, keeping: Keeping = _OVERWRITING) -> Verdict:
    """The verdict of the table above for one object. `now` is unix seconds, like the record's times."""
    if record.consumed is not None and record.consumed.etag == token:
        return Verdict.UNCHANGED
    if record.published is not None and record.published.etag == token:
        if keeping.holds(record.published.kept):
            return Verdict.KEPT
        return Verdict.IN_FLIGHT if abs(now - record.published.at) < republish_after else Verdict.OVERDUE
    return Verdict.NEW if record.published is None and record.consumed is None else Verdict.CHANGED


def diff(
    page: Listed, known: Sequence[tuple[int, Record]], now: float, republish_after: float, keeping: Keeping = _OVERWRITING
) -> Difference:
    """Lay a page beside what is `known` of those of its objects that have not been consumed as they are: positions and records.

    All others are unchanged: the first line of the table, which Redis reads for us (`Cache.compare`).
    """
    places, in_flight, kept, unchanged = [], [], [], len(page) - len(known)
    for place, record in known:
        verdict = judge(page.tokens[place], record, now, republish_after, keeping)
        if verdict.publish:
            places.append(place)
        elif verdict is Verdict.IN_FLIGHT:
            in_flight.append(place)
        elif verdict is Verdict.KEPT:
            kept.append(place)
        else:
            unchanged += 1
    return Difference(places, unchanged, in_flight, kept)
