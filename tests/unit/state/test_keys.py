"""Names and numbers of keys: what scripts and clients must agree on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.state.keys import Keys, digest, key_bytes, key_text, keys_bytes, spread, text_bytes, text_of
from tests.unit.state.samples import ODD_KEYS, keys

USUAL = "ABCDEFGHIJLMNOPRSTUVWZabcdefghijklmnopqrstuvwxyz0123456789/-_.="
any_keys = st.one_of(keys, st.text(USUAL, max_size=30), st.text(USUAL + "K ~", max_size=30))


@given(any_keys)
def test_every_key_survives(key: str) -> None:
    assert key_text(key_bytes(key)) == key
    assert len(key_bytes(key)) <= len(text_bytes(key))


@given(st.sets(any_keys))
def test_no_two_keys_are_stored_alike(some: set[str]) -> None:
    some |= set(ODD_KEYS)
    assert len({key_bytes(key) for key in some}) == len(some)


@given(st.one_of(st.lists(any_keys, max_size=5), st.lists(st.text(USUAL + "\0", max_size=30), max_size=5)))
def test_many_keys_are_stored_as_each_by_itself(some: list[str]) -> None:
    assert keys_bytes(some) == [key_bytes(key) for key in some]


def test_a_usual_key_takes_three_quarters() -> None:
    # Given a key as buckets are full of, of 56 bytes
    key = "exports/2026/11/21/9f86d081884c7d659a2feaa0c55ad015.json"
    # Then it is stored in 42 bytes and one
    assert (len(key), len(key_bytes(key))) == (56, 43)
    # And one with another letter as it is
    assert key_bytes(key + "~") == (key + "~").encode()


@given(st.text(st.characters(exclude_categories=()), max_size=10))
def test_text_is_text(text: str) -> None:
    assert text_of(text_bytes(text)) == text


@given(st.binary())
def test_the_number_is_the_digest_read_backwards(stored: bytes) -> None:
    # Given the first 32 bits of a digest
    first = int.from_bytes(digest(stored)[:4], "big")
    # When the number that picks the bucket is made of them
    number = int.from_bytes(spread(digest(stored)), "big")
    # Then its bits stand in reversed order: all keys of a bucket share the beginning of their digests
    assert f"{number:032b}" == f"{first:032b}"[::-1]


def test_keys_of_a_route_share_a_slot() -> None:
    keys = Keys("bb")
    names = [keys.route("a"), keys.jobs("a"), keys.current("a"), keys.job("a", "a-1-2"), keys.deleting("a", "x")]
    assert all(name.startswith("bb:{a}") for name in names)
    assert len(set(names)) == len(names)
