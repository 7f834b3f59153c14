"""The errors of the Drive API, with the reasons and words that the real service uses: clients and people read both.

Most texts: https://developers.google.com/workspace/drive/api/guides/handle-errors. Those that the page lacks are as people
report them: fileIdInUse and the 124 bytes (RichardX366/Obsidian-Google-Drive#34), service accounts (Jumbo810/
Upload_Github_Artifacts_TO_GDrive#22), the limit of 750 GB, which differs from the limit per minute by its words alone
(rclone/rclone#3857).
"""

from __future__ import annotations

import json
from typing import NamedTuple

from tests.fakes.http import Response

JSON = ("Content-Type", "application/json; charset=UTF-8")
TEXT = ("Content-Type", "text/plain; charset=utf-8")

USAGE = "usageLimits"
CONSOLE = "https://console.developers.google.com/apis/api/drive.googleapis.com/quotas?project=1"
TOO_MANY_UNITS = (
    "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota. You may consider re-evaluating "
    "expected per-user traffic to the API and adjust project quota limits accordingly. You may monitor aggregate quota usage "
    f"and adjust limits in the API Console: {CONSOLE}"
)
NO_QUOTA = (
    "Service Accounts do not have storage quota. Leverage shared drives "
    "(https://developers.google.com/workspace/drive/api/guides/about-shareddrives), or use OAuth delegation "
    "(http://support.google.com/a/answer/7281227) instead."
)


class Known(NamedTuple):
    status: int
    message: str
    domain: str = "global"


CATALOGUE = {
    "authError": Known(401, "Invalid Credentials"),
    "dailyLimitExceeded": Known(403, "Daily Limit Exceeded", USAGE),
    "userRateLimitExceeded": Known(403, "User Rate Limit Exceeded", USAGE),
    "rateLimitExceeded": Known(403, "Rate Limit Exceeded", USAGE),
    "storageQuotaExceeded": Known(403, "The user's Drive storage quota has been exceeded."),
    "insufficientFilePermissions": Known(403, "The user does not have sufficient permissions for this file."),
    "insufficientParentPermissions": Known(403, "Insufficient permissions for the specified parent."),
    "insufficientPermissions": Known(403, "Insufficient Permission: Request had insufficient authentication scopes."),
    "cannotDownloadAbusiveFile": Known(403, "This file has been identified as malware or spam and cannot be downloaded."),
    "cannotDownloadFile": Known(403, "This file cannot be downloaded by the user."),
    "downloadQuotaExceeded": Known(403, "The download quota for this file has been exceeded.", USAGE),
    "exportSizeLimitExceeded": Known(403, "This file is too large to be exported."),
    "fileNotExportable": Known(403, "Export only supports Docs Editors files."),
    "domainPolicy": Known(403, "The domain administrators have disabled Drive apps."),
    "activeItemCreationLimitExceeded": Known(
        403,
        "This account has exceeded the creation limit of 500 million items. To create more items, permanently delete some items.",
    ),
    "numChildrenInNonRootLimitExceeded": Known(
        403, "The limit for this folder's number of children (files and folders) has been exceeded."
    ),
    "teamDriveFileLimitExceeded": Known(403, "The file limit for this shared drive has been exceeded."),
    "teamDriveHierarchyTooDeep": Known(403, "The shared drive hierarchy depth will exceed the limit."),
    "myDriveHierarchyDepthLimitExceeded": Known(
        403,
        "Your My Drive can't contain more than 100 levels of folders. For details, see "
        "https://developers.google.com/workspace/drive/api/guides/handle-errors#nested-folder-levels.",
    ),
    "teamDriveMembershipRequired": Known(403, "The attempted action requires shared drive membership."),
    "propertyLengthLimitExceeded": Known(
        403, "Properties and app properties are limited to 124 bytes in UTF-8 encoding, counting both the key and the value."
    ),
    "propertyCountLimitExceeded": Known(403, "The number of properties for this file exceeds the limit."),
    "cannotAddParent": Known(403, "Increasing the number of parents is not allowed"),
    "parentNotAFolder": Known(403, "The specified parent is not a folder."),
    "fileIdInUse": Known(409, "A file already exists with the provided ID."),
    "backendError": Known(503, "Backend Error"),
    "internalError": Known(500, "Internal Error"),
}
"""Reason -> how the service says it."""

