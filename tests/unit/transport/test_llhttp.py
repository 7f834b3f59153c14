"""Our reading of answers compared with llhttp's in its strict mode, which Node.js and others rest on.

Generated answers of every framing, most of them damaged somewhere. What we take, llhttp takes as well and understands in the
same way, up to the byte at which the answer ends; what we refuse and it takes is in STRICTER, with the reason. `make fuzz`
searches for much longer.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.transport.connection import SLOW_BYTES, SLOW_STEPS, BrokenError, Connection
from common.transport.message import MOST_CHUNK_LINE, MOST_EXTENSIONS, MOST_HEAD, MOST_INTERIM
from tests.llhttp import SCRATCH, Reading, Wire, llhttp, ours, receive

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_SEARCH = settings.get_current_profile_name() == "fuzz"
SEARCH = settings(max_examples=100_000 if LONG_SEARCH else 800, deadline=None, derandomize=not LONG_SEARCH)

STRICTER = {
    r"does not begin as HTTP/1.1 does": "llhttp skips empty lines in front of an answer, and takes HTTP/0.9, HTTP/2.0, RTSP "
    "and ICE, statuses of any three digits and control characters in the reason",
    r"has several headers (content-length|transfer-encoding)$": "llhttp takes a repeated Transfer-Encoding, and reads to the end",
    r"has several headers (content-range|etag|location) that differ": "framing is not all: of two versions one is wrong",
    r"among its trailers": "a Transfer-Encoding there means nothing",
    r"a transfer-encoding, and a content-length or HTTP/1.0": "HTTP/1.0 knows no chunks (RFC 9112, 6.1)",
    r"a transfer coding": "no coding but chunked was asked for (we send no TE)",
    r"changes the protocol": "no Upgrade was asked for",
    r"a chunk without a size": "more than 15 digits; llhttp takes zeros without end in front of a size",
    r"content-length is not a number": "more than 18 digits",
    r"longer than|without an end|more than \d+": "our bounds",
}
"""What we refuse and llhttp does not: a part of our reason, and why."""


def named(*lines: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from(lines)


STATUS_LINES = named(
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 206 Partial Content",
    b"HTTP/1.1 404",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 200 \xc4\xd6",
    b"HTTP/1.1 200 ",
    b"HTTP/1.1 200OK",
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 999 OK",
    b"HTTP/2.0 200 OK",
    b"HTTP/1.2 200 OK",
    b"http/1.1 200 OK",
    b"HTTP/1.1\t200 OK",
    b"HTTP/1.1 200 O\0K",
    b"HTTP/1.1 200 O\rK",
    b"\r\nHTTP/1.1 200 OK",
    b" HTTP/1.1 200 OK",
    b"HTTP/1.1 101 Switching Protocols",
)
HEADERS = named(
    b'ETag: "a:b"',
    b"X-Empty:",
    b"X-Tab:\tb\t",
    b"X-Text: \xe9\xff",
    b"x-space-behind: a ",
    b"Connection: close",
    b"connection: Keep-Alive",
    b"Connection: keep-alive, Close",
    b"Connection: x-close",
    b"Connection: upgrade\r\nUpgrade: h2c",
    b' ETag: "forged"',
    b"Foo Content-Length: 5",
    b"X: a\r\n folded",
    b"X: a\r\n\tfolded",
    b"X : a",
    b": a",
    b"no colon",
    b"X: \0",
    b"X: \x7f",
    b"X: \x0b",
    b"X: a\nContent-Length: 1",
    b"X: a\rContent-Length: 1",
    b"X\xe9: a",
    b'E"Tag: a',
    b"Content-Encoding: gzip",
)
LENGTHS = named(
    b"content-length: %d",
    b"Content-Length: %d",
    b"Content-Length:\t%d ",
    b"Content-Length: 0%d",
    b"Content-Length: +%d",
    b"Content-Length: -%d",
    b"Content-Length: 0x%d",
    b"Content-Length: %d, %d",
    b"Content-Length: %d\r\nContent-Length: %d",
    b"Content-Length: %d\r\ncontent-length: 1%d",
    b"Content-Length: %d 1",
    b"Content-Length: %d\xb2",
    b"Content-Length:",
    b"Content-Length : %d",
    b"Content-Length: %d000000000000000000000",
    b"Content-Length: 0000000000000000000000%d",
    b"Content-Length: %d\r\nTransfer-Encoding: chunked",
)
CODINGS = named(
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked ",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    b"Transfer-Encoding : chunked",
)
CHUNKS = named(
    b"3\r\nabc\r\n",
    b"1\r\n\n\r\n",
    b"A\r\n0123456789\r\n",
    b"00003\r\nabc\r\n",
    b"3;a=b\r\nabc\r\n",
    b'3;a="b;\\"c\r"\r\nabc\r\n',
    b'3;a="b;\\"c";d\r\nabc\r\n',
    b"3;\r\nabc\r\n",
    b"3;=\r\nabc\r\n",
    b"3 \r\nabc\r\n",
    b"3 ;a\r\nabc\r\n",
    b"0x3\r\nabc\r\n",
    b"+3\r\nabc\r\n",
    b"-3\r\nabc\r\n",
    b"3_0\r\nabc\r\n",
    b"\r\nabc\r\n",
    b"3\nabc\r\n",
    b"3\r\nabcd\r\n",
    b"3\r\nabc\n",
    b"3\r\nabcXY",
    b"FFFFFFFFFFFFFFFFF\r\nabc\r\n",
    b"10000000000000003\r\nabc\r\n",
    b"000000000000000000000003\r\nabc\r\n",
    b"g\r\nabc\r\n",
)
LAST_CHUNKS = named(b"0\r\n", b"0\r\n", b"0\r\n", b"000\r\n", b"0;a\r\n", b"0 \r\n", b"0\n", b"")
TRAILERS = named(b"", b"", b"x-late: 1\r\n", b"Content-Length: 5\r\n", b" folded\r\n", b"no colon\r\n", b"X: \0\r\n", b"X: a\n")
INTERIMS = named(b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n", b"HTTP/1.1 100\n\n")
BEHIND = named(b"", b"", b"x", b"\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """One answer with what may stand in front of it and behind it, often damaged at a place."""
    body = draw(st.binary(max_size=12))
    lines = [draw(STATUS_LINES), *draw(st.lists(HEADERS, max_size=3))]
    framing = draw(st.sampled_from(["length", "chunks", "none"]))
    if framing == "length":
        length = max(0, len(body) + draw(st.sampled_from([0, 0, 0, -1, 2])))
        line = draw(LENGTHS)
        lines.insert(draw(st.integers(1, len(lines))), line.replace(b"%d", str(length).encode()))
    elif framing == "chunks":
        lines.insert(draw(st.integers(1, len(lines))), draw(CODINGS))
        body = b"".join(draw(st.lists(CHUNKS, max_size=3))) + draw(LAST_CHUNKS) + draw(TRAILERS) + b"\r\n"
    wire = draw(INTERIMS) + b"\r\n".join(lines) + b"\r\n\r\n" + body + draw(BEHIND)
    return draw(damaged(wire)) if draw(st.booleans()) else wire


@st.composite
def damaged(draw: st.DrawFn, wire: bytes) -> bytes:
    at = draw(st.integers(0, len(wire)))
    put = draw(named(b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b";", b"0", b"x", b"\xff", b",", b""))
    return wire[:at] + put + wire[at + draw(st.integers(0, 2)) :]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


def split(wire: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    return [wire[start:end] for start, end in itertools.pairwise(places)]


def compare(mine: Reading, theirs: Reading, wire: bytes) -> None:
    if mine.refused is None:
        # Taken: llhttp takes it as well, and understands the same
        assert theirs.refused is None, (mine, theirs)
        assert (mine.status, mine.headers, mine.body) == (theirs.status, theirs.headers, theirs.body)
        assert mine.end == theirs.end
        # A connection is used again where llhttp would, but for a "close" beside a "keep-alive", which wins here always
        assert not mine.reusable or theirs.reusable
        assert mine.reusable or not theirs.reusable or b"close" in wire.lower()
    elif theirs.refused is None:
        assert any(re.search(reason, mine.refused) for reason in STRICTER), (mine, theirs)


@SEARCH
@given(answers(), st.lists(st.integers(1, 200), max_size=4))
@example(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n ETag: "forged"\r\n\r\nok', [])
@example(b"HTTP/1.1 200 OK\r\nFoo Content-Length: 5\r\n\r\nhello", [])
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", [])
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", [])
def test_what_is_taken_is_what_llhttp_takes(runner: asyncio.Runner, wire: bytes, cuts: list[int]) -> None:
    # Given an answer as it stands on the wire
    theirs = llhttp(wire)
    # When our connection gets it byte by byte
    mine = runner.run(ours([wire[at : at + 1] for at in range(len(wire))]))
    # Then both understand the same
    compare(mine, theirs, wire)
    # And it does not matter in which pieces it came: only what is behind the answer may be seen earlier
    for pieces in ([wire], split(wire, cuts)):
        other = runner.run(ours(pieces))
        assert (other.refused, other.status, other.headers, other.body) == (mine.refused, mine.status, mine.headers, mine.body)
        assert other.reusable <= mine.reusable
        if len(pieces) == 1 and mine.end < len(wire):
            assert not other.reusable


@SEARCH
@given(answers())
def test_the_answer_to_head_has_no_body_whatever_it_says(runner: asyncio.Runner, wire: bytes) -> None:
    # llhttp knows no HEAD from the answer alone: our own reading is held against that of the same head without a body
    mine = runner.run(ours([wire], head_only=True))
    if mine.refused is not None:
        return
    assert mine.body == b""
    bare = runner.run(ours([wire[at : at + 1] for at in range(len(wire))], head_only=True))
    assert (bare.status, bare.headers) == (mine.status, mine.headers)
    # Then what came behind the head is the end of this connection
    assert not mine.reusable or bare.end == len(wire)


HEAD = b"HTTP/1.1 200 OK\r\n"
IN_CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_INTERIM + 1), "of the kind 1xx"),
        (HEAD + b"x: y\r\n" * (MOST_HEAD // 6), "headers are longer"),
        (HEAD + b"x: y\r\n" * (MOST_HEAD // 6) + b"\r\n", "headers are longer"),
        (HEAD + b"x: " + b"y" * MOST_HEAD, "headers are longer"),
        (IN_CHUNKS + b"0\r\n" + b"x: y\r\n" * (MOST_HEAD // 6 + 1), "trailers without an end"),
        (IN_CHUNKS + b"0\r\nx: " + b"y" * MOST_HEAD, "trailers without an end"),
        (IN_CHUNKS + b"1;" + b"a" * MOST_CHUNK_LINE, "a chunk line without an end"),
        (IN_CHUNKS + b"1;" + b"a" * MOST_CHUNK_LINE + b"\r\n", "chunk"),
        (IN_CHUNKS + b"1;aaaaaaaa\r\nb\r\n" * (MOST_EXTENSIONS // 9 + 1), "chunk extensions"),
        (IN_CHUNKS + b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n", "longer than the 5000 bytes"),
        (HEAD + b"\r\n" + b"x" * 5001, "longer than the 5000 bytes"),
    ],
    ids=[
        "interim",
        "headers",
        "headers that end",
        "one header",
        "trailers",
        "one trailer",
        "chunk line",
        "chunk line that ends",
        "extensions",
        "chunks",
        "to the end",
    ],
)
def test_everything_that_may_grow_has_a_bound(runner: asyncio.Runner, wire: bytes, says: str) -> None:
    for size in (len(wire), 1000, 37):
        pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
        found = runner.run(ours(pieces, most=5000))
        assert found.refused is not None
        assert says in found.refused


def test_as_many_interim_answers_as_there_may_be(runner: asyncio.Runner) -> None:
    wire = b"HTTP/1.1 103 Early Hints\r\n\r\n" * MOST_INTERIM + HEAD + b"content-length: 2\r\n\r\nok"
    assert runner.run(ours([wire])).body == b"ok"


class Dripping:
    """A connection that gets bytes by hand, to see what counts as getting on."""

    def __init__(self) -> None:
        self.connection, self.wire = Connection(SCRATCH), Wire()
        self.connection.connection_made(cast("Any", self.wire))
        self.asked = asyncio.ensure_future(self.connection.exchange(b"", b"", 1 << 20, head_only=False))

    def moves(self, data: bytes) -> bool:
        """Whether the exchange got on by these bytes."""
        before = self.connection.progress
        receive(self.connection, data)
        return self.connection.progress != before

    async def end(self) -> None:
        self.connection.fail("enough")
        with pytest.raises(BrokenError):
            await self.asked


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (b"H", b"TTP/1.1 200 OK\r\nx: y\r\n"),
        (IN_CHUNKS, b"5;aaaaaaaaaaa"),
        (IN_CHUNKS + b"0\r\n", b"x: y\r\nx: y\r\n"),
    ],
    ids=["head", "chunk line", "trailers"],
)
async def test_what_is_no_body_does_not_count_as_moving(first: bytes, rest: bytes) -> None:
    # Given an exchange in the middle of its framing
    dripping = Dripping()
    await asyncio.sleep(0)
    assert dripping.moves(first)
    # When more of it comes byte by byte, then the time in which something must move runs on
    assert not any(dripping.moves(rest[at : at + 1]) for at in range(len(rest)))
    await dripping.end()


@pytest.mark.parametrize("head", [HEAD + b"content-length: 100000\r\n\r\n", HEAD + b"\r\n"], ids=["counted", "to the end"])
async def test_a_body_that_drips_counts_as_moving_for_a_while(head: bytes) -> None:
    dripping = Dripping()
    await asyncio.sleep(0)
    assert dripping.moves(head)
    # The first bytes may come one by one, as those that keep a connection alive do
    assert all(dripping.moves(b" ") for _ in range(SLOW_STEPS))
    # Later ones count by the thousand
    later = [dripping.moves(b" ") for _ in range(3 * SLOW_BYTES)]
    assert sum(later) == 3
    await dripping.end()
