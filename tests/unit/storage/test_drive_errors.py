"""Drive's refusals: which may pass, which wait for another day, which are for good, and what a person can do."""

from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfoNotFoundError

import pytest

from common import errors as ours
from common.errors import Forbidden, ObjectError, Parked, RateLimited, TooLarge, Unavailable
from common.storage.gdrive import errors
from common.transport.http import Response
from tests.fakes.drive.errors import CATALOGUE, TOO_MANY_UNITS

NOON = datetime.fromisoformat("2026-11-21T12:00:00-08:00").timestamp()
"""In California."""


def meaning(status: int, reason: str, message: str = "", *, now: float = NOON, retry_after: float | None = None) -> ObjectError:
    error = {"code": status, "message": message, "errors": [{"domain": "global", "reason": reason, "message": message}]}
    response = Response(status, {}, json.dumps({"error": error}).encode())
    return errors.failure(response, "write", "gdrive://x/y", lambda: now, retry_after)


@pytest.mark.parametrize("reason", errors.REASONS)
def test_every_reason_names_the_file_and_itself(reason: str) -> None:
    text = str(meaning(403, reason, "As Google says it"))
    assert "cannot write 'gdrive://x/y'" in text
    assert reason in text
    assert "As Google says it" in text


@pytest.mark.parametrize("reason", CATALOGUE)
def test_every_reason_of_the_stand_in_is_understood(reason: str) -> None:
    known = CATALOGUE[reason]
    if known.status < 500:
        assert reason in {**errors.REASONS, "cannotAddParent": None}
    assert isinstance(meaning(known.status, reason, known.message), ObjectError)


@pytest.mark.parametrize(
    ("status", "reason", "kind", "retryable"),
    [
        (403, "rateLimitExceeded", RateLimited, True),
        (403, "userRateLimitExceeded", RateLimited, True),
        (429, "rateLimitExceeded", RateLimited, True),
        (500, "internalError", Unavailable, True),
        (503, "backendError", Unavailable, True),
        (502, "", Unavailable, True),
        (403, "storageQuotaExceeded", Forbidden, False),
        (403, "insufficientFilePermissions", Forbidden, False),
        (403, "cannotDownloadAbusiveFile", Forbidden, False),
        (403, "teamDriveFileLimitExceeded", Forbidden, False),
        (403, "exportSizeLimitExceeded", TooLarge, False),
        (403, "somethingNew", Forbidden, False),
        (401, "authError", ours.Unauthenticated, True),
        (404, "notFound", ours.SourceMissing, False),
        (409, "fileIdInUse", ours.PreconditionFailed, False),
        (400, "badRequest", ours.Refused, False),
        (418, "teapot", ours.Refused, False),
    ],
)
def test_what_may_be_tried_again(status: int, reason: str, kind: type[ObjectError], *, retryable: bool) -> None:
    error = meaning(status, reason, retry_after=7)
    assert type(error) is kind
    assert error.retryable is retryable
    assert error.retry_after == 7


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("storageQuotaExceeded", "shared drive"),
        ("insufficientFilePermissions", "share the folder"),
        ("cannotDownloadAbusiveFile", "owner"),
        ("exportSizeLimitExceeded", "10 MB"),
        ("accessNotConfigured", "enable the Google Drive API"),
        ("teamDriveFileLimitExceeded", "another folder or shared drive"),
    ],
)
def test_what_will_not_pass_says_what_to_do(reason: str, advice: str) -> None:
    assert advice in str(meaning(403, reason))


def test_the_limit_of_the_day_is_told_from_that_of_the_minute_by_its_words() -> None:
    # Given the two refusals that have one reason
    minute = meaning(403, "userRateLimitExceeded", TOO_MANY_UNITS)
    day = meaning(403, "userRateLimitExceeded", "User rate limit exceeded.")

    # Then one passes in seconds, and the other in a day
    assert isinstance(minute, RateLimited)
    assert isinstance(day, Parked)
    assert day.until == NOON + 24 * 3600
    assert "750 GB" in str(day)


def test_the_projects_day_ends_at_midnight_in_california() -> None:
    # Given noon, and the day on which clocks are set back an hour
    day = meaning(403, "dailyLimitExceeded", "Daily Limit Exceeded")
    longer = datetime.fromisoformat("2026-11-01T00:30:00-07:00").timestamp()
    autumn = meaning(403, "dailyLimitExceeded", "", now=longer)

    # Then it is twelve hours, and twenty-four and a half
    assert isinstance(day, Parked)
    assert isinstance(autumn, Parked)
    assert day.until == NOON + 12 * 3600
    assert autumn.until == longer + 24.5 * 3600


def test_without_a_table_of_time_zones_it_is_never_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a machine that knows no time zones, in summer
    def unknown(name: str) -> None:
        raise ZoneInfoNotFoundError(name)

    summer = datetime.fromisoformat("2026-07-01T12:00:00-07:00").timestamp()
    monkeypatch.setattr(errors, "ZoneInfo", unknown)

    # Then the day ends an hour after midnight
    error = meaning(403, "dailyLimitExceeded", "", now=summer)
    assert isinstance(error, Parked)
    assert error.until == summer + 13 * 3600


def test_a_service_that_says_when_is_believed() -> None:
    error = meaning(403, "userRateLimitExceeded", "User rate limit exceeded.", retry_after=90)
    assert isinstance(error, Parked)
    assert error.until == NOON + 90


@pytest.mark.parametrize("body", [b"", b"<html>Sorry</html>", b"[]", b'{"error": "text"}', b'{"error": {"errors": []}}', b"\xff"])
def test_an_answer_of_somebody_else_is_told_by_its_status(body: bytes) -> None:
    for status, kind in ((502, Unavailable), (403, Forbidden), (429, RateLimited)):
        assert type(errors.failure(Response(status, {}, body), "read", "x", lambda: NOON, None)) is kind
