"""Files put there by a test, past the API and its checks: what people did in a browser before we came."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.resources import write_fields
from tests.fakes.drive.settings import ME
from tests.fakes.drive.store import BINARY, FOLDER, SHORTCUT, Content, File

if TYPE_CHECKING:
    from tests.fakes.drive.store import Store

DOCUMENT = "application/vnd.google-apps.document"
_SWITCHES = ("access", "abusive", "downloadable", "children_limit", "trashed")


class Seed:
    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, body: dict[str, Any]) -> File:
        """`body` as in the package's text: fields of the resource, content, switches."""
        store, owner = self._store, body.get("owner", ME)
        asked = (body.get("parents") or ["root"])[0]
        parent = store.root(owner) if asked == "root" else store.get(asked)
        now = store.now()
        kind = body.get("mimeType") or (DOCUMENT if "exports" in body else BINARY)
        number = store.new_number()
        file = File(body.get("id") or store.new_id(), "Untitled", kind, parent.id, parent.drive, owner, now, now, number, 0)
        store.add(file)
        self.change(file, {**body, "mimeType": kind})
        if file.content is None and not (file.folder or file.document or kind == SHORTCUT):
            store.replace_content(file, Content.whole(b""))
        file.contents, file.version, file.updates = 0, 1, 0
        return file

    def change(self, file: File, body: dict[str, Any]) -> None:
        """Whatever is named becomes so; the version grows, as it does when somebody edits."""
        data = _data(body)
        if data is not None:
            self._store.replace_content(file, Content.whole(data))
        if "exports" in body:
            file.exports = {kind: text.encode() if isinstance(text, str) else text for kind, text in body["exports"].items()}
        if body.get("shortcutDetails"):
            file.fields["shortcutDetails"] = {"targetId": body["shortcutDetails"]["targetId"]}
        for name in _SWITCHES:
            if name in body:
                setattr(file, name, body[name])
        if data is not None or "exports" in body:
            file.modified = self._store.now()
        write_fields(file, body)
        file.version += 1
        self._store.touched(file)


def _data(body: dict[str, Any]) -> bytes | None:
    if "text" in body:
        return str(body["text"]).encode()
    if "base64" in body:
        return base64.b64decode(body["base64"])
    data: bytes | None = body.get("data")
    return data


def folder(name: str, parent: str) -> dict[str, Any]:
    return {"name": name, "parents": [parent], "mimeType": FOLDER}


def shortcut(name: str, target: str, parent: str) -> dict[str, Any]:
    return {"name": name, "parents": [parent], "mimeType": SHORTCUT, "shortcutDetails": {"targetId": target}}
