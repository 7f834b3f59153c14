"""What `[route.storage_classes]` says, held against the classes that both ends have: a misspelt one would be refused for every
object of that class, or never be met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.storage.metadata import CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from common.config import Route
    from common.settings_sources import Gathered


def check(gathered: Gathered, routes: Sequence[Route]) -> Iterator[str]:
    for route in routes:
        for fault in _faults(route):
            yield f"{gathered.file}: route {route.name!r}: {fault}"


def _faults(route: Route) -> Iterator[str]:
    there, here = CLASSES.get(route.source.scheme), CLASSES.get(route.destination.scheme)
    for of, to in route.storage_classes.items():
        if there is None:
            yield f"storage_classes: {route.source} has no storage classes: take {of!r} out"
        elif of not in there:
            yield f"storage_classes: {of!r} is no class of {route.source}: write one of {', '.join(sorted(there))}"
        if to and here is None:
            yield f'storage_classes: {route.destination} has no storage classes: write {of} = "", or take it out'
        elif to and here is not None and to not in here:
            yield f"storage_classes: {to!r} is no class of {route.destination}: write one of {', '.join(sorted(here))}"
