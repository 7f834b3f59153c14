"""How files and shared drives look in JSON, and which of their fields a client may write, when, and how long.

https://developers.google.com/workspace/drive/api/reference/rest/v3/files
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.accounts import is_service_account
from tests.fakes.drive.errors import invalid, known, not_writable
from tests.fakes.drive.store import SHORTCUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.store import File, Store

_KEPT = {
    "description": str,
    "starred": bool,
    "folderColorRgb": str,
    "originalFilename": str,
    "copyRequiresWriterPermission": bool,
    "writersCanShare": bool,
    "contentHints": dict,
    "contentRestrictions": list,
    "viewedByMeTime": str,
    "inheritedPermissionsDisabled": bool,
    "downloadRestrictions": dict,
}
"""Fields that the service stores as they come."""
_BOTH = {*_KEPT, "name", "mimeType", "modifiedTime", "properties", "appProperties", "kind"}
ON_CREATE = frozenset(_BOTH | {"id", "parents", "createdTime", "shortcutDetails"})
ON_UPDATE = frozenset(_BOTH | {"trashed"})
_PROPERTY_BYTES = 124
_PROPERTIES = 30


@lru_cache(maxsize=10_000)
def stamp(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z"


def milliseconds(text: Any, location: str) -> int:
    """RFC 3339; what is finer than a millisecond is cut off, without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise invalid(location, f"Invalid value for: Invalid format: {text!r}") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000 + 0.0005)


def check_writable(body: Mapping[str, Any], writable: frozenset[str]) -> None:
    if "parents" in body and "parents" not in writable:
        raise not_writable(
            "The parents field is not directly writable in update requests. "
            "Use the addParents and removeParents parameters instead."
        )
    if not body.keys() <= writable:
        raise not_writable()


def write_fields(file: File, body: Mapping[str, Any]) -> None:
    """Name, type, times and whatever else the body names; null removes. Raises before anything has changed."""
    fields = dict(file.fields)
    for name, kind in _KEPT.items():
        if name in body:
            _set(fields, name, body[name], kind)
    for name in ("properties", "appProperties"):
        if name in body:
            fields[name] = _properties(fields.get(name, {}), body[name], name)
    fields = {name: value for name, value in fields.items() if value is not None and value != {}}
    named, typed = body.get("name"), body.get("mimeType")
    if not isinstance(named, str | None) or not isinstance(typed, str | None):
        raise invalid("name" if not isinstance(named, str | None) else "mimeType")
    times = {name: milliseconds(body[name], name) for name in ("createdTime", "modifiedTime") if body.get(name)}
    file.fields = fields
    file.name = file.name if named is None else named
    file.mime_type = typed or file.mime_type
    file.created = times.get("createdTime", file.created)
    file.modified = times.get("modifiedTime", file.modified)


