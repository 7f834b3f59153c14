"""A file as Drive describes it, and as we do: version, times, and what is kept beside the bytes.

https://developers.google.com/workspace/drive/api/reference/rest/v3/files#resource
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.objects import StoredObject, Version
from common.storage.gdrive import properties
from common.storage.source_time import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
NATIVE = "application/vnd.google-apps."
"""Begins the type of everything that has no bytes of its own: documents, folders, shortcuts."""

FIELDS = (
    "id,name,mimeType,parents,trashed,size,createdTime,modifiedTime,version,headRevisionId,md5Checksum,sha256Checksum,"
    "description,properties,appProperties,driveId,shortcutDetails(targetId,targetMimeType)"
)
"""What `stored` needs, and those who list."""


def version(resource: Mapping[str, Any]) -> Version:
    """Which bytes these are. The head revision changes with the bytes and not with a new name or property; a native document has
    none, and there `version` has to do, which every change moves. It counts from 1 in each document, so that it is told with the
    document's id: another one of the same name is another version.
    """
    token = resource.get("headRevisionId") or resource.get("md5Checksum") or f"v{resource['version']}@{resource['id']}"
    return Version(str(token), str(resource["id"]))


def stored(resource: Mapping[str, Any], key: str) -> StoredObject:
    """The object that a resource with FIELDS describes. Raises KeyError or ValueError for one that lacks what every file has."""
    headers, crc32c = properties.headers(resource)
    return StoredObject(
        key=key,
        size=_size(resource),
        version=version(resource),
        modified=moment(resource.get("modifiedTime")),
        headers=headers,
        crc32c=crc32c,
        md5=str(resource["md5Checksum"]).lower() if resource.get("md5Checksum") else None,
        digests={"sha256": str(resource["sha256Checksum"]).lower()} if resource.get("sha256Checksum") else {},
    )


def _size(resource: Mapping[str, Any]) -> int:
    """Only what has no bytes of its own may have no size: of anything else it is not known, which is not none."""
    if "size" not in resource and str(resource["mimeType"]).startswith(NATIVE):
        return 0
    size = int(resource["size"])
    if size < 0:
        raise ValueError(f"the size {size}")
    return size
