"""Who asks, what they may do, and how much of it: tokens, users, roles, quota.

Roles are not the service's whole permission model: `access` of a file or folder names users ("*": everyone) with one of
none, reader, writer, and holds for everything below it, until a deeper one says otherwise. Who is not named may write.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fakes.drive import errors
from tests.fakes.drive.settings import DAY, ME

if TYPE_CHECKING:
    from tests.fakes.drive.settings import Settings
    from tests.fakes.drive.store import File, Store

UNITS = {
    "files.list": 100,
    "changes.list": 100,
    "drives.list": 100,
    "files.get.media": 200,
    "files.export": 200,
    "files.create": 50,
    "files.update": 50,
    "files.delete": 50,
    "files.copy": 50,
    "create.media": 50,
    "create.multipart": 50,
    "create.resumable.begin": 50,
    "update.media": 50,
    "update.multipart": 50,
    "update.resumable.begin": 50,
    "permissions.create": 50,
    "permissions.delete": 50,
    "resumable.chunk": 0,
    "resumable.query": 0,
    "resumable.cancel": 0,
}
"""Quota units of an operation, 5 where nothing is said: https://developers.google.com/workspace/drive/api/guides/limits"""
_OTHER = 5
_ROLES = {"none": 0, "reader": 1, "commenter": 1, "writer": 2, "fileOrganizer": 2, "organizer": 2, "owner": 2}
_WRITES = ("create", "update", "delete", "copy")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token stands for. `expires` is None for one that never ends."""

    user: str
    expires: float | None = None
    scopes: tuple[str, ...] = ()


@dataclass(slots=True)
class Window:
    """Counted since `start`; what the length is, the one who counts knows."""

    start: float
    count: int = 0


class Accounts:
    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self.grants: dict[str, Grant] = {}
        self.refresh_tokens: dict[str, str] = {}
        self._days: dict[str, Window] = {}
        self._minutes: dict[str, Window] = {}
        self.units = 0

    def issue(self, user: str, *, lasting: bool = False, scopes: tuple[str, ...] = ()) -> str:
        token = "ya29." + secrets.token_urlsafe(24)
        self.grants[token] = Grant(user, None if lasting else self._store.clock() + self._settings.token_seconds, scopes)
        return token

    def user(self, authorization: str, operation: str) -> str:
        """Whose call it is. Raises 401, and 403 for a scope that does not allow the operation."""
        token = authorization.removeprefix("Bearer ").strip()
        grant = self.grants.get(token)
        if grant is None:
            required = self._settings.require_token
            if required is not None and token != required:
                raise errors.unauthorized("Invalid Credentials" if token else "Login Required.")
            return ME
        if grant.expires is not None and self._store.clock() >= grant.expires:
            raise errors.unauthorized()
        if grant.scopes and not _allowed(grant.scopes, operation):
            raise errors.known("insufficientPermissions")
        return grant.user

    def charge(self, user: str, operation: str) -> None:
        """Units of this minute, for the user and for the project."""
        units = UNITS.get(operation, _OTHER)
        limits = ((user, self._settings.user_units), ("", self._settings.project_units))
        windows = [(_current(self._minutes, name, self._store.clock(), 60), limit, name) for name, limit in limits]
        for window, limit, name in windows:
            if limit is not None and window.count + units > limit:
                raise errors.too_many_units(project=not name)
        for window, _, _ in windows:
            window.count += units
        self.units += units

    def uploaded(self, user: str) -> int:
        """Bytes in this day of the user's, which begins with an upload and lasts 24 hours."""
        return _current(self._days, user, self._store.clock(), DAY).count

    def uploads(self) -> dict[str, int]:
        return {user: self.uploaded(user) for user in sorted(self._days)}

    def check_upload(self, user: str) -> None:
        limit = self._settings.upload_limit
        if limit is not None and self.uploaded(user) >= limit:
            raise errors.upload_limit()

    def count_upload(self, user: str, size: int) -> None:
        _current(self._days, user, self._store.clock(), DAY).count += size

    def check_quota(self, owner: str, drive: str | None, growth: int) -> None:
        """A shared drive has no quota of this kind, and a service account has none of its own."""
        if drive is not None:
            return
        if is_service_account(owner):
            raise errors.no_quota()
        limit = self._settings.storage_limit
        if limit is not None and growth > 0 and self._store.usage(owner) + growth > limit:
            raise errors.known("storageQuotaExceeded")

    def role(self, user: str, file: File) -> int:
        """0: does not see it, 1: reads, 2: writes."""
        for each in self._store.above(file):
            named = each.access.get(user) or each.access.get("*")
            if named is not None:
                return _ROLES[named]
        return 2

    def see(self, user: str, file: File) -> None:
        if not self.role(user, file):
            raise errors.no_file(file.id)

    def write(self, user: str, file: File) -> None:
        self.see(user, file)
        if self.role(user, file) < 2:
            raise errors.may_not_write(file.id)

    def add_to(self, user: str, folder: File) -> None:
        self.see(user, folder)
        if self.role(user, folder) < 2:
            raise errors.known("insufficientParentPermissions")


def is_service_account(email: str) -> bool:
    return email.endswith(".gserviceaccount.com")


def _current(windows: dict[str, Window], name: str, now: float, length: float) -> Window:
    window = windows.get(name)
    if window is None or now - window.start >= length:
        window = windows[name] = Window(now)
    return window


def _allowed(scopes: tuple[str, ...], operation: str) -> bool:
    names = {scope.rpartition("/")[2] for scope in scopes}
    if names & {"drive", "drive.file"}:
        return True
    writing = operation.startswith(("create.", "update.", "resumable")) or operation.rpartition(".")[2] in _WRITES
    return "drive.readonly" in names and not writing
