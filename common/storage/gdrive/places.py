"""Where a key is on Drive: the file that is there, or the id that a new one will have.

A file's id is generated and agreed on before its first byte is sent. So whoever sends it a second time, after a lost answer, in
another worker, from a message that came twice, is refused by Drive (409) instead of making a second file of the same name. The
agreement is kept until the file has been proven and an hour longer: then the file is found by its name.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import PreconditionFailed
from common.storage.base import Absent
from common.storage.gdrive import names
from common.storage.gdrive.resource import version

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.location import Location
    from common.storage.base import Precondition
    from common.storage.gdrive.control import Drive
    from common.storage.gdrive.folders import Folders, Ids

KEPT_SECONDS = 3600.0
"""An agreement that has done its work: Drive's search may lag, and a worker that looked before may still be about to write."""
VACANT_SECONDS = 60.0
"""How long a look that found nothing is believed by the write that follows it. Whoever wrote in between has left an agreement."""
_MOST_VACANT = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where to write. `old` is the file that is there, and gets a new revision; None for a new file."""

    key: str
    id: str
    parent: str
    old: dict[str, Any] | None


class Places:
    def __init__(
        self, drive: Drive, location: Location, folders: Folders, ids: Ids, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._drive = drive
        self._location = location
        self._folders = folders
        self._ids = ids
        self._clock = clock
        self._vacant: dict[str, float] = {}

    async def find(self, key: str) -> dict[str, Any] | None:
        """The file that is the key, as it is now; None if there is none."""
        *path, last = key.split("/")
        parent = await self._folders.find(path)
        found = None if parent is None else await self._in(parent, last)
        if found is None:
            self._remember_vacant(key)
        return found

    async def take(self, key: str, precondition: Precondition) -> Place:
        """Where to write the key. Raises PreconditionFailed when something else is there than the writer assumes."""
        *path, last = key.split("/")
        parent = await self._folders.make(path)
        if not isinstance(precondition, Absent):
            return Place(key, *await self._unchanged(key, parent, precondition))
        since = self._vacant.pop(key, None)
        if (since is None or self._clock() - since > VACANT_SECONDS) and await self._in(parent, last) is not None:
            raise PreconditionFailed(f"{self._location.url(key)!r} is there already")
        agreed = await self._drive.shared.agree(_note(parent, last), await self._ids.take())
        return Place(key, agreed, parent, None)

    async def still_free(self, place: Place) -> None:
        """Raises PreconditionFailed when somebody has written there since the place was taken."""
        if place.old is None:
            if await self._in(place.parent, place.key.rpartition("/")[2]) is not None:
                raise PreconditionFailed(f"{self._location.url(place.key)!r} has come meanwhile")
            return
        found = await self._folders.look(place.id)
        if found is None or found.get("trashed") or version(found) != version(place.old):
            raise PreconditionFailed(f"{self._location.url(place.key)!r} has changed meanwhile")

    async def written(self, place: Place) -> None:
        """The file is there and proven: it can be found by its name from now on."""
        if place.old is None:
            await self._drive.shared.forget(_note(place.parent, place.key.rpartition("/")[2]), place.id, KEPT_SECONDS)

    async def refused(self, place: Place) -> None:
        """The id of a new file is taken (409). If the file is not there, somebody has deleted it for good, and its id is used up:
        the next one needs an id of its own.
        """
        if place.old is None and await self._folders.look(place.id, "id") is None:
            await self._drive.shared.forget(_note(place.parent, place.key.rpartition("/")[2]), place.id)

    async def again(self, key: str, file_id: str, precondition: Precondition) -> Place:
        """The place of an upload that was begun before, perhaps by another process."""
        parent = await self._folders.make(key.split("/")[:-1])
        if isinstance(precondition, Absent):
            return Place(key, file_id, parent, None)
        return Place(key, *await self._unchanged(key, parent, precondition))

    async def _unchanged(self, key: str, parent: str, precondition: Precondition) -> tuple[str, str, dict[str, Any]]:
        """(id, parent, resource) of the file that the precondition speaks of, if it still is what it says."""
        if isinstance(precondition, Absent):
            raise TypeError("nothing is nothing")
        seen = precondition.version
        last = key.rpartition("/")[2]
        found = await self._folders.look(seen.id) if seen.id else await self._in(parent, last)
        if found is None or not self._is_at(found, parent, last) or version(found).token != seen.token:
            raise PreconditionFailed(f"{self._location.url(key)!r} is not the version that was seen")
        return str(found["id"]), parent, found

    async def _in(self, parent: str, last: str) -> dict[str, Any] | None:
        note = _note(parent, last)
        agreed = await self._drive.shared.recall(note)
        if agreed is not None:
            found = await self._folders.look(agreed)
            if found is not None and self._is_at(found, parent, last):
                return found
            if found is not None:  # somebody has thrown it away, renamed it or moved it: the next one needs an id of its own
                await self._drive.shared.forget(note, agreed)
        return await self._folders.search(parent, names.name(last), folder=False)

    def _is_at(self, found: dict[str, Any], parent: str, last: str) -> bool:
        return not found.get("trashed") and found.get("name") == names.name(last) and parent in found.get("parents", [parent])

    def _remember_vacant(self, key: str) -> None:
        if len(self._vacant) >= _MOST_VACANT:
            del self._vacant[next(iter(self._vacant))]
        self._vacant[key] = self._clock()


def _note(parent: str, last: str) -> str:
    return f"file:{parent}:{last}"
