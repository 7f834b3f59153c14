"""Answers that are not what they should be: a look without a length, an error in a 200, an ETag with entities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.errors import Forbidden, RateLimited, Refused, Unavailable, UploadLost
from common.storage.base import Absent
from common.storage.s3_answer import said
from tests.fakes.http.message import Framing
from tests.fakes.s3 import Fault, Kind
from tests.fakes.s3.adversarial import AdversarialS3, replacing, without
from tests.unit.storage.s3_ends import Ends
from tests.unit.storage.test_s3_abilities import adverse, body, in_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.errors import ObjectError
    from common.transport.http import Transport
    from tests.fakes.http import Response
    from tests.fakes.s3.call import Call


@pytest.fixture
async def ends(transport: Transport) -> AsyncIterator[Ends]:
    async with AdversarialS3(buckets=["demo"]) as server:
        yield Ends(server, transport)
        assert server.failures == []


def lengthless(call: Call, response: Response) -> None:
    """As behind a proxy that compresses, or an application server that does not know the length when it answers a HEAD."""
    if call.operation == "HeadObject":
        response.framing, response.body, response.length = Framing.CHUNKED, b"", None


@pytest.mark.parametrize("size", [0, 1, 5, 100_000])
async def test_a_look_without_a_length_is_not_a_look_at_nothing(ends: Ends, size: int) -> None:
    # Given a service that does not tell the length of an object when it is looked at
    ends.server.put("demo", "k", b"x" * size, metadata={"a": "b"})
    adverse(ends).tells.append(lengthless)
    # When it is looked at, then it has its size all the same
    found = await ends.reader().stat("k")
    assert found is not None
    assert (found.size, found.headers.metadata["a"]) == (size, "b")
    # And a write that has to be looked at afterwards is confirmed
    adverse(ends).tells.append(without("x-amz-checksum-crc32c", "PutObject"))
    put = await ends.writer(compat="auto").put("new", body(b"b" * max(size, 1)), Absent())
    assert put.size == max(size, 1)


async def test_a_size_that_is_told_by_no_answer_is_refused_by_name(ends: Ends) -> None:
    ends.server.put("demo", "k", b"x" * 10)
    adverse(ends).tells += [lengthless, without("content-range", "GetObject")]
    with pytest.raises(Refused, match="'s3://demo/k': the service tells its size neither"):
        await ends.reader().stat("k")


@pytest.mark.parametrize(("code", "kind"), [("SlowDown", RateLimited), ("InternalError", Unavailable)])
@pytest.mark.parametrize("operation", ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
async def test_an_error_in_a_200_is_no_success(ends: Ends, operation: str, code: str, kind: type[ObjectError]) -> None:
    # Given a service that answers 200, and then thinks otherwise
    ends.server.faults.add(Fault(Kind.ERROR_IN_200, operation, code=code))
    writer = ends.writer(compat="aws")
    # When something is written, then it is that error
    with pytest.raises(kind, match=code):
        await (writer.put("k", body(b"bytes"), Absent()) if operation == "PutObject" else in_parts(writer, "k"))
    # And nothing is there
    assert ends.server.keys("demo") == []


@pytest.mark.parametrize("quote", [b"&quot;", b"&#34;", b'"', b"&#x22;", b""])
async def test_the_etag_of_a_completion_is_read_as_xml(ends: Ends, quote: bytes) -> None:
    adverse(ends).tells.append(replacing(b"&quot;", quote, "CompleteMultipartUpload"))
    adverse(ends).tells.append(replacing(b'"', quote, "CompleteMultipartUpload"))
    writer = ends.writer(compat="aws")
    await in_parts(writer, "k")
    found = await writer.stat("k")
    assert found is not None
    assert found.version.token == ends.server.blob("demo", "k").etag


async def test_a_completion_that_names_another_object_is_looked_at(ends: Ends) -> None:
    # Given an answer about another key
    adverse(ends).tells.append(replacing(b"<Key>k</Key>", b"<Key>other</Key>", "CompleteMultipartUpload"))
    # When an upload is completed, then the service is asked what is there
    await in_parts(ends.writer(compat="aws"), "k")
    assert ends.server.requests["HeadObject"] == 1


async def test_a_lost_upload_is_told_by_its_code(ends: Ends) -> None:
    upload = await ends.writer().begin("k", 5, body(b"").headers, Absent(), "no-such-upload")
    with pytest.raises(UploadLost):
        await upload.part(0, 0, b"bytes", 0)


@pytest.mark.parametrize(("anonymous", "advice"), [(False, "permissions of these credentials"), (True, "anonymous=false")])
async def test_who_shows_no_identity_is_not_told_to_look_at_its_permissions(ends: Ends, anonymous: bool, advice: str) -> None:
    ends.server.put("demo", "k", b"x")
    ends.server.faults.add(Fault(Kind.STATUS, "GetObject", status=403))
    with pytest.raises(Forbidden, match=advice):
        await ends.reader(anonymous=anonymous).read("k", None, None)


@pytest.mark.parametrize(
    ("text", "root", "code"),
    [
        (b"", "", None),
        (b"<html><br></html>", "", None),
        (b"  \n<?xml version='1.0'?>\n<Error><Code>A&amp;B</Code></Error>", "Error", "A&B"),
        (b"<e:Error xmlns:e='urn:x'><e:Code>X</e:Code></e:Error>", "Error", "X"),
        (b"<ErrorResponse><Error><Code>Nested</Code></Error></ErrorResponse>", "ErrorResponse", "Nested"),
        (b"\xff\xfe", "", None),
    ],
)
def test_what_an_answer_says(text: bytes, root: str, code: str | None) -> None:
    answer = said(text)
    assert (answer.root, answer.fields.get("Code"), answer.is_error) == (root, code, code is not None)
