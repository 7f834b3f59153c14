"""Changes to files: create, update, move, copy, delete, with every check that the service makes before it changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import DriveError, invalid, known, no_file
from tests.fakes.drive.resources import ON_CREATE, ON_UPDATE, check_writable, write_fields
from tests.fakes.drive.store import BINARY, FOLDER, SHORTCUT, Content, File

if TYPE_CHECKING:
    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.call import Call
    from tests.fakes.drive.store import Store

_QUIET = frozenset({"trashed", "starred", "kind"})
"""A change of only these leaves modifiedTime as it is."""


class Changes:
    def __init__(self, store: Store, accounts: Accounts) -> None:
        self._store = store
        self._accounts = accounts

    def find(self, call: Call, file_id: str | None = None) -> File:
        """404 too for an item of a shared drive, when the client does not say that it supports those."""
        wanted = call.key if file_id is None else file_id
        file = self._store.root(call.user) if wanted == "root" else self._store.get(wanted)
        if file.drive is not None and not call.all_drives:
            raise no_file(file.id)
        self._accounts.see(call.user, file)
        return file

    def draft(self, call: Call, body: dict[str, Any], media_type: str | None) -> File:
        """What a create would make, after every check; it is not in the store yet."""
        check_writable(body, ON_CREATE)
        mime_type = body.get("mimeType") or media_type or BINARY
        parent = self._parent(call, body)
        now = self._store.now()
        name = "Untitled" if body.get("name") is None else body["name"]
        file = File("", name, mime_type, parent.id, parent.drive, call.user, now, now, 0, now)
        write_fields(file, body)
        if mime_type == SHORTCUT:
            file.fields["shortcutDetails"] = {"targetId": self._target(call, body).id}
        if body.get("id"):
            self._check_id(file, body["id"])
        self._check_room(file, parent)
        file.id = body.get("id") or self._store.new_id()
        if mime_type not in {FOLDER, SHORTCUT}:
            self._accounts.check_quota(file.owner, file.drive, 0)
        return file

    def _parent(self, call: Call, body: dict[str, Any]) -> File:
        parents = body.get("parents") or ["root"]
        if not isinstance(parents, list) or not all(isinstance(each, str) for each in parents):
            raise invalid("parents")
        if len(parents) > 1:
            raise known("cannotAddParent")
        parent = self.find(call, parents[0])
        if not parent.folder:
            raise known("parentNotAFolder")
        self._accounts.add_to(call.user, parent)
        return parent

    def _target(self, call: Call, body: dict[str, Any]) -> File:
        details = body.get("shortcutDetails") or {}
        if not details.get("targetId"):
            raise DriveError(400, "badRequest", "Bad Request. Shortcuts must have a target.", location="shortcutDetails.targetId")
        return self.find(call, details["targetId"])

    def _check_id(self, file: File, file_id: str) -> None:
        """https://developers.google.com/workspace/drive/api/guides/create-file#generate-ids: not for documents and shortcuts."""
        if file.document:
            message = "Generated IDs are not supported for Docs Editors formats."
            raise DriveError(403, "insufficientFilePermissions", message)
        if file.mime_type == SHORTCUT:
            raise DriveError(400, "invalid", "The provided file ID is not usable.", location="file.id")
        self._store.check_new_id(file_id)

    def _check_room(self, file: File, parent: File) -> None:
        settings, store = self._store.settings, self._store
        if len(store.in_folder(parent.id)) >= (parent.children_limit or settings.children_limit):
            raise known("numChildrenInNonRootLimitExceeded")
        if file.drive is not None and len(store.files) > settings.items_limit:
            count = sum(1 for each in store.files.values() if each.drive == file.drive)
            if count > settings.items_limit:  # the drive's own root does not count
                raise known("teamDriveFileLimitExceeded")
        if file.folder and sum(1 for _ in store.above(parent)) > settings.depth_limit:
            raise known("myDriveHierarchyDepthLimitExceeded" if file.drive is None else "teamDriveHierarchyTooDeep")

    def create(self, call: Call, body: dict[str, Any], content: Content | None, media_type: str | None) -> File:
        """Whole or not at all. Without content and type it is an empty file."""
        file = self.draft(call, body, media_type)
        _check_content(file, content)
        if content is None and not (file.folder or file.document or file.mime_type == SHORTCUT):
            content = Content.whole(b"")
        size = content.size if content else 0
        if size:
            self._accounts.check_quota(file.owner, file.drive, size)
        file.number = self._store.new_number()
        self._store.add(file)
        self._fill(call, file, content, media_type)
        file.contents = 0
        return file

    def _fill(self, call: Call, file: File, content: Content | None, media_type: str | None) -> None:
        if content is None:
            return
        if file.document:  # an import; what comes out is what went in
            file.exports = {media_type or BINARY: content.data[:] if content.data else b""}
        else:
            self._store.replace_content(file, content)
        if content.size:
            self._accounts.count_upload(call.user, content.size)

    def check_update(self, call: Call, body: dict[str, Any]) -> File:
        file = self.find(call)
        self._accounts.write(call.user, file)
        check_writable(body, ON_UPDATE)
        return file

    def update(self, call: Call, body: dict[str, Any], content: Content | None = None, media_type: str | None = None) -> File:
        file = self.check_update(call, body)
        target = self._destination(call, file)
        _check_content(file, content)
        if content is not None:
            body = {"mimeType": media_type, **body} if not file.document else body
            self._accounts.check_quota(file.owner, file.drive, content.size - (file.size or 0))
        else:
            body = {name: value for name, value in body.items() if name != "mimeType"}
        write_fields(file, body)
        if "modifiedTime" not in body and (content is not None or not body.keys() <= _QUIET):
            file.modified = self._store.now()
        file.trashed = bool(body.get("trashed", file.trashed))
        if target is not None:
            self._store.move(file, target)
        self._fill(call, file, content, media_type)
        file.editor = call.user
        file.version += 1
        file.updates += 1
        self._store.touched(file)
        return file

    def _destination(self, call: Call, file: File) -> File | None:
        """addParents and removeParents: an item has one parent, so both are needed, unless it stays where it is."""
        add = {self.find(call, each).id for each in _ids(call.query.get("addParents"))} - {file.parent}
        remove = {self.find(call, each).id for each in _ids(call.query.get("removeParents"))}
        if not add:
            return None
        if len(add) > 1 or file.parent not in remove:
            raise known("cannotAddParent")
        target = self._store.get(add.pop())
        if not target.folder:
            raise known("parentNotAFolder")
        self._accounts.add_to(call.user, target)
        if file in self._store.above(target):
            raise DriveError(403, "cyclicParent", "Bad Request. A folder cannot be moved into itself or into what is below it.")
        if file.folder and target.drive is not None and file.drive is None:
            raise DriveError(403, "teamDrivesFolderMoveInNotSupported", "Moving folders into shared drives is not supported.")
        return target

    def copy(self, call: Call, body: dict[str, Any]) -> File:
        source = self.find(call)
        if source.folder:
            raise DriveError(403, "cannotCopyFile", "This file cannot be copied by the user.")
        self._accounts.check_upload(call.user)
        kept = {name: value for name, value in source.fields.items() if name not in {"appProperties", "shortcutDetails"}}
        given = {"name": source.name, "mimeType": source.mime_type, "parents": [source.parent], **kept, **body}
        copied = self.create(call, given, source.content, None)
        copied.exports = dict(source.exports)
        return copied

    def delete(self, call: Call) -> None:
        """For good, past the trash, with everything below. Where there are no owners, writing is enough."""
        file = self.find(call)
        self._accounts.write(call.user, file)
        if file.parent is None:
            raise DriveError(403, "insufficientFilePermissions", "The root folder cannot be deleted.")
        self._store.remove(file)


def _check_content(file: File, content: Content | None) -> None:
    if content is not None and (file.folder or file.mime_type == SHORTCUT):
        raise DriveError(400, "badRequest", "Bad Request. This type of file has no content.")


def _ids(text: str | None) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()] if text else []
