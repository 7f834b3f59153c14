from __future__ import annotations

import google_crc32c
from hypothesis import given
from hypothesis import strategies as st

from common.checksums import crc32c, crc64nvme, join, join_crc64nvme


def test_known_values() -> None:
    # RFC 3720, appendix B.4: 32 bytes of zeros; the check value of CRC-64/NVME in the catalogue of CRCs
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc64nvme(b"123456789") == 0xAE8B14860A799888


@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_another_library_finds_the_same(first: bytes, second: bytes) -> None:
    assert crc32c(second, crc32c(first)) == google_crc32c.value(first + second)
    assert crc32c(memoryview(first)) == google_crc32c.value(first)


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_joining_the_parts_gives_the_checksum_of_the_whole(parts: list[bytes]) -> None:
    whole, whole64 = 0, 0
    for part in parts:
        whole = join(whole, crc32c(part), len(part))
        whole64 = join_crc64nvme(whole64, crc64nvme(part), len(part))
    assert whole == crc32c(b"".join(parts))
    assert whole64 == crc64nvme(b"".join(parts))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5 * 2**40), st.integers(1, 5 * 2**40))
def test_appending_zeros_twice_is_appending_their_sum(value: int, first: int, second: int) -> None:
    # Lengths up to the largest object, which no test can hash
    assert join(join(value, 0, first), 0, second) == join(value, 0, first + second)
    assert join_crc64nvme(join_crc64nvme(value, 0, first), 0, second) == join_crc64nvme(value, 0, first + second)