def _set(fields: dict[str, Any], name: str, value: Any, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise invalid(name, f"Invalid value for {name}: {value!r}")
    fields[name] = value


def _properties(old: Mapping[str, str], change: Any, name: str) -> dict[str, str]:
    """Merged key by key; a null removes. https://developers.google.com/workspace/drive/api/guides/properties"""
    if change is None:
        return {}
    if not isinstance(change, dict) or not all(isinstance(value, str | None) for value in change.values()):
        raise invalid(name, f"Invalid value for {name}: an object whose values are strings was expected.")
    if any(len(key.encode()) + len((value or "").encode()) > _PROPERTY_BYTES for key, value in change.items()):
        raise known("propertyLengthLimitExceeded")
    merged = {key: value for key, value in {**old, **change}.items() if value is not None}
    if len(merged) > _PROPERTIES:
        raise known("propertyCountLimitExceeded")
    return merged


class Resources:
    """JSON of files, as one user sees them."""

    def __init__(self, store: Store, accounts: Accounts, url: Callable[[], str]) -> None:
        self._store = store
        self._accounts = accounts
        self._url = url

    def file(self, file: File, user: str) -> dict[str, Any]:
        access = self._access(file)
        body: dict[str, Any] = {
            "kind": "drive#file",
            "id": file.id,
            "name": file.name,
            "mimeType": file.mime_type,
            "createdTime": stamp(file.created),
            "modifiedTime": stamp(file.modified),
            "version": str(file.version),
            "trashed": self._store.in_trash(file),
            "explicitlyTrashed": file.trashed,
            "starred": False,
            "spaces": ["drive"],
            "quotaBytesUsed": str(file.size or 0),
            "lastModifyingUser": person(file.editor or file.owner, user),
            "modifiedByMe": (file.editor or file.owner) == user,
            "capabilities": self._capabilities(file, user),
            "permissionIds": [permission_id(name) for name in access],
            "permissions": [permission(name, role) for name, role in access.items()],
            "webViewLink": f"https://drive.google.com/file/d/{file.id}/view?usp=drivesdk",
            **file.fields,
        }
        if file.parent is not None:
            body["parents"] = [file.parent]
        if file.drive is not None:
            body |= {"driveId": file.drive, "teamDriveId": file.drive}
        else:
            body |= {"owners": [person(file.owner, user)], "ownedByMe": file.owner == user, "shared": bool(file.access)}
        return body | self._substance(file)

    def _substance(self, file: File) -> dict[str, Any]:
        """What depends on the kind of the file. https://developers.google.com/workspace/drive/api/guides/about-files"""
        size = {} if file.size is None else {"size": str(file.size)}
        if file.document:
            link = f"{self._url()}/drive/v3/files/{file.id}/export?mimeType="
            return size | {"exportLinks": {kind: link + kind.replace("+", "%2B") for kind in file.exports}}
        if file.mime_type == SHORTCUT:
            target = self._store.files.get(file.fields["shortcutDetails"]["targetId"])
            kind = {"targetMimeType": target.mime_type} if target else {}
            return {"shortcutDetails": {**file.fields["shortcutDetails"], **kind}}
        if file.content is None:
            return size
        _, dot, full = file.name.partition(".")
        extension = {"fileExtension": full.rpartition(".")[2], "fullFileExtension": full} if dot else {}
        return size | {
            "md5Checksum": file.content.md5,
            "sha1Checksum": file.content.sha1,
            "sha256Checksum": file.content.sha256,
            "headRevisionId": file.revision,
            "originalFilename": file.fields.get("originalFilename", file.name),
            "webContentLink": f"https://drive.google.com/uc?id={file.id}&export=download",
            **extension,
        }

    def _capabilities(self, file: File, user: str) -> dict[str, bool]:
        writes = self._accounts.role(user, file) >= 2
        own = {"canDownload": not file.folder and file.downloadable, "canCopy": not file.folder, "canListChildren": file.folder}
        names = ("canEdit", "canRename", "canTrash", "canDelete", "canShare", "canModifyContent")
        return own | dict.fromkeys(names, writes) | {"canAddChildren": writes and file.folder}

    def _access(self, file: File) -> dict[str, str]:
        """The roles that hold here: the owner's, and those that this file or a folder above it names."""
        roles: dict[str, str] = {}
        for each in self._store.above(file):
            roles = {**each.access, **roles}
        owner = {} if file.drive is not None else {file.owner: "owner"}
        return {**{name: role for name, role in roles.items() if role != "none"}, **owner}

    def drive(self, drive: File, user: str) -> dict[str, Any]:
        writes = self._accounts.role(user, drive) >= 2
        able = dict.fromkeys(("canAddChildren", "canEdit", "canRename", "canTrashChildren", "canDeleteChildren"), writes)
        return {
            "kind": "drive#drive",
            "id": drive.id,
            "name": drive.name,
            "createdTime": stamp(drive.created),
            "hidden": False,
            "capabilities": {**able, "canListChildren": True, "canDownload": True, "canCopy": True},
            "restrictions": {"domainUsersOnly": False, "driveMembersOnly": False},
        }

    def about(self, user: str) -> dict[str, Any]:
        limit = 0 if is_service_account(user) else self._store.settings.storage_limit
        mine = [file for file in self._store.files.values() if file.drive is None and file.owner == user]
        trash = sum(file.size or 0 for file in mine if self._store.in_trash(file))
        usage = str(sum(file.size or 0 for file in mine))
        quota = {"usage": usage, "usageInDrive": usage, "usageInDriveTrash": str(trash)}
        formats = sorted({kind for file in mine for kind in file.exports})
        return {
            "kind": "drive#about",
            "user": person(user, user),
            "storageQuota": quota if limit is None else {"limit": str(limit), **quota},
            "maxUploadSize": str(5 * 1024**4),
            "canCreateDrives": not is_service_account(user),
            "exportFormats": {file.mime_type: formats for file in mine if file.document},
            "importFormats": {},
            "appInstalled": False,
        }


def person(email: str, asking: str) -> dict[str, Any]:
    """A service account's display name is its address."""
    name = email if is_service_account(email) else email.partition("@")[0].title()
    return {
        "kind": "drive#user",
        "displayName": name,
        "me": email == asking,
        "permissionId": permission_id(email),
        "emailAddress": email,
    }


@lru_cache(maxsize=1000)
def permission_id(name: str) -> str:
    return "anyoneWithLink" if name == "*" else str(int.from_bytes(name.encode()[:8], "big"))


def permission(name: str, role: str) -> dict[str, Any]:
    base = {"kind": "drive#permission", "id": permission_id(name), "role": role}
    if name == "*":
        return {**base, "type": "anyone", "allowFileDiscovery": False}
    return {**base, "type": "user", "emailAddress": name, "displayName": name.partition("@")[0].title(), "deleted": False}
