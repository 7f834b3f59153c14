"""Everything below a folder, page by page.

The walk is depth-first, a few folders at a time: the files of up to PARENTS folders come with one query, and the folders among
them go on the pile of those that wait. Siblings are taken in the order of their ids, which no renaming changes; so the pile is
always in the order of the paths of ids, and one path says where the walk stands: everything before it has been listed. That path
is the cursor. A walk that is resumed lists the folders on it anew, and those that were listed together with them.

Who is called alike in one folder is told apart (`names`), and that takes a look at all of them. Where the answer has one page,
all are on it. Otherwise the names are read once beforehand, as numbers, and then all is read again; what is there twice comes
last.

An answer about several folders is no proof that one of them is empty: Drive has answered such queries for some of the folders
only, or for none, and called the search complete, on and off since 2019 (https://issuetracker.google.com/issues/149522397). So
a folder of which a group brought nothing is asked for alone; what is empty then is empty.

In memory: the folders that wait (some 300 bytes each), for each file of the folders under way its number, and a page.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Protocol

from common.errors import LocationMissing, Refused, SourceMissing, Unavailable
from common.objects import StoredObject
from common.storage.base import Fault, Page
from common.storage.gdrive import names
from common.storage.gdrive.resource import SHORTCUT
from common.storage.gdrive.tree import PAGE, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.storage.gdrive.tree import Folder, Resource, Tree

Entry = StoredObject | Fault

PARENTS = 20
"""Folders in one query: what a URL of 2 KB holds."""
_NAMES = "id,name,mimeType,parents,shortcutDetails(targetId,targetMimeType)"
_CUT = "#"


class Source(Protocol):
    """What a listing is made from, a step at a time. A step that failed may be made again: nothing has changed."""

    @property
    def ended(self) -> bool: ...

    @property
    def where(self) -> str:
        """From here on everything that no step has brought yet is brought, and perhaps more."""
        ...

    @property
    def left_out(self) -> Counter[str]:
        """What the steps have left out, by reason; whoever has counted it takes it away."""
        ...

    async def step(self) -> Sequence[Entry]: ...


class Listing:
    """Pages of a source. After an error the same listing goes on where it was; `cursor` is `after` of its last page."""

    def __init__(self, source: Source, cursor: str | None) -> None:
        self.cursor = cursor
        self._source = source
        self._ready: deque[Entry] = deque()
        self._behind = ""
        self._pages = 0
        self._ended = False

    async def next(self) -> Page | None:
        """None behind the last page."""
        if self._ended:
            return None
        while len(self._ready) < PAGE and not self._source.ended:
            before = self._source.where
            self._ready.extend(await self._source.step())
            self._behind = before
        entries = [self._ready.popleft() for _ in range(min(PAGE, len(self._ready)))]
        left_out = dict(self._source.left_out)
        self._source.left_out.clear()
        self._ended = not self._ready and self._source.ended
        self._pages += 1
        behind = self._behind if self._ready else self._source.where
        self.cursor = None if self._ended else f"{behind}{_CUT}{self._pages}"
        objects = [entry for entry in entries if isinstance(entry, StoredObject)]
        return Page(objects, self.cursor, [entry for entry in entries if isinstance(entry, Fault)], left_out)


def place(after: str) -> str:
    """What a cursor says of the source: without the number that makes each page's its own."""
    return after.rpartition(_CUT)[0] if _CUT in after else after


