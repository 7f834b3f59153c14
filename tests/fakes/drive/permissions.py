"""Permissions as far as a copier meets them: who has access to a file, and giving and taking it.

https://developers.google.com/workspace/drive/api/reference/rest/v3/permissions
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import DriveError, invalid
from tests.fakes.drive.resources import permission, permission_id

if TYPE_CHECKING:
    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.call import Call
    from tests.fakes.drive.changes import Changes
    from tests.fakes.drive.store import File, Store

_ROLES = frozenset({"reader", "commenter", "writer", "fileOrganizer", "organizer"})


class Permissions:
    def __init__(self, changes: Changes, accounts: Accounts, store: Store) -> None:
        self._changes = changes
        self._accounts = accounts
        self._store = store

    def list(self, call: Call) -> dict[str, Any]:
        file = self._changes.find(call)
        owner = {} if file.drive is not None else {file.owner: "owner"}
        found = [permission(name, role) for name, role in {**file.access, **owner}.items() if role != "none"]
        return {"kind": "drive#permissionList", "permissions": found}

    async def create(self, call: Call) -> dict[str, Any]:
        file, body = self._writable(call), await call.json()
        name = "*" if body.get("type") == "anyone" else body.get("emailAddress")
        if body.get("role") not in _ROLES or not isinstance(name, str):
            raise invalid("permission.role" if isinstance(name, str) else "permission.emailAddress")
        file.access[name] = body["role"]
        self._changed(file)
        return permission(name, body["role"])

    def delete(self, call: Call) -> None:
        file = self._writable(call)
        named = [name for name in file.access if permission_id(name) == call.below]
        if not named:
            raise DriveError(404, "notFound", f"Permission not found: {call.below}.", location="permissionId")
        del file.access[named[0]]
        self._changed(file)

    def _writable(self, call: Call) -> File:
        file = self._changes.find(call)
        self._accounts.write(call.user, file)
        return file

    def _changed(self, file: File) -> None:
        file.version += 1
        self._store.touched(file)
