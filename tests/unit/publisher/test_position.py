"""The text in a checkpoint says where a scan stands, whatever the keys look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.state.jobs import Checkpoint
from publisher.position import Position, unaccounted

numbers = st.integers(0, 10**15)
places = st.none() | st.text()


@given(places, numbers, numbers)
def test_what_is_written_is_read(after: str | None, accounted: int, published: int) -> None:
    # Given any place in a listing
    position = Position(after, accounted)
    # Then it survives the checkpoint
    checkpoint = position.checkpoint(published)
    assert Position.of(checkpoint) == position
    assert checkpoint.published == published


@given(numbers, numbers)
def test_the_end_is_a_place_too(accounted: int, published: int) -> None:
    # Given a listing that was read to its end
    position = Position(None, accounted, ended=True)
    # Then that survives, and is not taken for the beginning
    assert Position.of(position.checkpoint(published)) == position
    assert position.checkpoint(published) != Position(None, accounted).checkpoint(published)


def test_a_new_job_stands_at_the_beginning() -> None:
    # Given a job that has just been opened
    # Then nothing is listed, and nothing is unaccounted for
    assert Position.of(Checkpoint()) == Position(None, 0)
    assert list(unaccounted(Checkpoint())) == []


def test_numbers_between_the_accounted_and_the_next_are_unaccounted() -> None:
    # Given seven numbers accounted for and ten handed out
    checkpoint = Position("key", 7).checkpoint(10)
    # Then three are open
    assert list(unaccounted(checkpoint)) == [7, 8, 9]


@pytest.mark.parametrize("text", ["", "key", "7", ">key", "7<key", "-1>key", "\N{ARABIC-INDIC DIGIT SEVEN}>key"])
def test_a_text_that_is_not_ours_means_from_the_beginning(text: str) -> None:
    # Given a checkpoint that something else wrote
    checkpoint = Checkpoint(text, 5)
    # Then the scan begins anew, behind the numbers that were handed out
    assert Position.of(checkpoint) == Position(None, 5)
    assert list(unaccounted(checkpoint)) == []
