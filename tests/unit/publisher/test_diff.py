"""The table in publisher/diff.py, every line of it, and what must hold for any records at all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.objects import StoredObject, Version
from common.state.records import Published, Receipt, Record, kept_mark
from common.storage.listed import Listed
from publisher.diff import Keeping, Verdict, diff, judge

NOW = 1_000_000
HOUR = 3600


def published(etag: str | None, age: int = 10) -> Published | None:
    return None if etag is None else Published(etag, NOW - age)


def consumed(etag: str | None) -> Receipt | None:
    return None if etag is None else Receipt(etag, 1, None, "g1", NOW - 5, "w")


@pytest.mark.parametrize(
    ("consumed_etag", "published_etag", "age", "verdict"),
    [
        ("e", None, 0, Verdict.UNCHANGED),
        ("e", "e", 10, Verdict.UNCHANGED),
        ("e", "e", 10 * HOUR, Verdict.UNCHANGED),
        ("e", "x", 10, Verdict.UNCHANGED),  # went to x and came back before x was moved
        (None, "e", 10, Verdict.IN_FLIGHT),
        ("x", "e", 10, Verdict.IN_FLIGHT),
        (None, "e", HOUR - 1, Verdict.IN_FLIGHT),
        (None, "e", HOUR, Verdict.OVERDUE),
        ("x", "e", 10 * HOUR, Verdict.OVERDUE),
        (None, "e", -10, Verdict.IN_FLIGHT),  # another clock runs a little ahead
        (None, "e", -HOUR, Verdict.OVERDUE),  # another clock was plainly wrong
        (None, None, 0, Verdict.NEW),
        ("x", None, 0, Verdict.CHANGED),
        (None, "x", 10, Verdict.CHANGED),
        ("x", "x", 10, Verdict.CHANGED),
        ("x", "y", 10, Verdict.CHANGED),
    ],
)
def test_the_table(consumed_etag: str | None, published_etag: str | None, age: int, verdict: Verdict) -> None:
    # Given an object of version e and its records
    record = Record(published(published_etag, age), consumed(consumed_etag))
    # Then the first line of the table that holds decides
    assert judge("e", record, NOW, HOUR) is verdict


def test_every_combination_has_one_verdict() -> None:
    # Given every combination of what the records can say about version e
    etags = (None, "e", "x")
    for consumed_etag, published_etag, age in itertools.product(etags, etags, (-2 * HOUR, -1, 0, HOUR - 1, HOUR, HOUR + 1)):
        record = Record(published(published_etag, age), consumed(consumed_etag))
        # Then what is not published is exactly what is proved, or sent a short while ago
        proved = consumed_etag == "e"
        recent = published_etag == "e" and -HOUR < age < HOUR
        assert judge("e", record, NOW, HOUR).publish is not (proved or recent)


@pytest.mark.parametrize(
    ("kept_by", "age", "on_conflict", "verdict"),
    [
        ("keep", 10, "keep", Verdict.KEPT),
        ("newer", 10, "newer", Verdict.KEPT),
        ("keep", 10, "newer", Verdict.OVERDUE),  # the setting is another by now
        ("newer", 10, "overwrite", Verdict.OVERDUE),
        ("keep", HOUR, "keep", Verdict.KEPT),
        ("keep", HOUR + 1, "keep", Verdict.OVERDUE),  # what is there may have gone since
    ],
)
def test_what_was_kept_stays_left_out_for_a_while(kept_by: str, age: int, on_conflict: str, verdict: Verdict) -> None:
    # Given an object of version e that was left out, because something else is at its destination
    now = 1_800_000_000
    record = Record(Published("e", kept_mark(kept_by, now - age)), consumed("x"))
    keeping = Keeping(on_conflict, now - HOUR)
    # Then it is left out again as long as that is the rule and not long ago
    assert judge("e", record, now, HOUR, keeping) is verdict
    # And a newer version is looked at at once
    assert judge("newer", record, now, HOUR, keeping) is Verdict.CHANGED
    # And of a page it is counted apart
    page = Listed.of([StoredObject("a", 1, Version("e"))])
    found = diff(page, [(0, record)], now, HOUR, keeping)
    assert (found.kept, bool(found.publish)) == (([0], False) if verdict is Verdict.KEPT else ([], True))


tokens = st.sampled_from(["a", "b", "c"])
receipts = st.builds(Receipt, tokens, st.just(1), st.none(), st.just("g"), st.integers(0, 2 * NOW), st.just("w"))
records = st.builds(
    Record,
    st.none() | st.builds(Published, tokens, st.integers(0, 2 * NOW)),
    st.none() | receipts,
)


@given(st.lists(st.tuples(tokens, records), max_size=30), st.integers(1, 10_000))
def test_a_page_is_split_without_loss_and_in_order(rows: list[tuple[str, Record]], republish_after: int) -> None:
    # Given a page of objects with any records, of which those are known that Redis does not find consumed as they are
    page = Listed.of([StoredObject(f"k{place}", 1, Version(token)) for place, (token, _) in enumerate(rows)])
    proved = [record.consumed is not None and record.consumed.etag == token for token, record in rows]
    known = [(place, record) for place, (_, record) in enumerate(rows) if not proved[place]]
    # When it is laid beside them
    found = diff(page, known, NOW, republish_after)
    # Then every object is published or counted once, in the order of the listing
    assert len(found.publish) + found.unchanged + len(found.in_flight) == len(page)
    assert found.publish == sorted(found.publish)
    assert found.unchanged == sum(proved)
    # And what is proved to be at the destination is never sent, and what has no record always is
    for place, (_, record) in enumerate(rows):
        assert not (proved[place] and place in found.publish)
        if record == Record(None, None):
            assert place in found.publish
    # And what is known of more than that makes no difference
    assert diff(page, list(enumerate(record for _, record in rows)), NOW, republish_after) == found


@given(tokens, records)
def test_nothing_is_held_back_for_good(token: str, record: Record) -> None:
    # Given any object that is not proved to be at the destination
    if record.consumed is not None and record.consumed.etag == token:
        return
    # When enough time passes
    later = max(NOW, record.published.at if record.published else 0) + HOUR
    # Then it is published
    assert judge(token, record, later, HOUR).publish


def test_records_of_another_page_are_refused() -> None:
    # Given a record for an object that is not on the page
    # Then nothing is guessed
    with pytest.raises(IndexError):
        diff(Listed.of([StoredObject("a", 1, Version("e"))]), [(1, Record())], NOW, HOUR)
