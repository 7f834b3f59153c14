"""Bytes through an edge that errs in every way that is known: what arrives is the object, from the edge or from S3."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import google_crc32c
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from common.checksums import crc64nvme
from common.errors import SourceChanged, SourceMissing, Unavailable
from common.objects import Headers, Span, StoredObject, Version
from common.storage.base import LARGEST_READ, Content, Limits
from common.storage.cdn import CdnReader, Tally
from common.storage.cdn_answer import Reason
from common.storage.cdn_rest import Rest
from common.transport.aws import encode_path
from common.transport.cloudfront import CannedSigner, CustomSigner, KeyPair, PrefixSigner, Public, Terms
from common.transport.http import Transport
from tests.fakes.cdn import CdnServer, DictOrigin, Mood

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.base import Page
    from common.transport.cloudfront import UrlSigner

KEY, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
PAIR = KeyPair("K1", KEY)
DATA = bytes(range(256)) * 40
SPAN = Span(100, 5000)


class Bucket:
    """S3 itself, over the objects that stand behind the edge as well. `asked` is what was asked of it."""

    limits = Limits(largest_object=1 << 40, largest_put=1 << 30)

    def __init__(self, origin: DictOrigin) -> None:
        self.asked: list[str] = []
        self.keeps: dict[str, int] = {}
        """Checksums of its objects."""
        self._origin = origin

    async def stat(self, key: str) -> StoredObject | None:
        self.asked.append("stat")
        return self._object(key)

    async def list(self, after: str | None = None) -> AsyncIterator[Page]:
        self.asked.append("list")
        pages: tuple[Page, ...] = ()
        for page in pages:
            yield page

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        self.asked.append("read")
        found = self._object(key)
        if found is None:
            raise SourceMissing(key)
        if version is not None and found.version.token != version.token:
            raise SourceChanged(key)
        data = self._origin.objects[key].body
        return Content(found, data if span is None else data[span.start : span.end])

    async def close(self) -> None:
        self.asked.append("close")

    def _object(self, key: str) -> StoredObject | None:
        found = self._origin.objects.get(key)
        if found is None:
            return None
        headers = Headers(found.headers.get("content-type"), content_encoding=found.headers.get("content-encoding"))
        token = found.headers["etag"].strip('"')
        return StoredObject(key, len(found.body), Version(token), headers=headers, **self.keeps)  # type: ignore[arg-type]


class World:
    def __init__(self, edge: CdnServer, origin: DictOrigin, transport: Transport) -> None:
        self.edge = edge
        self.origin = origin
        self.bucket = Bucket(origin)
        self.transport = transport
        self.now = [1000.0]
        self.reader = self.through(Public())

    def through(self, urls: UrlSigner, prefix: str = "") -> CdnReader:
        root = f"{self.edge.url}/{encode_path(prefix)}"
        clock = lambda: self.now[0]  # noqa: E731
        self.reader = CdnReader(self.bucket, root, urls, self.transport, Tally("photos", clock), rest=Rest(clock))
        return self.reader

    def put(self, key: str, data: bytes = DATA, **headers: str) -> Version:
        return Version(self.origin.put(key, data, **headers))

    @property
    def declined(self) -> dict[Reason, int]:
        return dict(self.reader.tally.declined)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    origin, transport = DictOrigin(), Transport()
    async with CdnServer(origin) as edge:
        yield World(edge, origin, transport)
        assert edge.failures == []
    await transport.close()


async def test_bytes_come_from_the_edge_and_everything_else_from_s3(world: World) -> None:
    # Given an object
    version = world.put("a b/c+d#e?f%2F.txt", content_type="text/plain")

    # When it is read, whole and in spans
    whole = await world.reader.read("a b/c+d#e?f%2F.txt", None, version)
    span = await world.reader.read("a b/c+d#e?f%2F.txt", SPAN, version)

    # Then every byte came from the edge, under exactly its key, with the headers that S3 has
    assert whole.data == DATA
    assert span.data == DATA[100:5000]
    assert whole.object.headers.content_type == "text/plain"
    assert (whole.object.size, whole.object.version) == (len(DATA), version)
    assert span.object == whole.object
    assert world.edge.paths == ["/a%20b/c%2Bd%23e%3Ff%252F.txt"] * 2
    assert world.bucket.asked == ["stat"]
    assert (world.reader.tally.accepted, world.reader.tally.accepted_bytes) == (2, len(DATA) + len(SPAN))

    # And the edge was asked for the bytes as they are, without a word of ours to S3
    for headers in world.edge.headers:
        assert headers["accept-encoding"] == "identity"
        assert not headers.keys() & {"authorization", "x-amz-date", "x-amz-security-token"}


async def test_an_empty_object_and_one_without_a_version_are_read_too(world: World) -> None:
    # Given an empty object
    version = world.put("empty", b"")

    # When it is read, and when the version is whatever is there
    # Then that is what comes, and both know which it was
    assert (await world.reader.read("empty", None, version)).data == b""
    assert (await world.reader.read("empty", None, None)).object.version == version
    assert world.declined == {}


async def test_later_spans_need_no_look_of_their_own(world: World) -> None:
    # Given an object that is read in spans
    version = world.put("large")

    # When the first span is read, and the others follow
    for start in range(0, len(DATA), 1024):
        await world.reader.read("large", Span(start, start + 1024), version)

    # Then S3 was asked once
    assert world.bucket.asked == ["stat"]

    # And when the object is another by then, the answer is S3's
    world.put("large", DATA[::-1])
    newer = Version(world.origin.objects["large"].headers["etag"].strip('"'))
    assert (await world.reader.read("large", SPAN, newer)).data == DATA[::-1][100:5000]
    with pytest.raises(SourceChanged):
        await world.reader.read("large", SPAN, version)


BAD = [
    (Mood.GZIP, None, Reason.COMPRESSED),
    (Mood.GZIP, SPAN, Reason.COMPRESSED),
    (Mood.GZIP_STRONG, None, Reason.COMPRESSED),
    (Mood.CLOSED, None, Reason.TRUNCATED),
    (Mood.CLOSED, SPAN, Reason.TRUNCATED),
    (Mood.CUT, None, Reason.BROKEN),
    (Mood.CUT, SPAN, Reason.BROKEN),
    (Mood.SHORT, None, Reason.TRUNCATED),
    (Mood.SHORT, SPAN, Reason.TRUNCATED),
    (Mood.LONG, None, Reason.BROKEN),
    (Mood.NO_ETAG, None, Reason.STALE),
    (Mood.CORRUPT, None, Reason.CORRUPT),
    (Mood.WHOLE, SPAN, Reason.RANGE),
    (Mood.SHIFTED, SPAN, Reason.RANGE),
    (Mood.PART, None, Reason.RANGE),
    (Mood.MISSING, None, Reason.MISSING),
    (Mood.PAGE, None, Reason.REFUSED),
    (Mood.BLANK, None, Reason.REFUSED),
    (Mood.MOVED, None, Reason.REFUSED),
    (Mood.BUSY, SPAN, Reason.UNAVAILABLE),
    (Mood.SLOW_DOWN, None, Reason.UNAVAILABLE),
    (Mood.SILENT, None, Reason.BROKEN),
]


@pytest.mark.parametrize(
    ("mood", "span", "reason"), BAD, ids=lambda value: getattr(value, "name", "all" if value is None else "span")
)
async def test_no_bad_answer_becomes_an_object(world: World, lines, mood: Mood, span: Span | None, reason: Reason) -> None:
    # Given an object, of which S3 keeps a checksum, and an edge in a bad mood
    version = world.put("key")
    world.bucket.keeps = {"crc32c": google_crc32c.value(DATA)}
    world.edge.mood = mood

    # When it is read
    content = await world.reader.read("key", span, version)

    # Then the bytes are right, and they are S3's
    assert content.data == (DATA if span is None else DATA[span.start : span.end])
    assert world.bucket.asked == ["stat", "read"]
    assert world.reader.tally.accepted == 0

    # And it is known why
    assert world.declined == {reason: 1}
    (line,) = lines()
    assert (line["action"], line["level"], line["route"], line["key"]) == ("cdn_declined", "warning", "photos", "key")
    assert line["reason"] == reason.value

    # And when the mood has passed, the edge is used again
    world.edge.mood = None
    assert (await world.reader.read("key", span, version)).data == content.data
    assert world.reader.tally.accepted == 1


async def test_the_checksum_that_s3_adds_by_itself_is_compared_too(world: World) -> None:
    # Given an object that was put without a checksum, and an edge that changes a byte
    version = world.put("key")
    world.bucket.keeps = {"crc64nvme": crc64nvme(DATA)}
    world.edge.mood = Mood.CORRUPT
    # When it is read
    # Then the bytes are S3's
    assert (await world.reader.read("key", None, version)).data == DATA
    assert world.declined == {Reason.CORRUPT: 1}


@pytest.mark.parametrize("span", [None, SPAN], ids=["all", "span"])
async def test_a_stale_edge_is_not_believed(world: World, span: Span | None) -> None:
    # Given an edge that keeps what it fetched, and an object that was replaced by one of the same size since
    world.edge.caching = True
    await world.reader.read("key", span, world.put("key"))
    newer = world.put("key", DATA[::-1])

    # When the new version is read
    content = await world.reader.read("key", span, newer)

    # Then it is the new version
    assert content.data == (DATA[::-1] if span is None else DATA[::-1][100:5000])
    assert world.declined == {Reason.STALE: 1}

    # And when it became shorter than the edge knows it, too
    shorter = world.put("key", b"short")
    assert (await world.reader.read("key", None, shorter)).data == b"short"


async def test_a_range_behind_the_end_at_the_edge_is_a_stale_edge(world: World) -> None:
    # Given an edge whose copy is shorter than the object
    version = world.put("key")
    behind = DictOrigin()
    behind.put("key", DATA[:50])
    world.edge.origin = behind

    # When a span is read that the copy does not have
    # Then it comes from S3
    assert (await world.reader.read("key", SPAN, version)).data == DATA[100:5000]
    assert world.declined == {Reason.STALE: 1}


async def test_an_encoding_of_the_objects_own_is_moved_as_it_is_stored(world: World) -> None:
    # Given an object that was stored with an encoding
    version = world.put("page.html.gz", content_encoding="gzip")

    # When it is read
    # Then its bytes are as they were, and the edge may say that they are packed
    assert (await world.reader.read("page.html.gz", None, version)).data == DATA
    assert world.declined == {}

    # And an edge that unpacked them is not believed
    world.edge.mood = Mood.UNPACKED
    content = await world.reader.read("page.html.gz", None, version)
    assert (content.data, content.object.headers.content_encoding) == (DATA, "gzip")
    assert world.declined == {Reason.COMPRESSED: 1}


@pytest.mark.parametrize("key", ["a/../b", "..", "./a", "a/.", "x" * 9000])
async def test_keys_that_an_edge_would_change_go_to_s3(world: World, key: str) -> None:
    # Given a key with segments of dots, or one too long for a URL
    version = world.put(key)

    # When it is read
    content = await world.reader.read(key, None, version)

    # Then the edge has not heard of it
    assert content.data == DATA
    assert world.edge.paths == []
    assert world.declined == {Reason.NAME: 1}


@pytest.mark.parametrize("prefix", ["../private/", "a/./"])
async def test_a_prefix_of_dots_is_such_a_key(world: World, prefix: str) -> None:
    # Given a prefix that leads elsewhere
    version = world.put("key")

    # When a key below it is read
    # Then the edge has not heard of it
    assert (await world.through(Public(), prefix).read("key", None, version)).data == DATA
    assert world.edge.paths == []


async def test_what_s3_does_not_hold_is_s3s_to_say(world: World) -> None:
    # Given an edge that still has what S3 has no more
    world.edge.caching = True
    version = world.put("gone")
    await world.reader.read("gone", None, version)
    del world.origin.objects["gone"]

    # When it is read
    # Then it is gone
    for span in (None, SPAN):
        with pytest.raises(SourceMissing):
            await world.reader.read("gone", span if span is None else Span(0, 10), version)
    assert world.declined == {}


async def test_what_is_larger_than_a_read_may_be_is_not_asked_of_the_edge(world: World, monkeypatch) -> None:
    # Given an object that no read may bring whole
    monkeypatch.setattr("common.storage.cdn.LARGEST_READ", len(DATA) - 1)
    assert len(DATA) < LARGEST_READ
    version = world.put("large")

    # When it is read whole, or a span behind its end is
    # Then S3's reader decides
    await world.reader.read("large", None, version)
    await world.reader.read("large", Span(0, len(DATA) + 1), version)
    assert world.edge.paths == []
    assert world.bucket.asked == ["stat", "read", "stat", "read"]


async def test_an_edge_that_is_away_costs_an_attempt_and_no_object(world: World) -> None:
    # Given no edge at all
    version = world.put("key")
    await world.edge.close()

    # When the object is read
    # Then S3 brings it
    assert (await world.reader.read("key", None, version)).data == DATA
    assert world.declined == {Reason.BROKEN: 1}


async def test_an_edge_that_does_not_answer_is_left_alone_and_looked_at_now_and_then(world: World) -> None:
    # Given an edge that breaks off whatever it is asked
    version = world.put("key")
    read = lambda: world.reader.read("key", None, version)  # noqa: E731
    world.edge.moods = [Mood.CUT] * 4

    # When much is read meanwhile
    for _ in range(10):
        assert (await read()).data == DATA

    # Then it was asked three times, and once more half a minute later
    assert world.declined == {Reason.BROKEN: 3, Reason.RESTING: 7}
    world.now[0] += 31
    await read()
    await read()
    assert world.declined == {Reason.BROKEN: 4, Reason.RESTING: 8}

    # And when it answers that one, everything comes from it again
    world.now[0] += 31
    await read()
    await read()
    assert world.reader.tally.accepted == 2
    assert world.declined == {Reason.BROKEN: 4, Reason.RESTING: 8}


async def test_a_transport_that_is_closed_is_no_reason_to_go_on(world: World) -> None:
    # Given S3 behind the same transport, which is closed
    version = world.put("key")
    await world.transport.close()

    async def read(key: str, span: Span | None, version: Version | None) -> Content:
        raise Unavailable("closed")

    world.bucket.read = read  # type: ignore[method-assign]

    # When the object is read
    # Then the error is S3's
    with pytest.raises(Unavailable, match=r"^closed$"):
        await world.reader.read("key", None, version)


TERMS = Terms(3600)


@pytest.mark.parametrize("how", ["canned", "custom", "prefix", "sha256"])
async def test_signed_urls_open_a_restricted_edge(world: World, how: str) -> None:
    # Given a distribution that answers signed URLs only
    world.edge.keys = {"K1": KEY.public_key()}
    clock = lambda: NOW  # noqa: E731
    root = f"{world.edge.url}/photos/"
    urls: dict[str, UrlSigner] = {
        "canned": CannedSigner(PAIR, TERMS, clock),
        "custom": CustomSigner(PAIR, Terms(3600, int(NOW) - 5, "127.0.0.0/8"), clock),
        "prefix": PrefixSigner(PAIR, TERMS, root, clock),
        "sha256": CustomSigner(KeyPair("K1", KEY, "sha256"), TERMS, clock),
    }
    reader = world.through(urls[how], "photos/")
    world.edge._clock = clock

    # When objects with odd names are read, whole and in spans
    for key in ("plain.txt", "with spaces & ümlauts.txt", "*?#+%2F", "a//b", "new\nline"):
        version = world.put("photos/" + key)
        world.bucket._origin.objects[key] = world.origin.objects["photos/" + key]
        assert (await reader.read(key, None, version)).data == DATA
        assert (await reader.read(key, SPAN, version)).data == DATA[100:5000]

    # Then all came through the edge
    assert world.declined == {}
    assert reader.tally.accepted == 10


NOW = 1_795_000_000.0


@pytest.mark.parametrize("how", ["canned", "custom", "prefix"])
async def test_a_transfer_that_outlives_its_first_signature_goes_on(world: World, how: str) -> None:
    # Given an object read in spans from a restricted distribution, with URLs that are good for an hour
    now = [NOW]
    world.edge.keys = {"K1": KEY.public_key()}
    world.edge._clock = lambda: now[0]
    clock = lambda: now[0]  # noqa: E731
    urls: dict[str, UrlSigner] = {
        "canned": CannedSigner(PAIR, TERMS, clock),
        "custom": CustomSigner(PAIR, TERMS, clock),
        "prefix": PrefixSigner(PAIR, TERMS, f"{world.edge.url}/", clock),
    }
    reader = world.through(urls[how])
    version = world.put("large")

    # When the spans follow each other with half an hour and more between them
    for start in range(0, len(DATA), 2048):
        assert (await reader.read("large", Span(start, start + 2048), version)).data == DATA[start : start + 2048]
        now[0] += 1799 + start

    # Then each has passed
    assert world.declined == {}
    assert world.edge.refused == []


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        (Public(), Reason.SIGNATURE),
        (CannedSigner(KeyPair("K2", KEY), TERMS, lambda: NOW), Reason.SIGNATURE),
        (
            CannedSigner(KeyPair("K1", OTHER), TERMS, lambda: NOW),
            Reason.SIGNATURE,
        ),
        (CustomSigner(PAIR, Terms(3600, None, "192.0.2.0/24"), lambda: NOW), Reason.SIGNATURE),
        (PrefixSigner(PAIR, TERMS, "http://127.0.0.1:1/elsewhere/", lambda: NOW), Reason.SIGNATURE),
        (CannedSigner(PAIR, TERMS, lambda: NOW - 3601), Reason.EXPIRED),
        (CustomSigner(PAIR, TERMS, lambda: NOW - 7200), Reason.EXPIRED),
        (CustomSigner(PAIR, Terms(3600, int(NOW) + 600), lambda: NOW), Reason.EXPIRED),
    ],
    ids=["unsigned", "unknown key", "other key", "other address", "other resource", "expired", "expired custom", "not yet"],
)
async def test_refusals_are_told_apart(world: World, monkeypatch, urls: UrlSigner, reason: Reason) -> None:
    # Given a restricted distribution, whose clock is right, and a URL that it will not accept
    monkeypatch.setattr("tests.fakes.http.message.time.time", lambda: NOW)
    world.edge.keys = {"K1": KEY.public_key()}
    world.edge._clock = lambda: NOW
    version = world.put("key")

    # When the object is read
    # Then S3 brings it, and the reason says what to look at
    assert (await world.through(urls).read("key", None, version)).data == DATA
    assert world.declined == {reason: 1}


async def test_an_origin_that_refuses_the_edge_is_no_bad_signature(world: World) -> None:
    # Given a signature that the edge accepts, and an object that its origin does not show it
    world.edge.keys = {"K1": KEY.public_key()}
    world.edge._clock = lambda: NOW
    version = world.put("key")
    world.edge.origin = DictOrigin()

    # When the object is read
    # Then the reason is the origin
    assert (await world.through(CannedSigner(PAIR, TERMS, lambda: NOW)).read("key", None, version)).data == DATA
    assert world.declined == {Reason.MISSING: 1}


async def test_each_reason_is_said_once_a_minute_and_counted_always(world: World, lines) -> None:
    # Given an edge that is in one bad mood after the other
    version = world.put("key")
    read = lambda: world.reader.read("key", None, version)  # noqa: E731

    # When much is read in one minute, and something later
    world.edge.moods = [*[Mood.PAGE] * 5, Mood.BUSY, Mood.BUSY]
    for _ in range(7):
        await read()
    world.now[0] += 61
    world.edge.moods = [Mood.PAGE]
    await read()
    await read()
    await world.reader.close()
    await world.reader.close()

    # Then each reason was said once a minute, with the number of times since, and the sums at the end
    assert world.declined == {Reason.REFUSED: 6, Reason.UNAVAILABLE: 2}
    said = [(line["reason"], line["times"]) for line in lines() if line["action"] == "cdn_declined"]
    assert said == [("refused", 1), ("unavailable", 1), ("refused", 5)]
    (totals,) = [line for line in lines() if line["action"] == "cdn_totals"]
    assert (totals["accepted"], totals["accepted_bytes"]) == (1, len(DATA))
    assert totals["declined"] == {"refused": 6, "unavailable": 2}


async def test_no_line_and_no_error_holds_a_signature(world: World, lines) -> None:
    # Given signed URLs, and an edge that breaks off, refuses, and is away
    reader = world.through(CustomSigner(PAIR, TERMS, lambda: NOW))
    version = world.put("key")
    world.edge.moods = [Mood.CUT, Mood.SILENT, Mood.PAGE]

    # When all of that is met
    for _ in range(3):
        await reader.read("key", None, version)
    await world.edge.close()
    world.now[0] += 61
    await reader.read("key", None, version)

    # Then the log has nothing of a signature
    assert len(lines()) == 3
    for line in lines():
        assert not any(word in json.dumps(line) for word in ("Signature=", "Policy=", "Key-Pair-Id=", "K1"))


async def test_listings_and_looks_are_s3s(world: World) -> None:
    # Given a reader
    world.put("key")

    # When it lists and looks
    assert [page async for page in world.reader.list()] == []
    found = await world.reader.stat("key")
    await world.reader.close()

    # Then only S3 was asked
    assert found is not None
    assert world.bucket.asked == ["list", "stat", "close"]
    assert world.edge.paths == []
    assert world.reader.limits == world.bucket.limits


async def test_an_object_whose_parts_are_begun_again_comes_from_s3(world: World) -> None:
    # Given an object that is read in parts through the edge, of which nobody can tell a part's bytes
    version = world.put("film")
    halves = Span(0, 5000), Span(5000, len(DATA))
    for span in halves:
        await world.reader.read("film", span, version)
    assert "read" not in world.bucket.asked

    # When it is begun again, because the parts together were not the object, then S3 is asked for all of it, and that is counted
    for span in halves:
        assert (await world.reader.read("film", span, version)).data == DATA[span.start : span.end]
    assert world.bucket.asked.count("read") == 2
    assert world.declined == {Reason.CORRUPT: 1}

    # And another version of it, or another object, comes from the edge
    for key, newer in (("film", world.put("film", DATA[::-1])), ("other", world.put("other"))):
        for span in halves:
            await world.reader.read(key, span, newer)
    assert world.bucket.asked.count("read") == 2
