"""Tasks in their wire format: what is written is read, and many at once are written as each by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from common.objects import UNSIZED, StoredObject, Version
from common.task import Form, Task, decode, encode

texts = st.text(st.characters(exclude_categories=()), min_size=1, max_size=20)
zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(seconds=-1))])
moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9000, 1, 1), timezones=zones)  # noqa: DTZ001 - bounds
objects = st.builds(
    StoredObject,
    key=texts,
    size=st.integers(0, 2**63) | st.just(UNSIZED),
    version=st.builds(Version, texts, st.none() | texts),
    modified=st.none() | moments,
)


@given(st.lists(objects, max_size=4), texts, texts, moments, st.integers(0, 10**15))
def test_many_tasks_are_written_as_each_by_itself(
    page: list[StoredObject], route: str, job: str, queued: datetime, first: int
) -> None:
    # Given objects of a page, with any names and versions
    # When their tasks are written together
    written = Form(route, job, queued).filled(page, first, lambda key: f"gs://there/{key}")
    # Then that is what is written of each by itself, to the byte
    tasks = [
        Task(route, item.key, item.version, item.size, item.modified, f"gs://there/{item.key}", job, number, queued)
        for number, item in enumerate(page, first)
    ]
    assert written == [encode(task) for task in tasks]
    # And what is read again
    assert [decode(message) for message in written] == tasks
