"""What a service does is found out from its own answers, and whoever answers otherwise later is not trusted any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import google_crc32c
import pytest

from common.errors import PreconditionFailed
from common.objects import Headers, Version
from common.storage import abilities
from common.storage.abilities import Abilities, Ability, Finding
from common.storage.base import Absent, Body, Matches
from common.storage.shared import Alone
from tests.fakes.s3 import Fault, Kind
from tests.fakes.s3.adversarial import AdversarialS3, ignoring, without
from tests.unit.storage.s3_ends import Ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.base import Writer
    from common.transport.http import Transport
    from tests.fakes.http import Response
    from tests.fakes.s3.call import Call

MIB = 1024 * 1024
CRC = "x-amz-checksum-crc32c"
CONDITIONAL = ("if-none-match", "if-match")
OURS = Headers(metadata={"brigade-source-version": "v1"})


def body(data: bytes) -> Body:
    return Body(data, google_crc32c.value(data), OURS)


@pytest.fixture
async def ends(transport: Transport) -> AsyncIterator[Ends]:
    async with AdversarialS3(buckets=["demo"]) as server:
        yield Ends(server, transport)
        assert server.failures == []


def adverse(ends: Ends) -> AdversarialS3:
    assert isinstance(ends.server, AdversarialS3)
    return ends.server


def echoing(call: Call, response: Response) -> None:
    """Repeats the checksum that it was sent, which it has not compared."""
    if call.operation in ("PutObject", "UploadPart") and response.status == 200 and (said := call.notes):
        response.headers = [(name, value) for name, value in response.headers if name.lower() != CRC] + [(CRC, said[0])]


def not_comparing(call: Call) -> None:
    if call.operation in ("PutObject", "UploadPart") and (said := call.request.headers.pop(CRC, None)):
        call.notes.append(said)


def puts(ends: Ends) -> list[dict[str, str]]:
    """The headers of every write that reached the server's operations."""
    return [call.headers for call in adverse(ends).calls if call.operation == "PutObject"]


async def test_the_first_write_finds_out_what_a_service_does(ends: Ends) -> None:
    # Given a service that nobody knows, and that does as AWS does
    shared = Alone()
    writer = ends.writer(compat="auto", shared=shared)
    unknown = writer.limits
    # When an object is put
    put = await writer.put("first", body(b"bytes"), Absent())
    # Then it is there once, and the service is known
    assert [key for _, key, _ in ends.server.writes] == ["first"]
    assert put.version.token == ends.server.blob("demo", "first").etag
    assert (unknown.preconditions, writer.limits.preconditions) == (False, True)
    known = await shared.findings(ends.server.url)
    assert {name: found.kept for name, found in known.items()} == {"conditions": True, "checksums": True}
    assert "412" in known["conditions"].how
    # And the next one costs one request, without an MD5
    before = sum(ends.server.requests.values())
    await writer.put("second", body(b"bytes"), Absent())
    assert sum(ends.server.requests.values()) == before + 1
    assert "content-md5" not in puts(ends)[-1]


@pytest.mark.parametrize("conditions", ["kept", "if-none-match ignored", "if-match ignored", "both ignored"])
@pytest.mark.parametrize("checksums", ["compared", "repeated", "ignored"])
async def test_a_service_is_trusted_with_what_it_keeps_and_with_nothing_else(ends: Ends, conditions: str, checksums: str) -> None:
    # Given a service that keeps some of it, and takes the rest without a word
    server = adverse(ends)
    ignored = [name for name in CONDITIONAL if name in conditions or "both" in conditions]
    server.hears.append(ignoring(*ignored, operation="PutObject"))
    if checksums != "compared":
        server.hears.append(not_comparing)
    if checksums == "repeated":
        server.tells.append(echoing)
    shared = Alone()
    writer = ends.writer(compat="auto", shared=shared)
    # When objects are put
    for name in ("first", "second"):
        put = await writer.put(name, body(name.encode()), Absent())
        # Then they are there as they were sent, with a checksum that is theirs, and the answer is about what is there
        blob = ends.server.blob("demo", name)
        assert (blob.data, put.version.token) == (name.encode(), blob.etag)
        assert put.crc32c in (None, google_crc32c.value(name.encode()))
    # And the service is trusted with what it keeps
    assert writer.limits.preconditions == (not ignored)
    found = {name: finding.kept for name, finding in (await shared.findings(server.url)).items()}
    assert found == {"conditions": not ignored, "checksums": checksums == "compared"}
    # So what is not trusted is compared by MD5, and looked at
    assert ("content-md5" in puts(ends)[-1]) == (checksums != "compared")
    if not ignored:
        with pytest.raises(PreconditionFailed):
            await writer.put("first", body(b"else"), Absent())
        with pytest.raises(PreconditionFailed):
            await writer.put("first", body(b"else"), Matches(Version("another")))


