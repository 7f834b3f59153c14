"""What the service keeps: files by id, folders as parents, shared drives, and in which order things changed.

Every method runs without giving up the event loop, so that check and change are one step, as they are in the real service.
Times are whole milliseconds, as the service rounds them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import DriveError, known, no_drive, no_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from mmap import mmap

    from tests.fakes.drive.settings import Settings

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
BINARY = "application/octet-stream"
_NATIVE = "application/vnd.google-apps."
EDITOR_SIZE = 1024
"""What a document of an editor counts for; it has nothing to do with the size of an export."""


@dataclass(slots=True)
class Hashes:
    """Running checksums: large uploads are hashed piece by piece, so that no single request stops the server for long."""

    size: int = 0
    digests: tuple[Any, ...] = field(default_factory=lambda: (_md5(), hashlib.sha1(usedforsecurity=False), hashlib.sha256()))

    def add(self, data: bytes | bytearray) -> None:
        self.size += len(data)
        for digest in self.digests:
            digest.update(data)


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of one revision; `data` is None where they were counted and hashed, but not kept. Large ones may be in a file."""

    data: bytes | mmap | None
    size: int
    md5: str
    sha1: str
    sha256: str

    @classmethod
    def of(cls, data: bytes | mmap | None, hashes: Hashes) -> Content:
        md5, sha1, sha256 = (digest.hexdigest() for digest in hashes.digests)
        return cls(data, hashes.size, md5, sha1, sha256)

    @classmethod
    def whole(cls, data: bytes) -> Content:
        hashes = Hashes()
        hashes.add(data)
        return cls.of(data, hashes)


@dataclass(slots=True, eq=False)
class File:
    """A file, folder, shortcut or document. `fields` holds what a client may write beside the name and the type."""

    id: str
    name: str
    mime_type: str
    parent: str | None
    drive: str | None
    owner: str
    created: int
    modified: int
    number: int
    born: int
    """When it really came, whatever createdTime says."""
    content: Content | None = None
    revision: str | None = None
    version: int = 1
    fields: dict[str, Any] = field(default_factory=dict)
    trashed: bool = False
    editor: str = ""
    access: dict[str, str] = field(default_factory=dict)
    abusive: bool = False
    downloadable: bool = True
    exports: dict[str, bytes] = field(default_factory=dict)
    children_limit: int | None = None
    creates: int = 0
    updates: int = 0
    contents: int = 0
    downloads: int = 0

    @property
    def folder(self) -> bool:
        return self.mime_type == FOLDER

    @property
    def document(self) -> bool:
        """Of one of Google's editors: no bytes of its own, no checksums, no revision that a client could name."""
        return self.mime_type.startswith(_NATIVE) and self.mime_type not in {FOLDER, SHORTCUT}

    @property
    def size(self) -> int | None:
        if self.content is not None:
            return self.content.size
        return EDITOR_SIZE if self.document else None


