"""Tasks in their wire format: what is written is read, and many at once are written as each by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Malformed, NotKnownYet
from common.objects import UNSIZED, StoredObject, Version
from common.task import Form, Task, decode, encode

texts = st.text(st.characters(exclude_categories=()), min_size=1, max_size=20)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)
zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(seconds=-1))])
moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1), timezones=zones)  # noqa: DTZ001 - bounds
objects = st.builds(
    StoredObject,
    key=texts,
    size=st.integers(0, 2**63) | st.just(UNSIZED),
    version=st.builds(Version, texts, st.none() | texts),
    modified=st.none() | moments,
)


@given(st.lists(objects, max_size=4), ids, ids, moments, st.integers(0, 10**15))
def test_many_tasks_are_written_as_each_by_itself(
    page: list[StoredObject], route: str, job: str, queued: datetime, first: int
) -> None:
    # Given objects of a page, with any names and versions
    # When their tasks are written together
    there = {item.key for item in page[::2]}
    written = Form(route, job, queued).filled(page, first, lambda key: f"gs://there/{key}", there)
    # Then that is what is written of each by itself, to the byte, and what is there already is told so
    tasks = [
        Task(
            *(route, item.key, item.version, item.size, item.modified, f"gs://there/{item.key}", job, number, queued),
            there=item.key in there,
        )
        for number, item in enumerate(page, first)
    ]
    assert written == [encode(task) for task in tasks]
    # And what is read again
    assert [decode(message) for message in written] == tasks


def message(**fields: object) -> bytes:
    queued = datetime(2026, 11, 21, tzinfo=UTC)
    task = Task("photos", "k", Version("v"), 1, queued, "gs://there/k", "photos-20261121T000000-abcdef", 0, queued)
    return json.dumps(json.loads(encode(task)) | fields).encode()


@pytest.mark.parametrize("field", ["route", "job"])
@pytest.mark.parametrize(
    "name", ["photos-1:settled", "a:b", "{a}", "a b", "a\n", "", ".a", "\ud800", "a" * 201, "süß", "a/b", "*"]
)
def test_an_id_that_would_name_another_key_of_the_state_is_no_task(field: str, name: str) -> None:
    # Given ids become parts of Redis keys: `JOB:settled` is the bitmap of the job
    # When a task with such an id is read
    # Then it is refused before anything is asked of Redis
    with pytest.raises(Malformed, match=f"'{field}'") as refused:
        decode(message(**{field: name}))
    assert not isinstance(refused.value, NotKnownYet)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
@pytest.mark.parametrize("field", ["queued", "modified"])
def test_a_time_that_utc_does_not_have_is_no_time(field: str, moment: str) -> None:
    with pytest.raises(Malformed, match=field):
        decode(message(**{field: moment}))


def test_the_ids_that_the_first_release_wrote_are_read() -> None:
    task = decode(message(route="A.b_c-9", job="A.b_c-9-20261121T000000-0a1b2c"))
    assert (task.route, task.job) == ("A.b_c-9", "A.b_c-9-20261121T000000-0a1b2c")


@pytest.mark.parametrize(("queued", "known"), [("2026-11-21T00:00:00+00:00", 1795219200.0), ("soon", None), (17, None)])
def test_a_newer_schema_says_what_it_is_and_when_it_was_made(queued: object, known: float | None) -> None:
    with pytest.raises(NotKnownYet) as newer:
        decode(message(schema=2, queued=queued))
    assert (newer.value.subject, newer.value.queued) == ("task schema 2", known)
