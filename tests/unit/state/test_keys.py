"""Names and numbers of keys: what scripts and clients must agree on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.state.keys import Keys, digest, key_bytes, key_text, spread
from tests.unit.state.samples import ODD_KEYS, keys


@given(keys)
def test_every_key_survives(key: str) -> None:
    assert key_text(key_bytes(key)) == key


def test_no_two_keys_are_stored_alike() -> None:
    assert len({key_bytes(key) for key in ODD_KEYS}) == len(ODD_KEYS)


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
    names = [keys.route("a"), keys.jobs("a"), keys.scanning("a"), keys.job("a", "a-1-2"), keys.deleting("a", "x")]
    assert all(name.startswith("bb:{a}") for name in names)
    assert len(set(names)) == len(names)
