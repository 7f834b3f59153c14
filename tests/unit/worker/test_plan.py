from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import TooLarge
from common.storage import gcs, s3
from common.storage.base import MIB, TIB, Limits
from worker.plan import plan

PART = 16 * MIB


@pytest.mark.parametrize("size", [0, 1, 8 * MIB])
def test_small_objects_go_in_one_put(size: int) -> None:
    planned = plan("k", size, gcs.LIMITS, PART)
    assert planned.part_bytes is None
    assert list(planned.spans()) == []
    assert planned.most_held == 2 * size


@given(st.integers(8 * MIB + 1, 600 * 1024 * MIB), st.sampled_from([gcs.LIMITS, s3.LIMITS]))
def test_parts_cover_the_object_within_the_limits(size: int, limits: Limits) -> None:
    # Given an object larger than a part
    planned = plan("k", max(size, PART + 1), limits, PART)
    assert planned.part_bytes is not None
    # Then the parts keep the destination's rules
    assert planned.part_bytes % limits.part_multiple == 0
    assert planned.part_bytes >= limits.smallest_part
    assert -(-planned.size // planned.part_bytes) <= limits.most_parts


def test_spans_touch_and_end_with_the_object() -> None:
    spans = list(plan("k", 40 * MIB + 7, gcs.LIMITS, PART).spans())
    assert [(span.start, span.end) for span in spans] == [(0, PART), (PART, 2 * PART), (2 * PART, 40 * MIB + 7)]


def test_the_largest_object_of_s3_has_the_parts_that_it_needs() -> None:
    # 5 TiB in 10,000 parts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    assert plan("k", 5 * TIB, s3.LIMITS, PART).part_bytes == -(-5 * TIB // 10_000)


def test_an_object_that_the_destination_cannot_hold_is_refused_before_a_byte_moves() -> None:
    with pytest.raises(TooLarge, match="at most"):
        plan("k", 5 * TIB + 1, gcs.LIMITS, PART)
