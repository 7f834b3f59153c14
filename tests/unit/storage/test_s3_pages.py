"""An S3 listing from page to page: each answer is held against what was asked, and one odd entry is that entry's alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest

from common.errors import LocationMissing, ObjectError, RateLimited, Refused, Unavailable
from tests.fakes.s3 import Fault, Kind
from tests.fakes.s3.adversarial import AdversarialS3, ignoring, replacing, without
from tests.unit.storage.s3_ends import Ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from common.storage import base
    from common.transport.http import Transport
    from tests.fakes.http import Response
    from tests.fakes.s3.call import Call

LIST = "ListObjectsV2"
NAMES = [f"{number:03}" for number in range(25)]
ENCODED = b"<EncodingType>url</EncodingType>"


@pytest.fixture
async def ends(transport: Transport) -> AsyncIterator[Ends]:
    """Pages of ten keys, whatever is asked for."""
    async with AdversarialS3(buckets=["demo"]) as server:
        server.hears.append(lambda call: call.query.update({"max-keys": str(min(10, call.number("max-keys", 1000)))}))
        yield Ends(server, transport)
        assert server.failures == []


def fill(ends: Ends, *names: str) -> None:
    for name in names:
        ends.server.put("demo", name, b"bytes")


async def listing(reader: base.Reader, after: str | None = None) -> tuple[list[str], dict[str, ObjectError]]:
    pages = [page async for page in reader.list(after)]
    return [item.key for page in pages for item in page.objects], {
        fault.key: fault.error for page in pages for fault in page.faults
    }


def asked(ends: Ends, name: str) -> list[str | None]:
    assert isinstance(ends.server, AdversarialS3)
    return [call.query.get(name) for call in ends.server.calls if call.operation == LIST]


def adverse(ends: Ends) -> AdversarialS3:
    assert isinstance(ends.server, AdversarialS3)
    return ends.server


async def test_within_a_run_the_services_own_token_is_followed(ends: Ends) -> None:
    # Given three pages
    fill(ends, *NAMES)
    # When they are listed behind a checkpoint
    found, _ = await listing(ends.reader(), "001")
    # Then the service is asked to begin somewhere once
    assert found == NAMES[2:]
    assert asked(ends, "start-after") == ["001", None, None]
    assert [token is not None for token in asked(ends, "continuation-token")] == [False, True, True]


async def test_a_service_that_ignores_start_after_is_listed_by_its_tokens(ends: Ends) -> None:
    # Given one that always begins at its beginning
    adverse(ends).hears.append(ignoring("start-after"))
    fill(ends, *NAMES)
    # Then everything comes
    assert (await listing(ends.reader()))[0] == NAMES
    # And behind a checkpoint what follows it comes, and nothing of what was listed before
    assert (await listing(ends.reader(), "012"))[0] == NAMES[13:]
    assert len(asked(ends, "prefix")) == 3 + 1 + 3


async def test_one_that_ignores_tokens_too_is_named_and_not_asked_for_ever(ends: Ends) -> None:
    adverse(ends).hears.append(ignoring("start-after", "continuation-token"))
    fill(ends, *NAMES)
    with pytest.raises(Unavailable, match=r"'s3://demo/'.* page 2"):
        await listing(ends.reader())
    assert len(asked(ends, "prefix")) == 2


async def test_one_that_gives_no_token_is_asked_behind_the_last_key(ends: Ends) -> None:
    def tokenless(call: Call, response: Response) -> None:
        if call.operation == LIST and isinstance(response.body, bytes):
            response.body = response.body.replace(b"NextContinuationToken", b"Nothing")

    adverse(ends).tells.append(tokenless)
    fill(ends, *NAMES)
    assert (await listing(ends.reader()))[0] == NAMES
    assert asked(ends, "start-after") == [None, "009", "019"]
    # And one that does not listen then is an error that names it
    adverse(ends).hears.append(ignoring("start-after"))
    with pytest.raises(Unavailable, match=r"'s3://demo/'.* page 2"):
        await listing(ends.reader())


async def test_one_that_begins_with_the_key_it_was_to_begin_behind(ends: Ends) -> None:
    def inclusive(call: Call) -> None:
        if after := call.query.get("start-after"):
            call.query["start-after"] = after[:-1] + chr(ord(after[-1]) - 1) + "~"

    adverse(ends).hears.append(inclusive)
    fill(ends, *NAMES)
    assert (await listing(ends.reader(), "012"))[0] == NAMES[13:]
    # Without tokens, which would go on, that is one key after another, until nothing new comes
    adverse(ends).tells.append(replacing(b"NextContinuationToken", b"Nothing", LIST))
    assert (await listing(ends.reader(), "012"))[0] == NAMES[13:]


async def test_a_service_that_begins_anywhere_else_cannot_go_on_and_says_so(ends: Ends) -> None:
    def elsewhere(call: Call) -> None:
        if "start-after" in call.query:
            call.query["start-after"] = "004"

    adverse(ends).hears.append(elsewhere)
    fill(ends, *NAMES)
    with pytest.raises(Refused, match=r"what follows '012', the service begins with '005'.*next one begins at the beginning"):
        await listing(ends.reader(), "012")


@pytest.mark.parametrize("first", [1, 2, 3])
async def test_a_page_that_comes_twice_is_an_error_that_names_it(ends: Ends, first: int) -> None:
    # Given a service whose token leads to a page that has been listed before
    fill(ends, *NAMES, *(f"1{name}" for name in NAMES))
    answers: list[Any] = []

    def again(call: Call, response: Response) -> None:
        if call.operation == LIST:
            answers.append(response.body)
            if len(answers) == 4:
                response.body = answers[first - 1]

    adverse(ends).tells.append(again)
    with pytest.raises(Unavailable, match=r"'s3://demo/'.* page 4"):
        await listing(ends.reader())


async def test_a_key_outside_the_prefix_is_an_error_and_not_cut(ends: Ends) -> None:
    # Given a service that does not keep the prefix
    adverse(ends).hears.append(ignoring("prefix"))
    fill(ends, "in/a", "other/b")
    # Then nothing is replicated under a name that was cut out of another
    with pytest.raises(Unavailable, match=r"'s3://demo/in/': the service lists 'other/b', which is not below"):
        await listing(ends.reader("demo/in/"))


async def test_a_listing_of_another_bucket_is_not_taken(ends: Ends) -> None:
    adverse(ends).tells.append(replacing(b"<Name>demo</Name>", b"<Name>else</Name>", LIST))
    with pytest.raises(Unavailable, match="another bucket, 'else'"):
        await listing(ends.reader())


@pytest.mark.parametrize(
    ("code", "kind"),
    [("SlowDown", RateLimited), ("NoSuchBucket", LocationMissing), ("InternalError", Unavailable), ("AccessDenied", Unavailable)],
)
async def test_an_error_in_a_200_is_that_error(ends: Ends, code: str, kind: type[ObjectError]) -> None:
    ends.server.faults.add(Fault(kind=Kind.ERROR_IN_200, operation=LIST, code=code))
    with pytest.raises(kind, match=code):
        await listing(ends.reader())


async def test_an_entry_that_lacks_something_is_looked_at(ends: Ends) -> None:
    # Given entries without ETag, and one with an odd size
    fill(ends, "a", "b", "c", "d")
    etag = f"<ETag>&quot;{ends.server.blob('demo', 'a').etag}&quot;</ETag>".encode()
    adverse(ends).tells.append(replacing(etag, b"", LIST, 2))
    adverse(ends).tells.append(replacing(b"<Size>5</Size>", b"<Size>-1</Size>", LIST, 1))
    # When they are listed
    (page,) = [page async for page in ends.reader().list()]
    # Then all are whole
    assert [(item.key, item.size, item.version.token) for item in page.objects] == [
        (name, 5, ends.server.blob("demo", "a").etag) for name in "abcd"
    ]
    assert page.faults == []
    assert ends.server.requests["HeadObject"] == 2


async def test_one_that_cannot_be_looked_at_fails_alone(ends: Ends) -> None:
    # Given entries without ETag: of one there is no object, one is forbidden, one has none in the look either
    fill(ends, "a", "b", "c", "d", "e")
    etag = f"<ETag>&quot;{ends.server.blob('demo', 'a').etag}&quot;</ETag>".encode()
    adverse(ends).tells.append(replacing(etag, b"", LIST, 3))
    ends.server.faults.add(Fault(kind=Kind.STATUS, operation="HeadObject", key="a", status=404))
    ends.server.faults.add(Fault(kind=Kind.STATUS, operation="HeadObject", key="b", status=403))
    adverse(ends).tells.append(without("etag", "HeadObject"))
    # When they are listed
    found, faults = await listing(ends.reader())
    # Then the others are there, and each failure says which object, and why
    assert found == ["d", "e"]
    assert [(key, error.category.value) for key, error in faults.items()] == [
        ("a", "source_missing"), ("b", "forbidden"), ("c", "refused"),
    ]  # fmt: skip
    assert all(f"'s3://demo/{key}'" in str(error) for key, error in faults.items())
    # And a fault that may pass is none of the object's
    ends.server.faults.add(Fault(kind=Kind.STATUS, operation="HeadObject", key="c", status=503))
    with pytest.raises(Unavailable):
        await listing(ends.reader())


async def test_an_entry_without_a_key_is_a_fault_and_no_end(ends: Ends) -> None:
    fill(ends, *NAMES)
    adverse(ends).tells.append(replacing(b"<Key>003</Key>", b"", LIST))
    found, faults = await listing(ends.reader())
    assert found == [name for name in NAMES if name != "003"]
    assert [str(error) for error in faults.values()] == [
        "cannot read an object in 's3://demo/': the listing has it without a key"
    ]


async def test_a_page_of_nothing_but_faults_is_not_the_end(ends: Ends) -> None:
    # Given a first page of which every object is gone when it is looked at
    fill(ends, *NAMES)
    adverse(ends).tells.append(strip_first_page)
    ends.server.faults.add(Fault(kind=Kind.STATUS, operation="HeadObject", status=404, times=10))
    found, faults = await listing(ends.reader())
    assert found == NAMES[10:]
    assert sorted(faults) == NAMES[:10]


def strip_first_page(call: Call, response: Response) -> None:
    if call.operation == LIST and "continuation-token" not in call.query and isinstance(response.body, bytes):
        response.body = response.body.replace(b"&quot;", b"").replace(b"<ETag>", b"<Was>").replace(b"</ETag>", b"</Was>")


ODD = ["\u00c6ther Realm/cover.jpg", "a b", "a+b", "plain", "100%", "50%25"]


def undeclared(spell: Callable[[str], str]) -> Callable[[Call, Response], None]:
    """Keys as the server spells them, without a word about it."""

    def change(call: Call, response: Response) -> None:
        if call.operation == LIST and isinstance(response.body, bytes):
            body = response.body.replace(ENCODED, b"")
            for name in ODD:
                body = body.replace(f"<Key>{form(name)}</Key>".encode(), f"<Key>{spell(name)}</Key>".encode())
            response.body = body

    return change


def form(name: str) -> str:
    return quote_plus(name, safe="/-_.*")


def percent(name: str) -> str:
    return quote(name, safe="/+")


def everything(name: str) -> str:
    """As JavaScript's encodeURIComponent does it."""
    return quote(name, safe="")


