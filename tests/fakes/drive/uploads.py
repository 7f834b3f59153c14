"""Uploads in one request, media and multipart, for new files and for new revisions.

https://developers.google.com/workspace/drive/api/guides/manage-uploads
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import DriveError
from tests.fakes.drive.store import Content
from tests.fakes.google.json_body import json_object

if TYPE_CHECKING:
    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.call import Call
    from tests.fakes.drive.changes import Changes
    from tests.fakes.drive.store import File

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)


async def media(changes: Changes, accounts: Accounts, call: Call) -> File:
    accounts.check_upload(call.user)
    data = await call.request.body.read()
    return store(changes, call, {}, Content.whole(data), call.request.headers.get("content-type"))


async def multipart(changes: Changes, accounts: Accounts, call: Call) -> File:
    """Two parts: the metadata as JSON, then the bytes."""
    accounts.check_upload(call.user)
    content_type = call.request.headers.get("content-type", "")
    boundary = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/") or boundary is None:
        raise DriveError(400, "badContent", "Media type is not multipart, or has no boundary.")
    raw = await call.request.body.read()
    (_, metadata), (data_type, data) = _parts(raw, (boundary[1] or boundary[2]).encode())
    return store(changes, call, json_object(metadata, DriveError), Content.whole(data), data_type)


def store(changes: Changes, call: Call, body: dict[str, Any], content: Content, media_type: str | None) -> File:
    if call.operation.startswith("create."):
        return changes.create(call, body, content, media_type)
    return changes.update(call, body, content, media_type)


def _parts(raw: bytes, boundary: bytes) -> list[tuple[str | None, bytes]]:
    """The two parts as (content type, bytes). The first delimiter in the data ends it, as it does in the service."""
    newline = b"\r\n" if raw.partition(b"\n")[0].endswith(b"\r") else b"\n"  # Python's e-mail package, which the official
    delimiter = newline + b"--" + boundary  # client uses, ends lines with one character
    padded = newline + raw
    found: list[tuple[str | None, bytes]] = []
    at = padded.find(delimiter)
    while at >= 0 and padded[at + len(delimiter) : at + len(delimiter) + 2] != b"--":
        end = padded.find(delimiter, at + len(delimiter))
        if end < 0:
            break
        head, _, data = padded[at + len(delimiter) : end].partition(2 * newline)
        found.append((_part_type(head), data))
        at = end
    if len(found) != 2:
        raise DriveError(400, "badContent", "Malformed multipart body.")
    return found


def _part_type(head: bytes) -> str | None:
    for line in head.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            return value.strip()
    return None
