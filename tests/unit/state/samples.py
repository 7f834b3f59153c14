"""What the tests of the cache put into it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from common.state.cache import Cache, Claim, Published, Receipt, Settled, Settlement
from common.state.flight import Flight, Scan, entries_of
from common.state.jobs import JobLost

if TYPE_CHECKING:
    from collections.abc import Sequence


ROUTE = "photos"
NOW = 1_790_000_000
ETAG, OTHER = "d41d8cd98f00b204e9800998ecf8427e", "0cc175b9c0f1b6a831c399e269772661-12"

ODD_KEYS = [
    "plain", "a:b", "*", "?[a-z]*", "{photos}", "}{", " space ", "new\nline", "\r\n", "\x00", "tab\t", "über", "日本",
    "\udc80raw", "\ud800", "a//b", "../x", ".", "x" * 1024, "published:a", "consumed:a", "12345", "-1", '"', "\\",
]  # fmt: skip

tokens = st.one_of(
    st.binary(min_size=16, max_size=16).map(bytes.hex),
    st.tuples(st.binary(min_size=16, max_size=16).map(bytes.hex), st.integers(1, 10_000)).map("{0[0]}-{0[1]}".format),
    st.integers(0, 2**64).map(str),
    st.sampled_from(["", "0", "00", "007", "-1", "1-2-3", ETAG.upper(), f"{ETAG}-", f"{ETAG}-0", f"{ETAG}-01", "٣"]),
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.text("ab", min_size=120, max_size=300),
)
moments = st.one_of(st.integers(0, 2**32 - 1), st.integers(NOW - 1000, NOW + 1000))
generations = st.integers(-2_000_000, 2_000_000).map(lambda away: str(NOW * 1_000_000 + away))
published = st.builds(Published, tokens, moments)
receipts = st.builds(
    Receipt,
    etag=tokens,
    size=st.one_of(st.integers(0, 2**20), st.integers(0, 2**50)),
    crc32c=st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    destination_version=st.one_of(tokens, generations),
    at=moments,
    worker=st.sampled_from(["worker-1", "worker-2", "", "w:ö\n"]),
)
keys = st.one_of(st.sampled_from(ODD_KEYS), st.text(st.characters(exclude_categories=()), min_size=1, max_size=20))


def receipt(etag: str = ETAG, *, worker: str = "worker-1", at: int = NOW) -> Receipt:
    return Receipt(etag, 1234, 0xDEADBEEF, str(NOW * 1_000_000 + 4567), at, worker)


def claim(key: str = "a", etag: str = ETAG, owner: str = "one", seconds: float = 60) -> Claim:
    return Claim(ROUTE, key, etag, owner, seconds)


def settlement(
    key: str, outcome: Settled = Settled.MOVED, owner: str = "one", *, etag: str = ETAG, copied: int = 0
) -> Settlement:
    proof = receipt(etag) if outcome in {Settled.MOVED, Settled.PROVEN} else None
    return Settlement(ROUTE, key, etag, owner, outcome, proof, copied)


async def publish(cache: Cache, keys: Sequence[str], *, etag: str = ETAG, at: int = NOW, route: str = ROUTE) -> None:
    """Published records that belong to no job."""
    with suppress(JobLost):
        await Flight(cache._store, per_bucket=2).record(
            Scan(route, "none", 0), entries_of([(key, etag) for key in keys]), at, None
        )


async def everything(cache: Cache, route: str | None = ROUTE, limit: int = 1000) -> list[str]:
    """The names of all records, page by page."""
    names: list[str] = []
    cursor = None
    while True:
        page, cursor = await cache.page(route, None, cursor, limit)
        assert len(page) <= limit
        names += [name for name, _ in page]
        if cursor is None:
            return names
