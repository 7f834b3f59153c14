"""Which operation a request asks for. The names are those that faults, counters, quota and tests use; see the package."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import DriveError, no_page
from tests.fakes.google.json_body import json_object

if TYPE_CHECKING:
    from tests.fakes.http import Request

_PATH = re.compile(r"/(?P<upload>(?:resumable/)?upload/)?drive/v3/(?P<rest>.+)")
_TABLE = {
    ("GET", "files"): "files.list",
    ("POST", "files"): "files.create",
    ("GET", "files/generateIds"): "files.generateIds",
    ("GET", "files/*"): "files.get",
    ("PATCH", "files/*"): "files.update",
    ("DELETE", "files/*"): "files.delete",
    ("POST", "files/*/copy"): "files.copy",
    ("GET", "files/*/export"): "files.export",
    ("GET", "files/*/permissions"): "permissions.list",
    ("POST", "files/*/permissions"): "permissions.create",
    ("DELETE", "files/*/permissions/*"): "permissions.delete",
    ("GET", "changes"): "changes.list",
    ("GET", "changes/startPageToken"): "changes.getStartPageToken",
    ("GET", "about"): "about.get",
    ("GET", "drives"): "drives.list",
    ("GET", "drives/*"): "drives.get",
}
_UPLOADS = {"media": "media", "": "media", "multipart": "multipart", "resumable": "resumable.begin"}
_TOKEN_PATHS = frozenset({"/token", "/oauth2/v4/token"})
_FIXED = frozenset({"generateIds", "startPageToken", "copy", "export", "permissions"})


@dataclass(slots=True)
class Call:
    """A request with its meaning. `key` is the id in the path; `name` is known only where a session or a file gives it."""

    request: Request
    operation: str
    query: dict[str, str]
    key: str = ""
    below: str = ""
    """What stands behind a second id in the path: the permission's."""
    user: str = ""
    keep_bytes: int | None = None
    """A planned fault: of this chunk, commit at most so many bytes."""
    notes: list[str] = field(default_factory=list)
    """What a fault wants to hear of: 'committed less'."""

    @property
    def upload_id(self) -> str:
        return self.query.get("upload_id", "")

    @property
    def all_drives(self) -> bool:
        return "true" in {self.query.get("supportsAllDrives"), self.query.get("supportsTeamDrives")}

    async def json(self) -> dict[str, Any]:
        return json_object(await self.request.body.read(), DriveError)


async def understand(request: Request) -> Call:
    """Raises DriveError 404 for a path or method that the API does not have."""
    if request.path in _TOKEN_PATHS and request.method == "POST":
        return Call(request, "token", {})
    match = _PATH.fullmatch(request.path)
    if match is None:
        raise no_page()
    parts = [urllib.parse.unquote(part) for part in match["rest"].split("/")]
    method, query = request.method, request.query
    if method == "POST" and request.headers.get("x-http-method-override", "").upper() == "GET":
        # the official client does so when the query would make the address longer than 2,048 characters
        method, query = "GET", query | dict(urllib.parse.parse_qsl((await request.body.read()).decode(), keep_blank_values=True))
    call = Call(request, "", query)
    shape = "/".join(part if at == 0 or part in _FIXED else "*" for at, part in enumerate(parts))
    if len(parts) > 1 and shape.split("/")[1] == "*":
        call.key = parts[1]
    if len(parts) == 4:
        call.below = parts[3]
    call.operation = _upload(call, method, shape) if match["upload"] else _plain(call, method, shape)
    return call


def _plain(call: Call, method: str, shape: str) -> str:
    try:
        operation = _TABLE[method, shape]
    except KeyError:
        raise no_page() from None
    return "files.get.media" if operation == "files.get" and call.query.get("alt") == "media" else operation


def _upload(call: Call, method: str, shape: str) -> str:
    if call.upload_id:
        if method == "DELETE":
            return "resumable.cancel"
        if method not in {"PUT", "POST"}:
            raise no_page()
        question = call.request.headers.get("content-range", "").startswith("bytes */")
        return "resumable.query" if question else "resumable.chunk"
    verb = {("POST", "files"): "create", ("PATCH", "files/*"): "update"}.get((method, shape))
    if verb is None:
        raise no_page()
    try:
        return f"{verb}.{_UPLOADS[call.query.get('uploadType', '')]}"
    except KeyError:
        raise DriveError(400, "badRequest", "Invalid upload type.", location="uploadType") from None