class Walk:
    """Everything in and below these folders."""

    def __init__(self, tree: Tree, folders: Sequence[Folder]) -> None:
        self._tree = tree
        self._waiting = sorted(folders, key=_order, reverse=True)
        self.left_out: Counter[str] = Counter()
        self._alone: set[Folder] = set()
        """Of those that wait, the ones that are asked for one by one."""
        self._empty: set[str] = set()
        """Ids of folders that were asked for alone and had nothing in them; a shortcut may lead there again."""
        self._group: _Group | None = None
        self._next_group()

    @classmethod
    async def begin(cls, tree: Tree, where: str) -> Walk:
        """Behind the path `where`, or from the beginning if it is empty."""
        here = await tree.root()
        waiting = [here] if not where else []
        for item in where.split("/") if where else ():
            folders = await _folders_in(tree, here)
            waiting += [folder for folder in folders if folder.item > item]
            here = next((folder for folder in folders if folder.item == item), here)
            if here.item != item:
                break
        else:
            waiting += [here] if where else []
        return cls(tree, waiting)

    @property
    def ended(self) -> bool:
        return self._group is None

    @property
    def where(self) -> str:
        return "/".join(self._group.folders[0].chain()) if self._group is not None else ""

    async def step(self) -> Sequence[Entry]:
        if self._group is None:
            return ()
        try:
            found = await self._group.step()
        except SourceMissing as error:
            self._without_those_gone(self._group, error)
            return ()
        except Refused:
            if self._group.again or not self._group.begun:
                raise
            # A page token is good for some hours (files.list), and a scan may have rested longer.
            self._group = _Group(self._tree, self._group.folders, again=True)
            return ()
        if self._group.ended:
            silent = self._silent(self._group)
            self._alone |= silent
            self._waiting += sorted([*self._group.below, *silent], key=_order, reverse=True)
            self.left_out.update(self._group.left_out)
            self._next_group()
        return found

    def _silent(self, group: _Group) -> set[Folder]:
        """The folders of a group that are to be asked for alone, because it brought nothing of them."""
        silent = {folder for folder in group.folders if folder.id not in group.brought}
        if len({folder.id for folder in group.folders}) > 1:
            return {folder for folder in silent if folder.id not in self._empty}
        self._empty |= {folder.id for folder in silent}
        return set()

    def _without_those_gone(self, group: _Group, error: SourceMissing) -> None:
        """One of the folders was deleted meanwhile, and Drive does not say which: they are asked for one by one."""
        if len(group.folders) > 1:
            self._waiting += reversed(group.folders)
            self._alone |= set(group.folders)
        elif group.folders[0].above is None:
            raise LocationMissing(str(error)) from error
        self._next_group()

    def _next_group(self) -> None:
        taken: list[Folder] = []
        while self._waiting and len(taken) < PARENTS and not (taken and self._waiting[-1] in self._alone):
            taken.append(self._waiting.pop())
            if taken[-1] in self._alone:
                self._alone.remove(taken[-1])
                break
        self._group = _Group(self._tree, taken) if taken else None