class Store:
    """All files by id. `children` is the same by folder; `changes` names the last change of each file, in order."""

    def __init__(self, clock: Callable[[], float], settings: Settings) -> None:
        self.clock = clock
        self.settings = settings
        self.files: dict[str, File] = {}
        self.children: dict[str, dict[str, File]] = {}
        self.changes: dict[str, tuple[int, int, str | None]] = {}
        self.change_number = 1
        self.generated: set[str] = set()
        self.used: set[str] = set()
        self.writes: Counter[str] = Counter()
        self.stored_bytes = 0
        self._number = 0

    def now(self) -> int:
        return int(self.clock() * 1000)

    def new_id(self) -> str:
        return "1" + secrets.token_urlsafe(24)

    def generate(self, count: int) -> list[str]:
        ids = [self.new_id() for _ in range(count)]
        self.generated.update(ids)
        return ids

    def root(self, user: str) -> File:
        """The user's My Drive, which is there from the beginning."""
        file_id = "0A" + hashlib.sha256(user.encode()).hexdigest()[:17]
        return self.files.get(file_id) or self._place(file_id, "My Drive", user, None)

    def create_drive(self, name: str, owner: str, drive_id: str | None = None) -> File:
        """A shared drive is known by the id of its root folder."""
        drive_id = drive_id or "0A" + secrets.token_urlsafe(11)[:14] + "PVA"
        if drive_id in self.files:
            raise DriveError(409, "conflict", "A shared drive with this id exists.")
        return self._place(drive_id, name, owner, drive_id)

    def _place(self, file_id: str, name: str, owner: str, drive: str | None) -> File:
        now = self.now()
        root = File(file_id, name, FOLDER, None, drive, owner, now, now, self._next(), now)
        self.files[file_id] = root
        return root

    def drives(self) -> list[File]:
        return [file for file in self.files.values() if file.drive == file.id]

    def drive(self, drive_id: str) -> File:
        found = self.files.get(drive_id)
        if found is None or found.drive != drive_id:
            raise no_drive(drive_id)
        return found

    def get(self, file_id: str) -> File:
        try:
            return self.files[file_id]
        except KeyError:
            raise no_file(file_id) from None

    def in_folder(self, folder: str) -> dict[str, File]:
        return self.children.get(folder, {})

    def check_new_id(self, file_id: str) -> None:
        """An id works once, and only if it came from generateIds."""
        if file_id in self.used or file_id in self.files:
            raise known("fileIdInUse", location="file.id")
        if file_id not in self.generated:
            raise DriveError(400, "invalid", "The provided file ID is not usable.", location="file.id")

    def add(self, file: File) -> None:
        """The caller has checked that everything is right; the parent decides about the drive."""
        self.used.add(file.id)
        self.files[file.id] = file
        if file.parent is not None:
            self.children.setdefault(file.parent, {})[file.id] = file
        self.stored_bytes += file.content.size if file.content else 0
        file.creates += 1
        self.touched(file)

    def new_number(self) -> int:
        return self._next()

    def replace_content(self, file: File, content: Content) -> None:
        """A new revision; the old one is not kept."""
        self.stored_bytes += content.size - (file.content.size if file.content else 0)
        file.content = content
        file.revision = "0B" + secrets.token_urlsafe(30)
        file.contents += 1

    def move(self, file: File, parent: File) -> None:
        if file.parent is not None:
            self.children[file.parent].pop(file.id, None)
        file.parent = parent.id
        self.children.setdefault(parent.id, {})[file.id] = file
        for each in self.tree(file):
            each.drive = parent.drive

    def touched(self, file: File) -> None:
        """Something about the file is new: its version grows, and the feed of changes names it."""
        self.writes[file.id] += 1
        self.log(file)

    def log(self, file: File) -> None:
        self.changes.pop(file.id, None)
        self.changes[file.id] = (self.change_number, self.now(), file.drive)
        self.change_number += 1

    def remove(self, file: File) -> None:
        """For good, with everything below."""
        for each in list(self.tree(file)):
            self.stored_bytes -= each.content.size if each.content else 0
            del self.files[each.id]
            self.children.pop(each.id, None)
            self.log(each)
        if file.parent is not None:
            self.in_folder(file.parent).pop(file.id, None)

    def tree(self, file: File) -> Iterator[File]:
        yield file
        for child in list(self.in_folder(file.id).values()):
            yield from self.tree(child)

    def above(self, file: File) -> Iterator[File]:
        """The file, its folder, and so on up to a root."""
        at: File | None = file
        while at is not None:
            yield at
            at = self.files.get(at.parent) if at.parent else None

    def in_trash(self, file: File) -> bool:
        return any(each.trashed for each in self.above(file))

    def path(self, file: File) -> str:
        """For people and tests: names joined by '/', from 'root' or from the id of the shared drive."""
        *below, top = list(self.above(file))
        start = top.drive or ("root" if top.parent is None and top.folder and top.id.startswith("0A") else top.name)
        return "/".join([start, *(each.name for each in reversed(below))])

    def usage(self, user: str) -> int:
        mine = (file for file in self.files.values() if file.drive is None and file.owner == user)
        return sum(file.size or 0 for file in mine)

    def _next(self) -> int:
        self._number += 1
        return self._number
