"""Folders by their path: found, or made exactly once, however many workers want the same one at the same moment.

Names are not unique on Drive, and "look, then create" by two workers makes two folders. So an id is generated first and
agreed on by the fleet before anybody creates: whoever creates second uses the same id, is told 409, and knows that the
folder is there. What the agreement leads to is looked at before it is believed; without one (Redis was lost, or somebody
else made the folder) the folder is found by its name, and of several the oldest is taken, as a reader does.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from common.errors import LocationMissing, PreconditionFailed, SourceMissing, Unavailable
from common.storage.gdrive import names
from common.storage.gdrive.quota import UNITS_GET, UNITS_LIST, UNITS_WRITE
from common.storage.gdrive.resource import FIELDS, FOLDER, NATIVE
from common.storage.key_order import leads_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.location import Location
    from common.storage.gdrive.control import Drive

BELIEVED_SECONDS = 300.0
"""How long a folder that was seen is believed to be still where it was."""
REMEMBERED = 10_000
"""Folders; about 300 bytes each."""
LOOKS = 5
"""Before it is taken for a quarrel: somebody keeps deleting what we make."""
_IDS = 100
"""Generated in one call (1,000 at most) and used up one by one; ids that nobody uses cost nothing."""


@dataclass(frozen=True, slots=True)
class Root:
    """The folder that a location begins with. `drive` is the id of the shared drive that it is on; None in My Drive."""

    id: str
    drive: str | None
    writable: bool


class Ids:
    """New ids for files and folders, which Drive refuses to use twice."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive
        self._left: list[str] = []
        self._asking = asyncio.Lock()

    async def take(self) -> str:
        async with self._asking:
            if not self._left:
                request = self._drive.files.generateIds(count=_IDS, space="drive", type="files")
                answer = await self._drive.call(request, "generate ids at", "Google Drive", UNITS_GET)
                self._left = [str(made) for made in answer.get("ids", [])]
            if not self._left:
                raise Unavailable("Drive was asked for new ids and gave none")
            return self._left.pop()