class _Group:
    """The contents of some folders, in as many steps as there are pages; twice as many where there is more than one."""

    def __init__(self, tree: Tree, folders: Sequence[Folder], *, again: bool = False) -> None:
        self.folders = folders
        self.again = again
        self.below: list[Folder] = []
        self.brought: set[str] = set()
        """Ids of the folders of which something has come."""
        self.ended = False
        self.left_out: Counter[str] = Counter()
        self._tree = tree
        self._places: dict[str, list[Folder]] = defaultdict(list)
        for folder in folders:
            self._places[folder.id].append(folder)
        self._token: str | None = None
        self._counting = self._counted = False
        self._seen: set[int] = set()
        self._twice: set[int] = set()
        self._held: list[Resource] = []

    async def step(self) -> Sequence[Entry]:
        if self._counting:
            await self._count()
            return ()
        answer, following = await self._tree.children(self.folders, self._token)
        items = [item for item in answer if not _lacking(item)]
        at_once = self._token is None and following is None
        if following is not None and not self._counted:
            self._look(items)
            self._token, self._counting = following, True
            return ()
        held = [*self._held, *(item for item in items if at_once or self._is_twice(item))]
        plain = [] if at_once else [item for item in items if not self._is_twice(item)]
        segments = [(item, self._tree.segment(item)) for item in plain]
        found = await self._named([*segments, *(self._told_apart(held) if following is None else [])])
        self.brought.update(parent for item in items for parent in self._parents(item))
        self._held, self._token, self.ended = held, following, following is None
        self.left_out.update(_reason(item) for item in items if self._tree.kind(item) is None)
        return [*found, *(self._fault(item) for item in answer if _lacking(item))]

    @property
    def begun(self) -> bool:
        return self._token is not None

    async def _count(self) -> None:
        items, following = await self._tree.children(self.folders, self._token, _NAMES)
        self._look([item for item in items if not _lacking(item)])
        self._token, self._counting, self._counted = following, following is not None, following is None

    def _look(self, items: Sequence[Resource]) -> None:
        for item in items:
            number = self._number(item)
            (self._twice if number in self._seen else self._seen).add(number)

    def _is_twice(self, item: Resource) -> bool:
        return self._number(item) in self._twice

    def _number(self, item: Resource) -> int:
        """Items of one number may be called alike; of different ones are not."""
        return hash((self._parents(item), self._tree.kind(item), self._tree.entry(item)[0]))

    def _parents(self, item: Resource) -> tuple[str, ...]:
        return tuple(parent for parent in item.get("parents", ()) if parent in self._places)

    def _told_apart(self, items: Sequence[Resource]) -> list[tuple[Resource, str]]:
        alike: dict[tuple[object, ...], list[Resource]] = defaultdict(list)
        for item in items:
            alike[self._parents(item), self._tree.kind(item)].append(item)
        segments: dict[str, str] = {}
        for group in alike.values():
            segments |= names.told_apart(self._tree.entry(item) for item in group)
        return [(item, segments[item["id"]]) for item in items]

    def _fault(self, item: Resource) -> Fault:
        folder = next(iter(self._above(item)), self.folders[0])
        key = f"{folder.prefix}{item.get('name') or item.get('id') or '?'}"
        return Fault(key, Unavailable(f"cannot list {self._tree.name(key)!r}: Drive names an entry without {_lacking(item)}"))

    async def _named(self, items: Sequence[tuple[Resource, str]]) -> list[Entry]:
        """The files among these; the folders among them are put on the pile of the walk, once nothing can fail any more."""
        tree = self._tree
        files = [(item, segment) for item, segment in items if tree.kind(item) is Kind.FILE]
        targets = await tree.targets([item for item, _ in files])
        found: list[Entry] = []
        for item, segment in files:
            target = targets.get(item["id"]) if item["mimeType"] == SHORTCUT else item
            if target is not None:
                found += [tree.listed(target, place.prefix + segment) for place in self._above(item)]
        for item, segment in items:
            if tree.kind(item) is Kind.FOLDER:
                below = [tree.below(place, segment, item) for place in self._above(item)]
                self.below += [folder for folder in below if folder is not None]
        return found

    def _above(self, item: Resource) -> list[Folder]:
        return [place for parent in self._parents(item) for place in self._places[parent]]


async def _folders_in(tree: Tree, folder: Folder) -> list[Folder]:
    """The folders in this one, by their ids."""
    items: list[Resource] = []
    token: str | None = None
    while True:
        try:
            page, token = await tree.children([folder], token)
        except SourceMissing:
            return []
        items += [item for item in page if not _lacking(item) and tree.kind(item) is Kind.FOLDER]
        if token is None:
            break
    segments = names.told_apart(tree.entry(item) for item in items)
    found = [tree.below(folder, segments[item["id"]], item) for item in items]
    return sorted((each for each in found if each is not None), key=_order)


def _lacking(item: Resource) -> str:
    """What the entry needs to be placed at all, and has not; nothing where it has all."""
    return " or ".join(name for name in ("id", "name", "mimeType") if not isinstance(item.get(name), str))


def _reason(item: Resource) -> str:
    return "shortcut" if item["mimeType"] == SHORTCUT else "document"


def _order(folder: Folder) -> tuple[str, ...]:
    return folder.chain()