async def test_parts_are_asked_about_as_parts(ends: Ends) -> None:
    for checksums, kept in (("compared", True), ("repeated", False), ("ignored", False)):
        # Given a service that compares the checksums of parts, or does not
        server = adverse(ends)
        server.hears[:] = [] if kept else [not_comparing]
        server.tells[:] = [echoing] if checksums == "repeated" else []
        shared = Alone()
        writer = ends.writer(compat="auto", shared=shared)
        # When an object is put in parts
        data = await in_parts(writer, checksums)
        # Then it is what was sent, and the service is known by one question
        assert ends.server.data("demo", checksums) == data
        assert (await shared.findings(server.url))["part_checksums"].kept == kept
        before = ends.server.requests["UploadPart"]
        await in_parts(writer, f"{checksums}-2")
        assert ends.server.requests["UploadPart"] == before + 3
        last = [call.headers for call in server.calls if call.operation == "UploadPart"][-1]
        assert ("content-md5" in last) != kept


async def in_parts(writer: Writer, key: str) -> bytes:
    pieces = [bytes([number]) * 5 * MIB for number in (1, 2)] + [b"end"]
    data = b"".join(pieces)
    upload = await writer.begin(key, len(data), OURS, Absent())
    receipts = []
    for number, piece in enumerate(pieces):
        receipts.append(await upload.part(number, number * 5 * MIB, piece, google_crc32c.value(piece)))
    await upload.complete(receipts, google_crc32c.value(data))
    return data


async def test_a_service_that_stops_repeating_checksums_is_not_trusted_any_more(ends: Ends) -> None:
    # Given a service that is trusted with checksums
    shared = Alone()
    writer = ends.writer(compat="auto", shared=shared)
    await writer.put("first", body(b"bytes"), Absent())
    await in_parts(writer, "parts")
    assert (await shared.findings(ends.server.url))["part_checksums"].kept
    # When it is replaced by one that says nothing of them
    adverse(ends).tells += [without(CRC, "PutObject"), without(CRC, "UploadPart"), without(CRC, "HeadObject")]
    put = await writer.put("second", body(b"other bytes"), Absent())
    data = await in_parts(writer, "second-parts")
    # Then what it took without comparing it is written once more, with an MD5, and it is trusted no more
    assert put.version.token == ends.server.blob("demo", "second").etag
    assert ends.server.data("demo", "second-parts") == data
    assert "content-md5" in puts(ends)[-1]
    known = await shared.findings(ends.server.url)
    assert (known["checksums"].kept, known["part_checksums"].kept) == (False, False)
    assert "did not repeat" in known["checksums"].how


