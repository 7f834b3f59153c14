"""The text in a checkpoint says where a scan stands, whatever the keys look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.state.jobs import Checkpoint
from common.storage.key_order import order
from publisher.position import EVERYTHING, Gap, Position

texts = st.text(st.characters(exclude_categories=()))
gaps = st.lists(st.builds(Gap, st.none() | texts, st.none() | texts), max_size=9).map(tuple)


@given(gaps, st.sampled_from(["", "0", "7", "123456789"]))
def test_what_is_written_is_read(left: tuple[Gap, ...], older: str) -> None:
    # Given any parts of a listing that are left, or none
    position = Position(left)
    # Then they survive the checkpoint, also behind the number that format 1 put there
    assert Position.of(Checkpoint(f"{older}{position}")) == position
    assert position.ended == (not left)


def test_a_new_job_stands_at_the_beginning() -> None:
    # Given a job that has just been opened
    # Then nothing is listed
    assert Position.of(Checkpoint()) == Position(EVERYTHING)
    assert Position().after is None


@pytest.mark.parametrize(
    "text",
    ["", "key", "7", ">key", "7>key", "-1[]", "\N{ARABIC-INDIC DIGIT SEVEN}[]", "7[", "7[1]", '7[["a"]]', '7[["a",1]]', "7{}",
     '7["ab"]', "7" + "[" * 5000 + "]" * 5000],
)  # fmt: skip
def test_a_text_that_is_not_ours_means_from_the_beginning(text: str) -> None:
    # Given a checkpoint that something else wrote
    checkpoint = Checkpoint(text, 5)
    # Then the scan begins anew
    assert Position.of(checkpoint) == Position(EVERYTHING)


def test_pages_from_one_end_to_the_other() -> None:
    # Given a listing in one piece, whose places are names of the reader's own
    position = Position()
    # When its pages are recorded, then what is left begins behind each
    for after, until in ((None, "z"), ("z", "token 17"), ("token 17", "a")):
        position = position.beyond(Gap(after, until))
        assert position.gaps == (Gap(until),)
        assert position.after == until
    assert position.beyond(Gap("a", None)).ended


def test_pages_of_several_ranges() -> None:
    # Given pages of ranges that are listed side by side
    position = Position()
    for done, left in (
        (Gap("m", "p"), ((None, "m"), ("p", None))),
        (Gap(None, "c"), (("c", "m"), ("p", None))),
        (Gap("t", None), (("c", "m"), ("p", "t"))),
        (Gap("f", "m"), (("c", "f"), ("p", "t"))),
        (Gap("p", "t"), (("c", "f"),)),
        (Gap("c", "f"), ()),
    ):
        # When each is recorded, then only it is taken from what is left
        position = position.beyond(done)
        assert position.gaps == left
    assert position.ended
    assert position.after is None


def test_what_was_recorded_before_is_no_place() -> None:
    position = Position().beyond(Gap(None, "c"))
    with pytest.raises(ValueError, match="before"):
        position.beyond(Gap("a", "b"))


@given(st.data(), st.lists(texts.filter(bool), min_size=1, unique=True, max_size=20))
def test_any_order_of_any_parts_leaves_nothing(data: st.DataObject, keys: list[str]) -> None:
    # Given a listing in any number of parts, between keys of any kind that has one order
    ends: list[str | None] = [{order(key): key for key in keys}[key] for key in sorted(map(order, keys))]
    parts = [Gap(*pair) for pair in zip([None, *ends], [*ends, None], strict=True)]
    position = Position()
    # When they are recorded in any order
    for part in data.draw(st.permutations(parts)):
        position = position.beyond(part)
    # Then nothing is left
    assert position == Position(())
