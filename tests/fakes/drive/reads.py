"""Downloads and exports.

https://developers.google.com/workspace/drive/api/guides/manage-downloads
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.drive.errors import DriveError, known
from tests.fakes.http import Response
from tests.fakes.http.ranges import BehindEndError, span

if TYPE_CHECKING:
    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.call import Call
    from tests.fakes.drive.changes import Changes
    from tests.fakes.drive.settings import Settings
    from tests.fakes.drive.store import File

_CACHE = ("Cache-Control", "private, max-age=0, must-revalidate")


def media(changes: Changes, accounts: Accounts, call: Call) -> Response:
    """The bytes of a blob. Their checksums are in the metadata only: a download carries none."""
    file = changes.find(call)
    if file.content is None:
        message = "Only files with binary content can be downloaded. Use Export with Docs Editors files."
        raise DriveError(403, "fileNotDownloadable", message, location="alt")
    _check_allowed(accounts, call, file)
    if file.content.data is None:
        raise DriveError(500, "internalError", "This server was told not to keep the bytes of files of this size.")
    file.downloads += 1
    data, headers = file.content.data, [("Content-Type", file.mime_type), _CACHE, ("Vary", "Origin")]
    found = _span(call.request.headers.get("range", ""), len(data))
    if found is None:
        return Response(200, headers, data[:])
    start, end = found
    headers.append(("Content-Range", f"bytes {start}-{end - 1}/{len(data)}"))
    return Response(206, headers, data[start:end])


def _check_allowed(accounts: Accounts, call: Call, file: File) -> None:
    """The owner, and in a shared drive who may write, may take the risk of an abusive file."""
    if not file.downloadable and accounts.role(call.user, file) < 2:
        raise known("cannotDownloadFile")
    if file.abusive:
        trusted = accounts.role(call.user, file) >= 2 if file.drive is not None else file.owner == call.user
        if call.query.get("acknowledgeAbuse") != "true" or not trusted:
            raise known("cannotDownloadAbusiveFile")


def check_acknowledgement(call: Call) -> None:
    if call.query.get("acknowledgeAbuse") == "true":
        message = "The acknowledgeAbuse parameter is only applicable for download requests."
        raise DriveError(403, "invalidAbuseAcknowledgment", message, location="acknowledgeAbuse")


def export(changes: Changes, settings: Settings, call: Call) -> Response:
    """A document in another format, always whole; a range is not honoured."""
    call.query.setdefault("supportsAllDrives", "true")  # the method has no such parameter
    file = changes.find(call)
    wanted = call.query.get("mimeType")
    if wanted is None:
        raise DriveError(400, "required", "Required parameter: mimeType", location="mimeType")
    if not file.document:
        raise known("fileNotExportable")
    data = file.exports.get(wanted)
    if data is None:
        raise DriveError(400, "badRequest", "The requested conversion is not supported.", location="convertTo")
    if len(data) > settings.export_limit:
        raise known("exportSizeLimitExceeded")
    file.downloads += 1
    return Response(200, [("Content-Type", wanted), _CACHE], data)


def _span(header: str, size: int) -> tuple[int, int] | None:
    try:
        return span(header, size)
    except BehindEndError as behind:
        message = "Request range not satisfiable"
        error = DriveError(416, "requestedRangeNotSatisfiable", message, location="Range", location_type="header")
        error.headers.append(behind.header)
        raise error from None