class Folders:
    """The folders below one location. A path is the segments of a key, those of the location's own prefix not among them."""

    def __init__(self, drive: Drive, location: Location, ids: Ids, clock: Callable[[], float] = time.monotonic) -> None:
        self._drive = drive
        self._location = location
        self._ids = ids
        self._clock = clock
        self._prefix = tuple(location.prefix.split("/")[:-1])
        self._root: Root | None = None
        self._known: dict[tuple[str, ...], tuple[str, float]] = {}
        self._locks: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()

    async def root(self) -> Root:
        """Raises LocationMissing, naming the location's id, when there is no such folder for us."""
        if self._root is None:
            bucket = self._location.bucket
            found = await self.look(bucket, "id,mimeType,trashed,driveId,capabilities(canAddChildren)")
            if found is None or found.get("trashed"):
                raise LocationMissing(
                    f"{self._location}: there is no folder or shared drive with the id {bucket!r}, or this account may not see "
                    "it: write the last part of the folder's address, and share the folder with the account"
                )
            if found.get("mimeType") != FOLDER:
                raise LocationMissing(f"{self._location}: {bucket!r} is a file: write the id of a folder")
            writable = found.get("capabilities", {}).get("canAddChildren", True)
            self._root = Root(str(found["id"]), found.get("driveId"), bool(writable))
        return self._root

    async def find(self, path: Sequence[str]) -> str | None:
        """The id of the folder; None if it is not there."""
        return await self._resolve((*self._prefix, *path), make=False)

    async def make(self, path: Sequence[str]) -> str:
        """The id of the folder, which is there afterwards, with every folder above it."""
        found = await self._resolve((*self._prefix, *path), make=True)
        if found is None:
            raise Unavailable(f"the folder {'/'.join(path)!r} below {self._location} is gone again")
        return found

    def forget(self, path: Sequence[str]) -> None:
        """What was known of this folder and those above it is wrong: look again."""
        whole = (*self._prefix, *path)
        for length in range(1, len(whole) + 1):
            self._known.pop(whole[:length], None)

    async def look(self, file_id: str, fields: str = FIELDS) -> dict[str, Any] | None:
        """The resource with this id, trashed or not; None if there is none that we may see."""
        request = self._drive.files.get(fileId=file_id, fields=fields, supportsAllDrives=True)
        try:
            return await self._drive.call(request, "look at", f"{self._location.scheme}://{file_id}", UNITS_GET)
        except SourceMissing:
            return None

    async def search(self, parent: str, name: str, *, folder: bool, fields: str = FIELDS) -> dict[str, Any] | None:
        """The oldest of the files or folders that have exactly this name in this folder; Google's own documents are neither."""
        kind = "=" if folder else "!="
        query = f"name = '{_quoted(name)}' and '{_quoted(parent)}' in parents and trashed = false and mimeType {kind} '{FOLDER}'"
        found: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            request = await self._listing(query, fields, token)
            try:
                answer = await self._drive.call(request, "search", str(self._location), UNITS_LIST)
            except SourceMissing as error:
                raise self._gone(error) from error
            if answer.get("incompleteSearch"):
                raise Unavailable(f"Drive did not search all of {self._location}: what it did not find may be there")
            found += [
                each
                for each in answer.get("files", [])
                if each.get("name") == name and (folder or not str(each.get("mimeType", "")).startswith(NATIVE))
            ]
            token = leads_on(str(self._location), token, answer.get("nextPageToken"))
            if token is None:
                return min(found, key=lambda each: (each.get("createdTime", ""), each["id"]), default=None)

    async def _listing(self, query: str, fields: str, token: str | None) -> Any:
        drive = (await self.root()).drive
        scope = {"corpora": "drive", "driveId": drive} if drive else {}
        return self._drive.files.list(
            q=query,
            fields=f"nextPageToken,incompleteSearch,files({fields})",
            pageSize=100,
            pageToken=token,
            supportsAllDrives=True,
            includeItemsFromAllDrives=True,
            **scope,
        )

    async def _resolve(self, path: tuple[str, ...], *, make: bool) -> str | None:
        """From the top down, so that of a new tree each folder is made once."""
        here: str | None = (await self.root()).id
        for length in range(1, len(path) + 1):
            if here is None:
                return None
            here = await self._step(path[:length], here, make=make)
        return here

    async def _step(self, path: tuple[str, ...], parent: str, *, make: bool) -> str | None:
        known = self._known.get(path)
        if known is not None and self._clock() - known[1] < BELIEVED_SECONDS:
            return known[0]
        lock = self._locks.setdefault(path, asyncio.Lock())
        async with lock:
            known = self._known.get(path)
            if known is not None and self._clock() - known[1] < BELIEVED_SECONDS:
                return known[0]
            found = await self._agreed(parent, path[-1], make=make)
            if found is not None:
                if len(self._known) >= REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[path] = (found, self._clock())
            return found

    async def _agreed(self, parent: str, segment: str, *, make: bool) -> str | None:
        """The folder that the fleet agrees on; agreed on and made now, if need be."""
        name, note = names.name(segment), f"folder:{parent}:{segment}"
        shared = self._drive.shared
        for _ in range(LOOKS):
            agreed = await shared.recall(note)
            if agreed is None:
                seen = await self.search(parent, name, folder=True, fields="id,name,createdTime")
                if seen is None and not make:
                    return None
                await shared.agree(note, str(seen["id"]) if seen else await self._ids.take())
                continue
            found = await self.look(agreed, "id,name,mimeType,trashed,parents")
            if found is None:
                if not make:
                    return None
                if await self._make(agreed, parent, name):
                    return agreed
                if await self.look(agreed, "id") is None:  # it was there and has been deleted: its id is used up
                    await shared.forget(note, agreed)
            elif found.get("trashed") or found.get("name") != name or parent not in found.get("parents", [parent]):
                await shared.forget(note, agreed)  # somebody has thrown it away, renamed it or moved it
            else:
                await shared.agree(note, agreed)  # so that it does not run out while it is used
                return agreed
        raise Unavailable(f"the folder {segment!r} below {self._location} is never as the last look showed it")

    async def _make(self, file_id: str, parent: str, name: str) -> bool:
        """False if somebody has made it meanwhile."""
        body = {"id": file_id, "name": name, "mimeType": FOLDER, "parents": [parent]}
        request = self._drive.files.create(body=body, fields="id", supportsAllDrives=True)
        try:
            await self._drive.call(request, "make a folder in", str(self._location), UNITS_WRITE)
        except PreconditionFailed:
            return False
        except SourceMissing as error:
            raise self._gone(error) from error
        return True

    def _gone(self, error: SourceMissing) -> Unavailable:
        """A folder that was seen has been deleted: everything is looked for again, from the top."""
        self._known.clear()
        self._root = None
        return Unavailable(f"{error}; the folder has gone")


def _quoted(text: str) -> str:
    """For a query: https://developers.google.com/workspace/drive/api/guides/search-files, "escape special characters"."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
