"""The feed of changes: what is new since a token. A file that changed often is named once, where it changed last.

https://developers.google.com/workspace/drive/api/guides/manage-changes. What lies below a folder that was moved or trashed is
not named: only the folder itself has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import DriveError, invalid
from tests.fakes.drive.listing import page_size
from tests.fakes.drive.resources import stamp

if TYPE_CHECKING:
    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.call import Call
    from tests.fakes.drive.resources import Resources
    from tests.fakes.drive.store import Store


def start_token(store: Store, accounts: Accounts, call: Call) -> dict[str, Any]:
    _check_drive(store, accounts, call)
    return {"kind": "drive#startPageToken", "startPageToken": str(store.change_number)}


def changes(store: Store, accounts: Accounts, resources: Resources, call: Call) -> dict[str, Any]:
    given = call.query
    _check_drive(store, accounts, call)
    token = given.get("pageToken")
    if not token:
        raise DriveError(400, "required", "Required parameter: pageToken", location="pageToken")
    if not token.isdecimal() or int(token) > store.change_number:
        raise invalid("pageToken")
    size = page_size(given, store.settings.page_limit)
    drive_id = given.get("driveId")
    shared = "true" in {given.get("includeItemsFromAllDrives"), given.get("includeTeamDriveItems")}
    found = [
        (number, file_id, moment)
        for file_id, (number, moment, drive) in store.changes.items()
        if number >= int(token) and (drive == drive_id if drive_id else drive is None or shared)
    ]
    entries = [_entry(store, accounts, resources, call, file_id, moment) for _, file_id, moment in found[:size]]
    if given.get("includeRemoved") == "false":
        entries = [entry for entry in entries if not entry["removed"]]
    body = {"kind": "drive#changeList", "changes": entries}
    if len(found) > size:
        return body | {"nextPageToken": str(found[size][0])}
    return body | {"newStartPageToken": str(store.change_number)}


def _entry(store: Store, accounts: Accounts, resources: Resources, call: Call, file_id: str, moment: int) -> dict[str, Any]:
    file = store.files.get(file_id)
    entry = {
        "kind": "drive#change",
        "type": "file",
        "changeType": "file",
        "time": stamp(moment),
        "fileId": file_id,
        "removed": file is None or not accounts.role(call.user, file),
    }
    return entry if file is None or entry["removed"] else entry | {"file": resources.file(file, call.user)}


def _check_drive(store: Store, accounts: Accounts, call: Call) -> None:
    drive_id = call.query.get("driveId")
    if drive_id is None:
        return
    if not call.all_drives:
        raise DriveError(403, "supportsTeamDrivesRequired", "The supportsAllDrives parameter was not set to true.")
    accounts.see(call.user, store.drive(drive_id))