_REASONS = {401: "authError", 403: "forbidden", 404: "notFound", 429: "rateLimitExceeded", 500: "internalError"}


class DriveError(Exception):
    """An answer that is not a success. `location` is the parameter or header that is to blame."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        domain: str = "global",
        location: str = "",
        location_type: str = "parameter",
        plain: bool = False,
    ) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = message
        self.domain = domain
        self.location = location
        self.location_type = location_type
        self.plain = plain
        self.headers: list[tuple[str, str]] = []

    def response(self) -> Response:
        """`plain`: what breaks the upload protocol is answered in plain text, not JSON."""
        if self.plain:
            return Response(self.status, [TEXT, *self.headers], self.message.encode())
        item = {"message": self.message, "domain": self.domain, "reason": self.reason}
        if self.location:
            item |= {"location": self.location, "locationType": self.location_type}
        if self.message == TOO_MANY_UNITS:
            item["extendedHelp"] = CONSOLE
        body = {"error": {"code": self.status, "message": self.message, "errors": [item]}}
        return Response(self.status, [JSON, *self.headers], json.dumps(body).encode())


def known(reason: str, *, location: str = "") -> DriveError:
    """An error of the catalogue."""
    status, message, domain = CATALOGUE[reason]
    return DriveError(status, reason, message, domain=domain, location=location)


def planned(status: int | None, reason: str, message: str) -> DriveError:
    """What a planned fault answers: a status or a reason is enough, the other follows."""
    reason = reason or _REASONS.get(status or 503, "backendError")
    usual, words, domain = CATALOGUE.get(reason, Known(status or 503, f"A fault that was asked for: {reason}"))
    return DriveError(status or usual, reason, message or words, domain=domain)


def no_file(file_id: str) -> DriveError:
    """Also for a file that the user may not see, and for one in a shared drive when the client does not support those."""
    return DriveError(404, "notFound", f"File not found: {file_id}.", location="fileId")


def no_drive(drive_id: str) -> DriveError:
    return DriveError(404, "notFound", f"Shared drive not found: {drive_id}", location="driveId")


def no_page() -> DriveError:
    return DriveError(404, "notFound", "Not Found", plain=True)


def invalid(location: str, message: str = "Invalid Value") -> DriveError:
    return DriveError(400, "invalid", message, location=location)


def not_writable(message: str = "The resource body includes fields which are not directly writable.") -> DriveError:
    return DriveError(403, "fieldNotWritable", message)


def may_not_write(file_id: str) -> DriveError:
    return DriveError(403, "insufficientFilePermissions", f"The user does not have sufficient permissions for file {file_id}.")


def unauthorized(message: str = "Invalid Credentials") -> DriveError:
    error = DriveError(401, "authError", message, location="Authorization", location_type="header")
    error.headers.append(("WWW-Authenticate", 'Bearer realm="https://accounts.google.com/", error="invalid_token"'))
    return error


def upload_limit() -> DriveError:
    """750 GB in a day. The reason is that of too many requests; only the words differ, and clients must read them."""
    return DriveError(403, "userRateLimitExceeded", "User rate limit exceeded.", domain=USAGE)


def too_many_units(*, project: bool) -> DriveError:
    if project:
        return known("rateLimitExceeded")
    return DriveError(403, "userRateLimitExceeded", TOO_MANY_UNITS, domain=USAGE)


def no_quota() -> DriveError:
    return DriveError(403, "storageQuotaExceeded", NO_QUOTA)