@pytest.mark.parametrize("spell", [form, percent, everything, str])
async def test_keys_that_are_encoded_without_a_word_are_read_under_their_names(ends: Ends, spell: Callable[[str], str]) -> None:
    # Given a service that spells keys in some way and does not say which
    fill(ends, *ODD)
    adverse(ends).tells.append(undeclared(spell))
    reader = ends.reader()
    # When it is listed
    found, faults = await listing(reader)
    # Then the names are those that can be read
    assert sorted(found) == sorted(ODD)
    assert faults == {}
    for name in found:
        assert (await reader.read(name, None, None)).data == b"bytes"
    # And the service was asked a few times, and not again
    heads = ends.server.requests["HeadObject"]
    assert heads <= 8
    await listing(reader)
    assert ends.server.requests["HeadObject"] == heads


async def test_a_prefix_tells_how_keys_are_encoded(ends: Ends) -> None:
    fill(ends, "a b/c+d")
    adverse(ends).tells.append(replacing(ENCODED, b"", LIST))
    assert (await listing(ends.reader("demo/a b/")))[0] == ["c+d"]
    assert ends.server.requests["HeadObject"] == 0


async def test_a_name_that_is_found_under_no_spelling_fails_by_name(ends: Ends) -> None:
    # Given an encoded key without a word about it, and an object that cannot be found
    fill(ends, "a b", "plain")
    adverse(ends).tells.append(replacing(ENCODED, b"", LIST))
    ends.server.faults.add(Fault(kind=Kind.STATUS, operation="HeadObject", status=404, times=0))
    found, faults = await listing(ends.reader())
    # Then the other one is listed, and this one fails, naming listing and service
    assert found == ["plain"]
    assert list(faults) == ["a+b"]
    assert "'s3://demo/'" in str(faults["a+b"])
    assert "does not say whether" in str(faults["a+b"])


async def test_an_answer_that_names_no_version_is_asked_for_again(ends: Ends) -> None:
    # Given answers to a look and to a read that lack their ETag
    fill(ends, "k")
    adverse(ends).tells.append(without("etag", "HeadObject"))
    adverse(ends).tells.append(without("etag", "GetObject"))
    # Then neither is taken for the object
    with pytest.raises(Unavailable, match="no ETag"):
        await ends.reader().stat("k")
    with pytest.raises(Unavailable, match="no ETag"):
        await ends.reader().read("k", None, None)
