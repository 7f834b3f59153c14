from __future__ import annotations

import google_crc32c
from hypothesis import given
from hypothesis import strategies as st

from common.checksums import crc32c, join


def test_the_c_implementation_is_in_use() -> None:
    # The pure Python one is a thousand times slower and would be the bottleneck of every transfer.
    assert google_crc32c.implementation == "c"


def test_known_value() -> None:
    # RFC 3720, appendix B.4: 32 bytes of zeros
    assert crc32c(bytes(32)) == 0x8A9136AA


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_joining_the_parts_gives_the_checksum_of_the_whole(parts: list[bytes]) -> None:
    whole = 0
    for part in parts:
        whole = join(whole, crc32c(part), len(part))
    assert whole == crc32c(b"".join(parts))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5 * 2**40), st.integers(1, 5 * 2**40))
def test_appending_zeros_twice_is_appending_their_sum(value: int, first: int, second: int) -> None:
    # Lengths up to the largest object, which no test can hash
    assert join(join(value, 0, first), 0, second) == join(value, 0, first + second)
