"""What Drive's refusals mean to us: every reason that it documents, and what a person can do about it.

https://developers.google.com/workspace/drive/api/guides/handle-errors and .../guides/limits. The status alone says little: a 403
may be a matter of seconds (rate), of a day (upload limit), or for good (permissions, storage), and the reason tells which.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from common.errors import (
    Forbidden,
    LocationMissing,
    ObjectError,
    Parked,
    PreconditionFailed,
    RateLimited,
    Refused,
    SourceMissing,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from common.storage.google_errors import STATUSES, explanation

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.transport.http import Response

UPLOAD_LIMIT_SECONDS = 24 * 3600.0
"""After 750 GB in a day a user cannot upload for 24 hours. Drive does not say when they end; counted from its refusal they
have ended for certain."""
_UPLOAD_LIMIT = "User rate limit exceeded."
"""The whole message when the day's upload is used up, with the same reason as that of too many requests, whose message is
longer."""
_PACIFIC = "America/Los_Angeles"
_ALWAYS_LATE = timezone(timedelta(hours=-8))
"""For machines that know no time zones: in summer an hour later than Pacific time."""

_STATUSES: dict[int, type[ObjectError]] = {**STATUSES, 409: PreconditionFailed}

_STORAGE = (
    "the account that would own the file has no storage left: free some, or write to a shared drive; a service account has "
    "none of its own: make it a member of a shared drive, or write as a person (GDRIVE_SUBJECT, or `brigade auth gdrive`)"
)
_ITEMS = "take items out of it, or let the route write to another folder or shared drive"


@dataclass(frozen=True, slots=True)
class Meaning:
    kind: type[ObjectError]
    advice: str = ""


REASONS: dict[str, Meaning] = {
    # A matter of seconds.
    "rateLimitExceeded": Meaning(RateLimited),
    "userRateLimitExceeded": Meaning(RateLimited),
    "sharingRateLimitExceeded": Meaning(RateLimited),
    "backendError": Meaning(Unavailable),
    "internalError": Meaning(Unavailable),
    "transientError": Meaning(Unavailable),
    # A matter of a day; see `failure`.
    "dailyLimitExceeded": Meaning(Parked, "the project's requests of the day are used up; raise the quota in the Cloud console"),
    "uploadLimitExceeded": Meaning(Parked, "the user has uploaded 750 GB in a day"),
    "uploadQuotaExceeded": Meaning(Parked, "the user has uploaded 750 GB in a day"),
    # Until somebody makes room.
    "storageQuotaExceeded": Meaning(Forbidden, _STORAGE),
    "quotaExceeded": Meaning(Forbidden, _STORAGE),
    "teamDriveFileLimitExceeded": Meaning(Forbidden, f"the shared drive holds as many items as it can: {_ITEMS}"),
    "numChildrenInNonRootLimitExceeded": Meaning(Forbidden, f"the folder holds as many items as it can: {_ITEMS}"),
    "activeItemCreationLimitExceeded": Meaning(Forbidden, f"the account has made as many items as it can: {_ITEMS}"),
    "teamDriveHierarchyTooDeep": Meaning(Forbidden, "a shared drive is at most 100 folders deep: copy to a folder further up"),
    "myDriveHierarchyDepthLimitExceeded": Meaning(Forbidden, "My Drive is at most 100 folders deep: copy to a folder further up"),
    # Until somebody permits it.
    "insufficientFilePermissions": Meaning(
        Forbidden, "share the folder with this account: as Content manager or Editor to write, as Viewer to read"
    ),
    "insufficientParentPermissions": Meaning(Forbidden, "share the folder with this account as Content manager or Editor"),
    "insufficientPermissions": Meaning(Unauthenticated, "the token lacks the Drive scope: sign in again (`brigade auth gdrive`)"),
    "appNotAuthorizedToFile": Meaning(
        Forbidden, "the sign-in covers only files that were opened with this app: sign in with the whole Drive scope"
    ),
    "teamDriveMembershipRequired": Meaning(Forbidden, "add this account to the members of the shared drive"),
    "fileOwnerNotMemberOfTeamDrive": Meaning(Forbidden, "add the file's owner to the members of the shared drive"),
    "domainPolicy": Meaning(Forbidden, "the domain's administrators forbid Drive apps to this account: ask them"),
    "accessNotConfigured": Meaning(Forbidden, "enable the Google Drive API in the Cloud console, in the credentials' project"),
    "fileNeverWritable": Meaning(Forbidden, "files of this kind cannot be changed"),
    "parentNotAFolder": Meaning(LocationMissing, "write the id of a folder"),
    # The file itself.
    "cannotDownloadAbusiveFile": Meaning(
        Forbidden, "Google takes it for malware or spam: only its owner can download it; take it out of the source, or clear it"
    ),
    "cannotDownloadFile": Meaning(Forbidden, "its owner has forbidden downloads: ask for permission to download"),
    "downloadQuotaExceeded": Meaning(Forbidden, "the file was downloaded too often in a day: redrive it tomorrow"),
    "fileNotDownloadable": Meaning(Forbidden, "it has no bytes of its own (a Google document): let the route export documents"),
    "fileNotExportable": Meaning(Forbidden, "documents of this kind cannot be exported: set the route to skip them"),
    "exportSizeLimitExceeded": Meaning(TooLarge, "Google exports at most 10 MB: download the document by hand, or divide it"),
    "propertyLengthLimitExceeded": Meaning(Refused),
    "propertyCountLimitExceeded": Meaning(Refused, "other programs have used up the 100 properties that a file may have"),
    "fieldNotWritable": Meaning(Refused),
    "badRequest": Meaning(Refused),
    "invalid": Meaning(Refused),
    # Somebody was there.
    "fileIdInUse": Meaning(PreconditionFailed),
    "conflict": Meaning(PreconditionFailed),
    "conditionNotMet": Meaning(PreconditionFailed),
    # Who we are.
    "authError": Meaning(Unauthenticated, "the token is not taken (any more)"),
    "required": Meaning(Unauthenticated, "no token was sent"),
    "expired": Meaning(Unauthenticated),
    "notFound": Meaning(SourceMissing, "or this account may not see it"),
}
"""By the `reason` of the first entry of `error.errors`."""


def failure(response: Response, doing: str, name: str, now: Callable[[], float], retry_after: float | None) -> ObjectError:
    """The error that an answer means. `doing` says what was tried, for people: "read", "write", "list"."""
    reason, message = explanation(response.body)
    meaning = REASONS.get(reason)
    if meaning is None or response.status >= 500:
        meaning = Meaning(_STATUSES.get(response.status) or (Unavailable if response.status >= 500 else Refused))
    if reason == "userRateLimitExceeded" and message.strip() == _UPLOAD_LIMIT:
        meaning = REASONS["uploadLimitExceeded"]
    said = f": {message.rstrip('. ')}" if message else ""
    advice = f"; {meaning.advice}" if meaning.advice else ""
    text = f"cannot {doing} {name!r}: {response.status}{f' {reason}' if reason else ''}{said}{advice}"
    if meaning.kind is Parked:
        return Parked(text, until=_reset(reason, now(), retry_after))
    return meaning.kind(text, retry_after=retry_after)


def _reset(reason: str, now: float, retry_after: float | None) -> float:
    """When a limit of the day is over. The project's day ends at midnight in California; a user's lasts 24 hours."""
    if retry_after is not None:
        return now + retry_after
    if reason != "dailyLimitExceeded":
        return now + UPLOAD_LIMIT_SECONDS
    try:
        zone: tzinfo = ZoneInfo(_PACIFIC)
    except ZoneInfoNotFoundError:
        zone = _ALWAYS_LATE
    here = datetime.fromtimestamp(now, UTC).astimezone(zone)
    midnight = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.timestamp()
