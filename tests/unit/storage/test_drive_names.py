"""Keys and Drive's names: each side survives the way to the other and back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.errors import InvalidName
from common.storage.gdrive import names
from tests.nasty_names import IMPOSSIBLE, NASTY

ODD = st.sampled_from(
    [names.ESCAPE, f"{names.ESCAPE}=", f"{names.ESCAPE}~", "2E", "2F", "0A", "_", ".", "..", "/", "\n", "\x7f", "a"]
)
texts = st.one_of(st.text(), st.lists(ODD, max_size=6).map("".join))


@given(texts)
@example("")
@example("␛=..")
@example("␛=␛=..")
def test_every_name_comes_back(name: str) -> None:
    segment = names.segment(name)
    assert "/" not in segment
    assert segment not in ("", ".", "..") or name.startswith("␛=")
    assert names.name(segment) == name


@given(texts.map(lambda text: text.replace("/", "")))
@example("")
@example("..")
def test_every_segment_comes_back(segment: str) -> None:
    name = names.name(segment)
    assert names.segment(name) == segment
    assert name not in (".", "..") or segment.startswith("␛")


@pytest.mark.parametrize("key", NASTY.values(), ids=NASTY)
def test_nasty_keys_are_written_as_names_that_show_nothing_odd(key: str) -> None:
    for segment in key.split("/"):
        name = names.name(segment)
        assert names.segment(name) == segment
        assert name
        assert all(" " <= character != "\x7f" for character in name)


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("photo (1).jpg", "photo (1).jpg"),
        ("100% sure", "100% sure"),
        ("AC/DC", "AC␛2FDC"),
        ("two\nlines", "two␛0Alines"),
        ("..", "␛2E␛2E"),
        ("...", "..."),
        ("␛", "␛␛"),
        ("␛=..", ".."),
        ("␛=", ""),
        ("␛=a␛0Ab", "a\nb"),
    ],
)
def test_what_it_looks_like(name: str, segment: str) -> None:
    """The storage format: what is listed today under a key is to be found under it tomorrow."""
    assert names.segment(name) == segment
    assert names.name(segment) == name


def test_files_of_one_name_are_told_apart_by_age_and_id() -> None:
    # Given three files of one name in one folder, and one of another
    entries = [("a", "2026-01-02", "id3"), ("a", "2026-01-01", "id2"), ("a", "2026-01-01", "id1"), ("b/", "2020-01-01", "id0")]

    # When they are told apart, in whatever order they were listed
    for order in (entries, entries[::-1]):
        told = names.told_apart(order)

        # Then the oldest has the plain name, and each other its id, which can be taken off again
        assert told == {"id1": "a", "id2": "a␛~id2", "id3": "a␛~id3", "id0": "b␛2F"}
    assert names.apart("a␛~id2") == ("a", "id2")


@given(st.lists(texts, min_size=1, max_size=4))
def test_no_two_files_of_a_folder_have_one_segment(called: list[str]) -> None:
    told = names.told_apart((name, "", f"id{number}") for number, name in enumerate(called + called))
    assert len(set(told.values())) == 2 * len(called)
    for file_id, segment in told.items():
        assert names.apart(segment)[1] in (None, file_id)


@pytest.mark.parametrize("segment", ["a", "␛␛~id", "␛~", "a␛~", names.segment("␛~id")])
def test_a_name_that_only_looks_like_one_of_several_is_a_name(segment: str) -> None:
    assert names.apart(segment) == (segment, None)


@pytest.mark.parametrize("key", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_a_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidName, match="gdrive://x/"):
        names.check(key, f"gdrive://x/{key}")
