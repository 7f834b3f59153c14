"""A location as a tree of folders that is read: which folder it is, what is in a folder, and which file a key means.

Drive has no paths. A file knows the id of its folder, and a folder the id of the one above; names are text that may be there
twice. So a key is found segment by segment, and folders that were found are remembered until they turn out to be wrong.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from common.errors import LocationMissing, SourceMissing, Unavailable
from common.objects import UNSIZED
from common.storage.base import Fault
from common.storage.gdrive import names
from common.storage.gdrive.natives import FORMATS, Natives
from common.storage.gdrive.quota import UNITS_LIST
from common.storage.gdrive.resource import FIELDS, FOLDER, NATIVE, SHORTCUT, stored
from common.storage.key_order import leads_on
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from common.config import StoreOptions
    from common.location import Location
    from common.objects import StoredObject
    from common.storage.gdrive.control import Drive

log = get_logger(__name__)

Resource = dict[str, Any]

PAGE = 1000
REMEMBERED = 10_000
"""Folders; about 300 bytes each."""
SHORTCUTS_DEEP = 3
"""Shortcuts to folders that are followed one behind the other. Two folders with a shortcut to each other have no end."""
_AT_ONCE = 8
_NAMES_AT_ONCE = 20
"""In one query."""
_ROBOT = ".gserviceaccount.com"
_PLACE = "id,name,mimeType,parents,trashed,driveId,createdTime,shortcutDetails(targetId,targetMimeType)"


class Kind(Enum):
    FOLDER = "folder"
    FILE = "file"


@dataclass(frozen=True, slots=True, eq=False)
class Folder:
    """A folder on its path. `id` is where its files are, `item` what stands in the folder above: a shortcut has two ids."""

    id: str
    item: str
    prefix: str
    """What the keys of its files begin with: "" or ending with "/"."""
    above: Folder | None = None
    shortcuts: int = 0

    def chain(self) -> tuple[str, ...]:
        """The items on the way here, from below the location on."""
        return () if self.above is None else (*self.above.chain(), self.item)

    def leads_to(self, folder_id: str) -> bool:
        """Whether this is that folder, or a part of it by the path that was taken."""
        here: Folder | None = self
        while here is not None:
            if here.id == folder_id:
                return True
            here = here.above
        return False


class Tree:
    """Used by many coroutines at once. `follow` shortcuts or leave them out; `natives` says which documents are files."""

    def __init__(self, drive: Drive, location: Location, options: StoreOptions) -> None:
        self.drive = drive
        self.location = location
        self.natives = Natives.of(options)
        self.follow = options.shortcuts == "follow"
        self.drive_id: str | None = None
        """The shared drive that the location is in; known with `root`."""
        self._root: Folder | None = None
        self._finding = asyncio.Lock()
        self._known: OrderedDict[tuple[str, str], Folder] = OrderedDict()

    async def root(self) -> Folder:
        """The location's own folder. Raises LocationMissing when there is none."""
        if self._root is None:
            async with self._finding:
                if self._root is None:
                    self._root = await self._find_root()
        return self._root

    async def children(
        self, parents: Sequence[Folder], token: str | None, fields: str = FIELDS
    ) -> tuple[list[Resource], str | None]:
        """One page of what is in these folders, and the token of the next; None at the last."""
        among = " or ".join(f"{quoted(parent)} in parents" for parent in dict.fromkeys(folder.id for folder in parents))
        return await self._search(f"({among}) and trashed = false", token, fields)

    async def find(self, key: str) -> Resource | None:
        """The file that the key means; what a shortcut leads to in its place. None if there is none.

        A folder that was remembered may be another by now: what is not found that way is looked for once more.
        """
        remembered = bool(self._known) or self._root is not None
        found = await self._find(key)
        if found is None and remembered:
            self._known.clear()
            self._root = None
            found = await self._find(key)
        return found

    async def named(
        self, parent: Folder, segments: Iterable[str], kind: Kind, there: Iterable[Resource] = ()
    ) -> dict[str, Resource]:
        """Of these segments below a folder, those that are there. All that are called alike are looked at: the oldest has the
        plain name. `there`: what is known to be in the folder, whatever the search finds.
        """
        plain = {names.name(names.apart(segment)[0]) for segment in segments}
        wanted = sorted({each for name in plain for each in (self.natives.listed_from(name) if kind is Kind.FILE else [name])})
        items: list[Resource] = [*there]
        for start in range(0, len(wanted), _NAMES_AT_ONCE):
            together = wanted[start : start + _NAMES_AT_ONCE]
            try:
                found = await self._called(parent, together)
                if not found and len(together) > 1:  # no answer about several is a proof that there is nothing
                    found = [item for name in together for item in await self._called(parent, [name])]
            except SourceMissing:
                return {}  # the folder is gone
            items += found
        alike = {item["id"]: item for item in items if self.kind(item) is kind}
        return {segment: alike[item] for item, segment in names.told_apart(self.entry(each) for each in alike.values()).items()}

    def kind(self, item: Resource) -> Kind | None:
        """What the item is to us; None for what is left out."""
        kind = item["mimeType"]
        if kind == SHORTCUT:
            kind = item.get("shortcutDetails", {}).get("targetMimeType", SHORTCUT) if self.follow else SHORTCUT
        if kind == FOLDER:
            return Kind.FOLDER
        return None if kind.startswith(NATIVE) and self.natives.export(kind) is None else Kind.FILE

    def entry(self, item: Resource) -> tuple[str, str, str]:
        """(name, createdTime, id), for `names.told_apart`; the name as it is listed."""
        kind = item["mimeType"]
        if kind == SHORTCUT:
            kind = item.get("shortcutDetails", {}).get("targetMimeType", kind)
        return self.natives.listed_as(item["name"], kind), item.get("createdTime", ""), item["id"]

    def segment(self, item: Resource) -> str:
        """What the item is called in a key if nothing else is called like it."""
        return names.segment(self.entry(item)[0])

    def below(self, above: Folder, segment: str, item: Resource) -> Folder | None:
        """The folder that an item of kind FOLDER is; None for a shortcut that leads back to where we come from."""
        leads = item["mimeType"] == SHORTCUT
        target = item["shortcutDetails"]["targetId"] if leads else item["id"]
        if leads and (above.shortcuts >= SHORTCUTS_DEEP or above.leads_to(target)):
            return None
        return Folder(target, item["id"], f"{above.prefix}{segment}/", above, above.shortcuts + leads)

    async def targets(self, items: Sequence[Resource]) -> dict[str, Resource]:
        """What the shortcuts among these files lead to, by the id of the shortcut, without those whose target is gone."""
        shortcuts = [item for item in items if item["mimeType"] == SHORTCUT]
        room = asyncio.Semaphore(_AT_ONCE)

        async def look(item: Resource) -> Resource | None:
            async with room:
                return await self.get(item["shortcutDetails"]["targetId"])

        found = await asyncio.gather(*(look(item) for item in shortcuts))
        return {
            item["id"]: target for item, target in zip(shortcuts, found, strict=True) if target and self.kind(target) is Kind.FILE
        }

    async def get(self, file_id: str, fields: str = FIELDS) -> Resource | None:
        """The file of that id; None if it is gone or in the trash."""
        request = self.drive.files.get(fileId=file_id, fields=fields, supportsAllDrives=True)
        try:
            found = await self.drive.call(request, "look at", f"gdrive://{file_id}")
        except SourceMissing:
            return None
        return None if found.get("trashed") else found

    def listed(self, item: Resource, key: str) -> StoredObject | Fault:
        """The same for a listing: a file that is described as none can be fails alone."""
        try:
            return self.stored(item, key)
        except Unavailable as error:
            return Fault(key, error)

    def stored(self, item: Resource, key: str) -> StoredObject:
        """The object that a file is; of a document the export that will be made of it."""
        try:
            found = stored(item, key)
        except (KeyError, ValueError, TypeError) as error:
            raise Unavailable(f"cannot use {self.name(key)!r}: Drive describes the file without {error}") from error
        export = self.natives.export(item["mimeType"])
        if export is None:
            return found
        kind = "application/json" if export == FORMATS["json"] else export
        return replace(found, size=UNSIZED, headers=replace(found.headers, content_type=kind))

    def name(self, key: str) -> str:
        return self.location.url(key)

    async def _called(self, parent: Folder, wanted: Sequence[str]) -> list[Resource]:
        """Everything in the folder that has one of these names."""
        called = " or ".join(f"name = {quoted(name)}" for name in wanted)
        query = f"{quoted(parent.id)} in parents and trashed = false and ({called})"
        items, token = await self._search(query, None, FIELDS)
        while token is not None:
            page, token = await self._search(query, token, FIELDS)
            items += page
        return items

    async def _search(self, query: str, token: str | None, fields: str) -> tuple[list[Resource], str | None]:
        given: dict[str, Any] = {"q": query, "pageSize": PAGE, "fields": f"nextPageToken,incompleteSearch,files({fields})"}
        if token is not None:
            given["pageToken"] = token
        if self.drive_id is not None:
            given |= {"corpora": "drive", "driveId": self.drive_id}
        request = self.drive.files.list(supportsAllDrives=True, includeItemsFromAllDrives=True, **given)
        answer = await self.drive.call(request, "list", str(self.location), UNITS_LIST)
        if answer.get("incompleteSearch"):
            raise Unavailable(
                f"cannot list {self.location}: Drive could not search everything (incompleteSearch); files may be missing"
            )
        return answer.get("files", []), leads_on(str(self.location), token, answer.get("nextPageToken"))

    async def _find(self, key: str) -> Resource | None:
        *path, last = key.split("/")
        folder: Folder | None = await self.root()
        for segment in path:
            folder = await self._folder(folder, segment) if folder is not None else None
        if folder is None:
            return None
        item = (await self.named(folder, [last], Kind.FILE)).get(last)
        return (await self.targets([item])).get(item["id"]) if item and item["mimeType"] == SHORTCUT else item

    async def _folder(self, above: Folder, segment: str) -> Folder | None:
        place = (above.id, segment)
        if place in self._known:
            self._known.move_to_end(place)
            return self._known[place]
        item = (await self.named(above, [segment], Kind.FOLDER)).get(segment)
        found = self.below(above, segment, item) if item else None
        if found is not None:
            self._known[place] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found

    async def _find_root(self) -> Folder:
        request = self.drive.files.get(fileId=self.location.bucket, fields=_PLACE, supportsAllDrives=True)
        try:
            item = await self.drive.call(request, "open", f"gdrive://{self.location.bucket}")
        except SourceMissing as error:
            raise LocationMissing(str(error)) from error
        if item["mimeType"] != FOLDER or item.get("trashed"):
            what = "in the trash" if item.get("trashed") else "no folder"
            raise LocationMissing(
                f"gdrive://{self.location.bucket} is {what}: write the id of a folder, of a shared drive, or root"
            )
        self.drive_id = item.get("driveId")
        if self.location.bucket == "root" and (await self.drive.user()).email.endswith(_ROBOT):
            log.warning(
                "this is the service account's own Drive, which nobody else sees: share a folder with it and name its id",
                action="drive_own_root",
                location=str(self.location),
            )
        here = Folder(item["id"], item["id"], "")
        for segment in self.location.prefix.split("/")[:-1]:
            below = (await self.named(here, [segment], Kind.FOLDER)).get(segment)
            if below is None:
                raise LocationMissing(f"there is no folder {segment!r} on the way to {self.location}")
            target = below["shortcutDetails"]["targetId"] if below["mimeType"] == SHORTCUT else below["id"]
            here = Folder(target, target, "")
        return here


def quoted(text: str) -> str:
    """A string of Drive's search language (https://developers.google.com/workspace/drive/api/guides/ref-search-terms)."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