async def test_a_service_that_stops_keeping_conditions_is_found_out_by_the_next_question(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a service that keeps conditions, and a question after every three writes
    monkeypatch.setattr(abilities, "WRITES", 3)
    writer = ends.writer(compat="auto")
    await writer.put("first", body(b"bytes"), Absent())
    assert writer.limits.preconditions
    # When it does not any more
    adverse(ends).hears.append(ignoring(*CONDITIONAL, operation="PutObject"))
    for number in range(3):
        await writer.put(f"more-{number}", body(b"bytes"), Absent())
    # Then the destination is looked at again before each write
    assert not writer.limits.preconditions


async def test_a_service_that_refuses_new_headers_is_written_to_without_them(ends: Ends) -> None:
    # Given a service that knows neither conditions nor checksums, and says so
    def refused(call: Call) -> None:
        if CRC in call.headers or "x-amz-checksum-algorithm" in call.headers:
            from tests.fakes.s3.errors import not_implemented  # noqa: PLC0415 - what it says is its own business

            raise not_implemented()

    adverse(ends).hears.append(refused)
    shared = Alone()
    writer = ends.writer(compat="auto", shared=shared)
    # When objects are put, then they arrive, and the next ones cost no request in vain
    await writer.put("first", body(b"bytes"), Absent())
    assert ends.server.data("demo", "first") == b"bytes"
    assert not (await shared.findings(ends.server.url))["new_headers"].kept
    before = ends.server.requests["PutObject"]
    await writer.put("second", body(b"bytes"), Absent())
    assert ends.server.requests["PutObject"] == before + 1
    data = await in_parts(writer, "parts")
    assert ends.server.data("demo", "parts") == data
    # And one that is to begin with an upload in parts is found out as well
    data = await in_parts(ends.writer(compat="auto", shared=Alone()), "more")
    assert ends.server.data("demo", "more") == data


@pytest.mark.parametrize("status", [403, 503, 409])
async def test_a_question_that_comes_to_nothing_fails_no_object(ends: Ends, status: int) -> None:
    # Given a service that refuses a second write for a reason of its own
    ends.server.faults.add(Fault(Kind.STATUS, "PutObject", nth=2, times=2, status=status))
    writer = ends.writer(compat="auto")
    # When an object is put, then it is put, and nothing is known
    put = await writer.put("first", body(b"bytes"), Absent())
    assert put.version.token == ends.server.blob("demo", "first").etag
    assert not writer.limits.preconditions
    # And the next write asks nothing: that waits for an hour
    before = ends.server.requests["PutObject"]
    await writer.put("second", body(b"bytes"), Absent())
    assert ends.server.requests["PutObject"] == before + 1


async def test_a_lost_answer_to_a_question_leaves_the_object_as_it_is_told(ends: Ends) -> None:
    ends.server.faults.add(Fault(Kind.RESET, "PutObject", nth=2, times=2))
    writer = ends.writer(compat="auto")
    put = await writer.put("first", body(b"bytes"), Absent())
    assert put.version.token == ends.server.blob("demo", "first").etag


@pytest.mark.parametrize("compat", ["aws", "basic"])
async def test_what_is_set_is_not_asked(ends: Ends, compat: str) -> None:
    shared = Alone()
    writer = ends.writer(compat=compat, shared=shared)
    await writer.put("first", body(b"bytes"), Absent())
    assert ends.server.requests["PutObject"] == 1
    assert writer.limits.preconditions == (compat == "aws")
    assert await shared.findings(ends.server.url) == {}


async def test_where_a_listing_may_begin_is_asked_and_remembered(ends: Ends) -> None:
    names = [f"dir{number // 5}/{number:02}" for number in range(20)]
    for name in names:
        ends.server.put("demo", name, b"x")
    shared = Alone()
    # Given a service that begins behind any text
    assert await ends.reader(compat="auto", shared=shared).divisible(None, names)  # type: ignore[attr-defined]
    asked = ends.server.requests["ListObjectsV2"]
    assert asked == 3
    # When another reader wants to know, then it is not asked again
    other = ends.reader(compat="auto", shared=shared)
    assert await other.divisible(None, names)  # type: ignore[attr-defined]
    assert ends.server.requests["ListObjectsV2"] == asked
    # And when a range was found to lack something, that counts for all
    await other.indivisible()  # type: ignore[attr-defined]
    assert not await ends.reader(compat="auto", shared=shared).divisible(None, names)  # type: ignore[attr-defined]
    # And the setting goes before that
    assert await ends.reader(compat="aws", shared=shared).divisible(None, names)  # type: ignore[attr-defined]


async def test_a_finding_holds_for_a_day_and_the_newer_one_counts() -> None:
    # Given two processes that share what they find
    now = [1000.0]
    shared = Alone()
    one, other = (Abilities("https://s3.example", {}, shared, lambda: now[0]) for _ in range(2))
    await other.refresh()
    await one.found(Ability.CONDITIONS, kept=True, how="asked")
    assert one.keeps(Ability.CONDITIONS)
    # When the other looks again, then it knows
    assert not other.keeps(Ability.CONDITIONS)
    now[0] += abilities.READ_AGAIN
    await other.refresh()
    assert other.keeps(Ability.CONDITIONS)
    # When it finds the contrary, then that counts for both
    now[0] += 1
    await other.found(Ability.CONDITIONS, kept=False, how="asked")
    now[0] += abilities.READ_AGAIN
    await one.refresh()
    assert one.lacks(Ability.CONDITIONS)
    # And after a day nothing is known
    now[0] += abilities.FRESH
    assert not one.lacks(Ability.CONDITIONS)
    async with one.question(Ability.CONDITIONS) as asked, one.question(Ability.CONDITIONS) as again:
        assert (asked, again) == (True, False)
    assert (await shared.findings("https://s3.example"))["conditions"] == Finding(False, "asked", 1061.0)
