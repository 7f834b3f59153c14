"""What has changed since a moment, from Drive's own feed: a sweep of a large Drive that costs what the changes cost.

A change names a file and says how it is now; where it is has to be found out by way of the folders above it. A folder that was
made, moved or renamed gives everything below it another key, of which the feed says nothing: it is walked. What was deleted, or
put in the trash, is no business of a replicator that never deletes.

The feed is one for a user's own Drive, and one for each shared drive. Its tokens do not run out
(https://developers.google.com/workspace/drive/api/guides/manage-changes); one that is refused all the same makes this a walk
over everything. What the feed does not tell is seen by the next full sweep: that a file gained or lost its plain key because
another of its name came or went, and that what a shortcut leads to has changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from common.errors import Forbidden, Refused, SourceMissing, UploadLost
from common.storage.gdrive.listing import Walk
from common.storage.gdrive.quota import UNITS_LIST
from common.storage.gdrive.resource import FIELDS, SHORTCUT
from common.storage.gdrive.tree import Folder, Kind
from common.storage.key_order import leads_on
from common.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.storage.gdrive.listing import Entry
    from common.storage.gdrive.tree import Resource, Tree

log = get_logger(__name__)

MARK = "@"
"""Begins a cursor that is a place in the feed; no id of a file begins so."""
_FORGOTTEN = (Refused, SourceMissing, UploadLost)
_PAGE_FIELDS = f"nextPageToken,newStartPageToken,changes(changeType,removed,file({FIELDS}))"


async def mark(tree: Tree) -> str | None:
    """The cursor for what changes from now on; None where the account may not see the feed."""
    await tree.root()
    given = {} if tree.drive_id is None else {"driveId": tree.drive_id}
    request = tree.drive.changes.getStartPageToken(supportsAllDrives=True, **given)
    try:
        answer = await tree.drive.call(request, "look at the changes of", str(tree.location))
    except (Forbidden, SourceMissing):
        return None  # a folder of a shared drive whose member the account is not
    return f"{MARK}{answer['startPageToken']}"


class Feed:
    """A source of a listing: the files that have changed, and everything below folders that have."""

    def __init__(self, tree: Tree, where: str) -> None:
        self.ended = False
        self._tree = tree
        self._token = where.removeprefix(MARK)
        self._following: str | None = None
        self._walk: Walk | None = None
        self._everything = False
        self._begun = False
        self.left_out: Counter[str] = Counter()

    @property
    def where(self) -> str:
        return self._walk.where if self._everything and self._walk else f"{MARK}{self._token}"

    async def step(self) -> Sequence[Entry]:
        if self._walk is None:
            return await self._page()
        found = await self._walk.step()
        self.left_out.update(self._walk.left_out)
        self._walk.left_out.clear()
        self._forward()
        return found

    async def _page(self) -> Sequence[Entry]:
        """One page of the feed; the walk over the folders among it comes next."""
        await self._tree.root()
        answer = await self._asked()
        if answer is None:
            self._everything, self._walk = True, await Walk.begin(self._tree, "")
            return ()
        changed = {
            change["file"]["id"]: change["file"]
            for change in answer.get("changes", [])
            if change.get("changeType", "file") == "file" and not change.get("removed") and not change["file"].get("trashed")
        }
        paths = _Paths(self._tree)
        folders = await paths.folders([item for item in changed.values() if self._tree.kind(item) is Kind.FOLDER])
        files = [item for item in changed.values() if self._tree.kind(item) is Kind.FILE]
        found = await paths.files(files, {folder.chain() for folder in folders})
        self._following = leads_on(str(self._tree.location), self._token, answer.get("nextPageToken"))
        self._begun = True
        self._walk = Walk(self._tree, folders)
        self._forward()
        return found

    def _forward(self) -> None:
        """Behind the walk comes the next page of the feed."""
        if self._walk is not None and self._walk.ended:
            self._walk = None
            if self._following is None:
                self.ended = True
            else:
                self._token, self._following = self._following, None

    async def _asked(self) -> dict[str, Any] | None:
        """The answer; None if the token is not known any more."""
        given: dict[str, Any] = {} if self._tree.drive_id is None else {"driveId": self._tree.drive_id}
        request = self._tree.drive.changes.list(
            pageToken=self._token,
            pageSize=1000,
            fields=_PAGE_FIELDS,
            includeRemoved=False,
            supportsAllDrives=True,
            includeItemsFromAllDrives=self._tree.drive_id is not None,
            **given,
        )
        try:
            return await self._tree.drive.call(request, "look at the changes of", str(self._tree.location), UNITS_LIST)
        except _FORGOTTEN as error:
            if self._begun:
                raise
            log.warning(
                "Drive does not know any more what has changed: everything is listed",
                action="changes_forgotten",
                location=str(self._tree.location),
                error=str(error),
            )
            return None


class _Paths:
    """Where files and folders are, for one page of the feed: folders above them are looked at once."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known: dict[str, Folder | None] = {}

    async def folders(self, items: Sequence[Resource]) -> list[Folder]:
        """Those that are below the location, without those that are below another of them."""
        found = []
        for item in items:
            above = await self._above(item)
            below = await self._folder(item, above) if above is not None else None
            if below is not None:
                found.append(below)
        changed = {folder.chain() for folder in found}
        return [folder for folder in found if not _within(folder.chain(), changed)]

    async def files(self, items: Sequence[Resource], walked: set[tuple[str, ...]]) -> list[Entry]:
        """Those that are below the location, without those that are below a folder that is walked anyway."""
        tree = self._tree
        together: dict[Folder, list[Resource]] = defaultdict(list)
        for item in items:
            above = await self._above(item)
            if above is not None and not _within((*above.chain(), item["id"]), walked):
                together[above].append(item)
        targets = await tree.targets(items)
        found: list[Entry] = []
        for above, inside in together.items():
            wanted = {item["id"] for item in inside}
            for segment, item in (await self._segments(above, inside, Kind.FILE)).items():
                target = targets.get(item["id"]) if item["mimeType"] == SHORTCUT else item
                if item["id"] in wanted and target is not None:
                    found.append(tree.listed(target, above.prefix + segment))
        return found

    async def _above(self, item: Resource) -> Folder | None:
        """The folder that the item is in; None if that is not below the location, or may not be seen."""
        parent = next(iter(item.get("parents", ())), None)
        if parent is None:
            return None
        root = await self._tree.root()
        if parent == root.id:
            return root
        if parent not in self._known:
            found = await self._tree.get(parent)
            above = await self._above(found) if found is not None else None
            self._known[parent] = await self._folder(found, above) if found is not None and above is not None else None
        return self._known[parent]

    async def _folder(self, item: Resource, above: Folder) -> Folder | None:
        segments = await self._segments(above, [item], Kind.FOLDER)
        segment = next((segment for segment, each in segments.items() if each["id"] == item["id"]), None)
        return None if segment is None else self._tree.below(above, segment, item)

    async def _segments(self, above: Folder, inside: Sequence[Resource], kind: Kind) -> dict[str, Resource]:
        """What these items and those called like them are called in their folder. The search may lag behind the feed: who is not
        found is looked at, and left out only where it says itself that it is no longer there.
        """
        tree, called = self._tree, [self._tree.segment(item) for item in inside]
        segments = await tree.named(above, called, kind)
        found = {item["id"] for item in segments.values()}
        looks = [await tree.get(item["id"]) for item in inside if item["id"] not in found]
        still = [item for item in looks if item is not None and above.id in item.get("parents", ())]
        there = [item for item in still if tree.segment(item) in called]
        return await tree.named(above, called, kind, there) if there else segments


def _within(chain: tuple[str, ...], others: set[tuple[str, ...]]) -> bool:
    return any(chain[:length] in others for length in range(1, len(chain)))
