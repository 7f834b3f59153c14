"""The bytes of a record: everything comes back as it was put in, whoever put it together, and takes few bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.state.cache import Cache, Settled, Settlement
from common.state.keys import text_bytes
from common.state.records import Published, Receipt, Record, decode, kept_mark, pack_receipt, pack_token
from tests.unit.state.samples import ETAG, NOW, ROUTE, publish, published, receipt, receipts

if TYPE_CHECKING:
    from common.state.store import Store

WORKERS = {0: "worker-1", 300: "worker-300"}


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number // 128)


def reference(record: Record, worker: int) -> bytes:
    """The format as the head of records.py describes it, put together without regard to speed."""
    if record.consumed is None:
        assert record.published is not None
        token = pack_token(record.published.etag)
        return bytes([token[0] << 2]) + token[1:] + record.published.at.to_bytes(4, "big")
    token, rest = pack_receipt(record.consumed)
    shape, middle = 1, b""
    if record.published is not None:
        age = record.consumed.at - record.published.at
        shape, middle = 2, varint(age * 2 if age >= 0 else -age * 2 - 1)
        if record.published.etag != record.consumed.etag:
            shape, middle = 3, pack_token(record.published.etag) + middle
    return bytes([shape | token[0] << 2 | rest[0]]) + varint(worker) + token[1:] + middle + rest[1:]


@given(st.one_of(st.none(), published), st.one_of(st.none(), receipts), st.sampled_from(sorted(WORKERS)))
def test_a_record_comes_back_as_it_was(before: Published | None, after: Receipt | None, worker: int) -> None:
    # Given any record
    record = Record(before, after._replace(worker=WORKERS[worker]) if after else None)
    if record == Record(None, None):
        return
    # When it is put into bytes and read again
    again = decode(reference(record, worker), WORKERS)
    # Then nothing is lost
    assert again == record


def test_a_record_of_both_kinds_takes_few_bytes() -> None:
    # Given an object that was published and, a minute later, consumed by worker 0
    record = Record(Published(ETAG, NOW - 60), receipt())
    # When it is put into bytes
    value = reference(record, 0)
    # Then they are 33: header, worker, ETag, age, time, size, crc32c and generation
    assert len(value) == 1 + 1 + 16 + 1 + 4 + 2 + 4 + 2
    assert decode(value, WORKERS) == record


@given(st.lists(st.one_of(published, receipts), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_scripts_write_the_same_bytes(store: Store, steps: list[Published | Receipt]) -> None:
    # Given an object that nobody knows
    cache = Cache(store)
    await cache.delete(ROUTE, None)
    record = Record()
    for step in steps:
        # When it is published or consumed, in any order
        if isinstance(step, Published):
            await publish(cache, ["key"], etag=step.etag, at=step.at)
            record = record._replace(published=step)
        else:
            await cache.settle([Settlement(ROUTE, "key", step.etag, "owner", Settled.MOVED, step)])
            record = record._replace(consumed=step)
        # Then it is known as it is
        assert await cache.lookup(ROUTE, ["key"]) == [record]
    # And what is stored is what the format says
    worker = (
        await store.client.hget(f"{store.keys.route(ROUTE)}:workers", b"n" + text_bytes(record.consumed.worker))
        if record.consumed
        else 0
    )
    assert await store.client.hget(f"{store.keys.route(ROUTE)}:0", "key") == reference(record, int(worker or 0))


@given(st.sampled_from(["keep", "newer"]), st.integers(1_767_225_600, 1_767_225_600 + 2**29 - 1))
def test_a_mark_says_by_which_rule_something_is_kept_and_since_when(rule: str, now: int) -> None:
    marked = Published(ETAG, kept_mark(rule, now))
    assert marked.kept == (rule, now)
    assert decode(reference(Record(marked, receipt()), 0), WORKERS).published == marked


def test_a_time_is_no_mark() -> None:
    assert Published(ETAG, NOW).kept is None
    assert Published(ETAG, 3_200_000_000).kept is None  # in the year 2071
