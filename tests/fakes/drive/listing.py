"""files.list: which files a user gets to see, in which order, page by page.

https://developers.google.com/workspace/drive/api/reference/rest/v3/files/list
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fakes.drive import query
from tests.fakes.drive.errors import DriveError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.call import Call
    from tests.fakes.drive.store import File, Store

MOST = 1000
_ORDERS: dict[str, Callable[[File], Any]] = {
    "createdTime": lambda file: file.created,
    "folder": lambda file: not file.folder,
    "modifiedByMeTime": lambda file: file.modified,
    "modifiedTime": lambda file: file.modified,
    "name": lambda file: file.name.casefold(),
    "name_natural": lambda file: [
        (int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", file.name.casefold())
    ],
    "quotaBytesUsed": lambda file: file.size or 0,
    "recency": lambda file: max(file.modified, file.created),
    "sharedWithMeTime": lambda file: file.created,
    "starred": lambda file: not file.fields.get("starred"),
    "viewedByMeTime": lambda file: file.modified,
}
_SAME = ("q", "orderBy", "corpora", "driveId", "includeItemsFromAllDrives", "spaces")
"""A page token holds for these as they were on the first page."""


@dataclass(frozen=True, slots=True)
class Listed:
    files: list[File]
    next_token: str | None


def listed(store: Store, accounts: Accounts, call: Call) -> Listed:
    size = page_size(call.query, store.settings.page_limit)
    corpora = _corpora(store, accounts, call)
    asked = query.parse(call.query["q"], store, call.user) if call.query.get("q") else query.Query(lambda _: True)
    pool: Iterable[File] = store.files.values() if asked.folder is None else store.in_folder(asked.folder).values()
    if asked.folder is not None:
        accounts.see(call.user, store.get(asked.folder))
    answered = _answered(store.settings.groups_answered, asked.folders)
    newest = store.now() - store.settings.search_lag * 1000
    number, offset = _position(call.query)
    order = _order(call.query.get("orderBy", ""))
    found: Iterator[File] = (
        file
        for file in sorted(pool, key=lambda file: file.number)
        if (order or file.number > number)
        and file.born <= newest
        and corpora(file)
        and asked.test(file)
        and (answered is None or file.parent in answered)
        and accounts.role(call.user, file)
    )
    if order:
        found = itertools.islice(_ordered(found, order), offset, None)
    page = list(itertools.islice(found, size + 1))
    if len(page) <= size:
        return Listed(page, None)
    return Listed(page[:size], _token(call.query, page[size - 1].number, offset + size))


def _answered(most: int | None, folders: tuple[str, ...]) -> frozenset[str] | None:
    return frozenset(folders[:most]) if most is not None and len(set(folders)) > 1 else None


def page_size(given: Mapping[str, str], limit: int | None) -> int:
    text = given.get("pageSize", "100")
    if not text.isdecimal() or int(text) < 1:
        message = f"Invalid value '{text}'. Values must be within the range: [1, {MOST}]"
        raise DriveError(400, "invalidParameter", message, location="pageSize")
    return min(int(text), MOST, limit or MOST)


def _corpora(store: Store, accounts: Accounts, call: Call) -> Callable[[File], bool]:
    """Which files the search is over. Without the right parameters, shared drives are not, and nobody says so."""
    given, user = call.query, call.user
    corpora, drive_id = given.get("corpora", "user"), given.get("driveId")
    shared = "true" in {given.get("includeItemsFromAllDrives"), given.get("includeTeamDriveItems")}
    if shared and not call.all_drives:
        raise DriveError(403, "supportsTeamDrivesRequired", "The supportsAllDrives parameter was not set to true.")
    if (drive_id is not None or corpora in {"drive", "allDrives"}) and not shared:
        message = (
            "The includeItemsFromAllDrives parameter must be set to true when driveId is specified or corpora contains drive."
        )
        raise DriveError(403, "includeTeamDriveItemsRequired", message)
    if (drive_id is not None) != (corpora == "drive"):
        raise invalid("driveId", "The driveId parameter must be specified if and only if corpora is set to drive.")
    if corpora == "drive":
        drive = store.drive(drive_id or "")
        accounts.see(user, drive)
        return lambda file: file.drive == drive.id and file is not drive
    if corpora not in {"user", "domain", "allDrives"}:
        raise invalid("corpora")
    return lambda file: file.parent is not None and (file.drive is None or shared)


def _order(order: str) -> list[list[str]]:
    keys = [part.split() for part in order.split(",")] if order else []
    names = [words[0] if words else "" for words in keys]
    if any(name not in _ORDERS for name in names) or any(words[1:] not in ([], ["desc"]) for words in keys):
        raise invalid("orderBy")
    if len(set(names)) < len(names):
        message = "The orderBy parameter cannot contain duplicate sort keys."
        raise DriveError(403, "orderByContainsDuplicateSortKeys", message, location="orderBy")
    return keys


def _ordered(files: Iterable[File], order: list[list[str]]) -> Iterator[File]:
    found = list(files)
    for name, *descending in reversed(order):
        found.sort(key=_ORDERS[name], reverse=bool(descending))
    return iter(found)


def _position(given: Mapping[str, str]) -> tuple[int, int]:
    """Where the page begins: behind the file of this number, whatever came or went since; in an order of the client's own,
    behind so many files."""
    token = given.get("pageToken")
    if not token:
        return 0, 0
    try:
        asked, number, offset = json.loads(base64.urlsafe_b64decode(token.removeprefix("~!!~")))
    except (ValueError, TypeError):
        raise invalid("pageToken") from None
    if asked != _fingerprint(given):
        raise invalid("pageToken")
    return int(number), int(offset)


def _token(given: Mapping[str, str], number: int, offset: int) -> str:
    raw = json.dumps([_fingerprint(given), number, offset]).encode()
    return "~!!~" + base64.urlsafe_b64encode(raw).decode()


def _fingerprint(given: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([given.get(name) for name in _SAME]).encode()).hexdigest()[:16]
