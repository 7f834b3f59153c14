"""When the source of a copy was modified: as we note it (`names.SOURCE_MODIFIED`), and in the forms in which others look for it.

Times are whole nanoseconds since 1970, because files have them and a float has not. rclone takes a copy for old when its time is
another than the source's by more than the coarser of the two can hold, so that a lost nanosecond costs a copy.

- rclone on S3: metadata `mtime`, seconds as a decimal number (backend/s3: metaMtime, swift.TimeToFloatString).
- rclone on GCS: metadata `mtime` as RFC 3339 (backend/googlecloudstorage: metaMtime, metadataFromModTime), and gsutil's entry.
- gsutil and `gcloud storage`: metadata `goog-reserved-file-mtime`, whole seconds (`--preserve-posix`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from common.storage.names import SOURCE_MODIFIED, SOURCE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

MTIME = "mtime"
GSUTIL_MTIME = "goog-reserved-file-mtime"
MOST_ADDED = 96
"""Bytes of both entries, names and values together, are fewer."""

_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CALENDAR = range(
    (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1) * _SECOND,
    (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1) * _SECOND,
)
"""Any number may stand in metadata: one that is no date of a calendar can be written nowhere else."""
_FRACTION = re.compile(r"(?<=:\d\d)[.,](\d{1,9})\d*")
_DECIMAL = re.compile(r"(-?)(\d{1,12})(?:\.(\d{0,9})\d*)?", re.ASCII)


def moment(text: str | None) -> datetime | None:
    """When a service says that an object was modified. For people only: a time that nobody can read, or of a year that no
    calendar has, is no reason to leave an object behind.
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except (ValueError, OverflowError, TypeError):
        return None


def since_epoch(moment: datetime, nanoseconds: int = 0) -> int:
    """Of a moment with a time zone, and what it cannot hold."""
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * _SECOND + since.microseconds * 1000 + nanoseconds


def from_iso(text: str) -> int | None:
    """Of ISO 8601 with a time zone; None for anything else."""
    fraction = _FRACTION.search(text)
    whole = text if fraction is None else text[: fraction.start()] + text[fraction.end() :]
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return since_epoch(moment) + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def as_iso(time: int) -> str:
    """As `SOURCE_MODIFIED` holds it: no more digits than it takes. Raises OverflowError for a year that no calendar has."""
    seconds, fraction = divmod(time, _SECOND)
    moment = _EPOCH + timedelta(seconds=seconds, microseconds=fraction // 1000)
    if fraction % 1000 == 0:
        return moment.isoformat()
    return moment.replace(microsecond=0).isoformat().replace("+00:00", f".{fraction:09}+00:00")


def as_rclone_on_s3(time: int) -> str:
    """Seconds, with as many decimals as it takes."""
    whole, fraction = divmod(abs(time), _SECOND)
    decimals = f".{fraction:09}".rstrip("0") if fraction else ""
    return f"{'-' if time < 0 else ''}{whole}{decimals}"


def as_rclone_on_gcs(time: int) -> str:
    """RFC 3339, with as many decimals as it takes."""
    seconds, fraction = divmod(time, _SECOND)
    decimals = f".{fraction:09}".rstrip("0") if fraction else ""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", f"{decimals}Z")


def as_gsutil(time: int) -> str:
    return str(time // _SECOND)


def noted(metadata: Mapping[str, str]) -> int | None:
    """What we have noted of the source; None where that is nothing, or no time."""
    text = metadata.get(SOURCE_MODIFIED)
    return None if text is None else from_iso(text)


def of_file(metadata: Mapping[str, str]) -> int | None:
    """The time of the file that the object once was: as rclone or gcloud left it in the metadata, which is nearer to the truth
    than the time of an upload, else as we have noted it.
    """
    for name in (MTIME, GSUTIL_MTIME):
        text = metadata.get(name, "")
        time = from_iso(text) if (decimal := _DECIMAL.fullmatch(text)) is None else _nanoseconds(*decimal.groups())
        if time is not None and time in _CALENDAR:
            return time
    return noted(metadata)


def without_ours(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a source without what a writer of ours added to them for others: a copy of a copy has the entry in the form
    that is looked for where it is. What its owner has set stays.
    """
    left = dict(metadata)
    time = noted(metadata) if SOURCE_VERSION in metadata else None
    if time is not None:
        ours = {MTIME: (as_rclone_on_s3(time), as_rclone_on_gcs(time)), GSUTIL_MTIME: (as_gsutil(time),)}
        for name, values in ours.items():
            if left.get(name) in values:
                del left[name]
    return left


def _nanoseconds(sign: str, whole: str, decimals: str | None) -> int:
    time = int(whole) * _SECOND + int((decimals or "").ljust(9, "0"))
    return -time if sign else time
