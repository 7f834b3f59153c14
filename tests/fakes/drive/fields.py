"""Partial responses: which fields an answer has, by the `fields` parameter or by the method's default.

A name that the resource does not have is an error, as in the service; the official discovery document says which there are.
https://developers.google.com/workspace/drive/api/guides/fields-parameter
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import googleapiclient

from tests.fakes.drive.errors import DriveError
from tests.fakes.gcs import fields as masks
from tests.fakes.gcs.errors import GcsError

if TYPE_CHECKING:
    from tests.fakes.drive.call import Call

_FILE = "kind,id,name,mimeType,resourceKey,driveId,teamDriveId"
DEFAULTS = {
    "FileList": f"kind,incompleteSearch,nextPageToken,files({_FILE})",
    "File": _FILE,
    "ChangeList": f"kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,time,removed,fileId,driveId,file({_FILE}))",
    "PermissionList": "kind,nextPageToken,permissions(kind,id,type,role)",
    "Permission": "kind,id,type,role",
    "DriveList": "kind,nextPageToken,drives(kind,id,name)",
    "Drive": "kind,id,name",
    "GeneratedIds": "*",
    "StartPageToken": "*",
}
"""What is answered when the client does not choose. about.get has no default: it demands a choice."""


def select(call: Call, schema: str, value: dict[str, Any]) -> Any:
    """`value`, a resource of this schema, reduced to what the call wants."""
    wanted = call.query.get("fields")
    if wanted is None:
        if schema not in DEFAULTS:
            message = "The 'fields' parameter is required for this method."
            raise DriveError(400, "required", message, location="fields")
        return masks.select(value, DEFAULTS[schema])
    check(wanted, schema)
    return masks.select(value, wanted)


@lru_cache(maxsize=256)
def check(wanted: str, schema: str) -> None:
    try:
        mask = masks.parse(wanted)
    except GcsError as error:
        raise _bad(error.messages[0]) from None
    _check(mask, {"$ref": schema})


def _check(mask: masks.Mask, described: dict[str, Any]) -> None:
    described = described.get("items", described)
    if "$ref" in described:
        described = _schemas()[described["$ref"]]
    names = described.get("properties")
    for name, below in mask.items():
        if name == "*" or names is None:  # a map of the client's own names, such as properties
            continue
        if name not in names:
            raise _bad(f"Invalid field selection {name}")
        _check(below, names[name])


@lru_cache(maxsize=1)
def _schemas() -> dict[str, Any]:
    path = Path(googleapiclient.__file__).parent / "discovery_cache/documents/drive.v3.json"
    schemas: dict[str, Any] = json.loads(path.read_bytes())["schemas"]
    return schemas


def _bad(message: str) -> DriveError:
    return DriveError(400, "invalidParameter", message, location="fields")
