"""A page as columns is a sequence of the same objects, in whole and in part."""

from __future__ import annotations

import pytest

from common.objects import StoredObject, Version
from common.storage.listed import Listed

OBJECTS = [StoredObject(f"k{number}", number, Version(f"e{number}")) for number in range(6)]


def test_it_has_the_objects_that_it_was_made_of() -> None:
    # Given a page
    page = Listed.of(OBJECTS)
    # Then it is read like a list
    assert list(page) == OBJECTS
    assert (len(page), page[-1], page[2], OBJECTS[3] in page) == (6, OBJECTS[5], OBJECTS[2], True)
    assert Listed.of(page) is page
    with pytest.raises(IndexError):
        page[6]


def test_a_part_is_one_too() -> None:
    # Given parts of parts of a page
    page = Listed.of(OBJECTS)
    # Then their columns and their objects belong together
    for part, expected in (
        (page[1:4], OBJECTS[1:4]),
        (page[::2][1:], OBJECTS[2::2]),
        (page.pick([5, 0]), [OBJECTS[5], OBJECTS[0]]),
        (page[4:][:0], []),
    ):
        assert list(part) == expected
        assert list(part.keys) == [item.key for item in expected]
        assert list(part.tokens) == [item.version.token for item in expected]
        assert list(part.sizes) == [item.size for item in expected]


def test_an_object_is_made_when_it_is_asked_for() -> None:
    # Given a page whose objects are made on demand
    made = []

    def make(place: int) -> StoredObject:
        made.append(place)
        return OBJECTS[place]

    page = Listed([item.key for item in OBJECTS], [""] * 6, [0] * 6, make)
    # When one is asked for, then one is made
    assert page[2:][1] is OBJECTS[3]
    assert made == [3]
