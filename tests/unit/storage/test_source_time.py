"""The time of a source in the forms in which others look for it: to the nanosecond, and never twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.objects import Headers
from common.storage import gcs, s3, source_time
from common.storage.gcs_client import resource_fields
from common.storage.names import SOURCE_MODIFIED, SOURCE_VERSION
from common.storage.s3_headers import to_wire
from common.storage.source_time import GSUTIL_MTIME, MTIME, as_gsutil, as_iso, as_rclone_on_gcs, as_rclone_on_s3, of_file

if TYPE_CHECKING:
    from collections.abc import Callable

TIME = 1_700_000_000_123_456_789
FIRST, LAST = (source_time.since_epoch(datetime(year, 1, 1, tzinfo=UTC)) for year in (1, 9999))


@pytest.mark.parametrize(
    ("time", "iso", "on_s3", "on_gcs", "gsutil"),
    [
        (0, "1970-01-01T00:00:00+00:00", "0", "1970-01-01T00:00:00Z", "0"),
        (TIME, "2023-11-14T22:13:20.123456789+00:00", "1700000000.123456789", "2023-11-14T22:13:20.123456789Z", "1700000000"),
        (
            TIME // 1000 * 1000,
            "2023-11-14T22:13:20.123456+00:00",
            "1700000000.123456",
            "2023-11-14T22:13:20.123456Z",
            "1700000000",
        ),
        (-1_500_000_000, "1969-12-31T23:59:58.500000+00:00", "-1.5", "1969-12-31T23:59:58.5Z", "-2"),
    ],
)
def test_the_forms_of_a_time(time: int, iso: str, on_s3: str, on_gcs: str, gsutil: str) -> None:
    assert (as_iso(time), as_rclone_on_s3(time), as_rclone_on_gcs(time), as_gsutil(time)) == (iso, on_s3, on_gcs, gsutil)


@given(st.integers(FIRST, LAST))
def test_no_form_loses_a_nanosecond(time: int) -> None:
    assert source_time.from_iso(as_iso(time)) == time
    assert of_file({MTIME: as_rclone_on_s3(time)}) == time
    assert of_file({MTIME: as_rclone_on_gcs(time)}) == time
    assert of_file({GSUTIL_MTIME: as_gsutil(time)}) == time // 10**9 * 10**9


@pytest.mark.parametrize("text", ["", "yesterday", "2020-02-29T12:34:56", "1e9", "nan", "-", "12:00", "٣"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert of_file({MTIME: text, GSUTIL_MTIME: text, SOURCE_MODIFIED: text}) is None


@pytest.mark.parametrize("text", ["999999999999", "-999999999999", "253402300800", "-62135596801"])
def test_a_time_that_no_calendar_has_is_none_and_stops_nothing(text: str) -> None:
    # Given metadata with a number that is no date, and what we have noted
    metadata = {MTIME: text, SOURCE_MODIFIED: as_iso(TIME)}
    # Then the noted time is the file's, and a write goes through
    assert of_file(metadata) == TIME
    assert resource_fields(Headers(metadata=metadata))["metadata"][MTIME] == text
    assert ("x-amz-meta-mtime", text) in to_wire(Headers(metadata=metadata))


def test_what_is_read_is_what_the_release_before_reads() -> None:
    # Given a time with nanoseconds as we note it
    # Then whoever reads it as a datetime sees it to the microsecond
    assert datetime.fromisoformat(as_iso(TIME)) == datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)


def test_the_time_of_a_file_that_somebody_uploaded_goes_before_the_time_of_the_upload() -> None:
    assert of_file({MTIME: "1.5", SOURCE_MODIFIED: as_iso(TIME)}) == 1_500_000_000
    assert of_file({GSUTIL_MTIME: "7", SOURCE_MODIFIED: as_iso(TIME)}) == 7_000_000_000
    assert of_file({MTIME: "yesterday", SOURCE_MODIFIED: as_iso(TIME)}) == TIME


def test_a_write_says_the_time_where_others_look_for_it() -> None:
    headers = Headers(metadata={SOURCE_MODIFIED: as_iso(TIME)})
    assert ("x-amz-meta-mtime", as_rclone_on_s3(TIME)) in to_wire(headers)
    assert resource_fields(headers)["metadata"] == {
        SOURCE_MODIFIED: as_iso(TIME),
        MTIME: as_rclone_on_gcs(TIME),
        GSUTIL_MTIME: as_gsutil(TIME),
    }


@pytest.mark.parametrize("own", ["5", "yesterday"])
def test_what_the_source_has_set_itself_stays(own: str) -> None:
    headers = Headers(metadata={SOURCE_MODIFIED: as_iso(TIME), MTIME: own, GSUTIL_MTIME: own})
    assert ("x-amz-meta-mtime", own) in to_wire(headers)
    assert resource_fields(headers)["metadata"] == headers.metadata


def test_nothing_is_added_to_what_has_no_time_of_ours() -> None:
    assert to_wire(Headers(metadata={"a": "b"})) == [("x-amz-meta-a", "b")]
    assert resource_fields(Headers(metadata={"a": "b"}))["metadata"] == {"a": "b"}


def test_what_we_added_for_others_does_not_accumulate() -> None:
    ours = {SOURCE_VERSION: "v", SOURCE_MODIFIED: as_iso(TIME)}
    for added in ({MTIME: as_rclone_on_s3(TIME)}, {MTIME: as_rclone_on_gcs(TIME), GSUTIL_MTIME: as_gsutil(TIME)}):
        assert source_time.without_ours(ours | added) == ours
    # And what is not ours stays, of a copy and of anything else
    theirs = {MTIME: "5", GSUTIL_MTIME: "5"}
    assert source_time.without_ours(ours | theirs) == ours | theirs
    assert source_time.without_ours({MTIME: as_rclone_on_s3(TIME)}) == {MTIME: as_rclone_on_s3(TIME)}


@pytest.mark.parametrize(
    ("kept", "largest", "added"),
    [
        (s3.LIMITS.kept, 2048, {MTIME: as_rclone_on_s3(TIME)}),
        (gcs.LIMITS.kept, 8192, {MTIME: as_rclone_on_gcs(TIME), GSUTIL_MTIME: as_gsutil(TIME)}),
    ],
)
def test_there_is_room_for_what_a_write_adds(kept: Callable[[Headers], Headers], largest: int, added: dict[str, str]) -> None:
    # Given an object of which a copy says the time, with as much metadata as there is room for beside that
    timed = {SOURCE_MODIFIED: as_iso(TIME)}
    room = largest - sum(len(name) + len(value) for name, value in (timed | added).items()) - len("a")
    full, over = (Headers(metadata=timed | {"a": "x" * size}) for size in (room, room + 1))
    # Then all of it is kept, and with a byte more what is not ours goes
    assert kept(full) is full
    assert kept(over) == Headers(metadata=timed)
