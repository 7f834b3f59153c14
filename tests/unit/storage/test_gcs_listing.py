"""A GCS listing from page to page, and what is no listing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from common.errors import Refused, Unavailable
from common.storage import gcs_listing
from common.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

MOMENT = "2026-01-02T03:04:05.000Z"


class Client:
    """Answers with one body after the other, and keeps the questions."""

    bucket, prefix = "b", "in/"

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = list(bodies)
        self.asked: list[dict[str, str]] = []

    async def send(self, *_: Any, **__: Any) -> Response:
        return Response(200, {}, self.bodies.pop(0))

    def list_url(self, query: Sequence[tuple[str, str]]) -> str:
        self.asked.append(dict(query))
        return ""

    def name(self, key: str | None) -> str:
        return "gs://b"


def page(*names: str, token: str | None = None) -> bytes:
    items = [{"name": name, "size": "3", "generation": "17", "updated": MOMENT} for name in names]
    return json.dumps({**({"items": items} if items else {}), **({"nextPageToken": token} if token else {})}).encode()


async def listed(client: Any, after: str | None = None) -> list[tuple[list[str], str | None]]:
    return [(list(one.objects.keys), one.after) async for one in gcs_listing.pages(client, after)]  # type: ignore[attr-defined]


async def test_an_empty_page_that_is_not_the_last_is_not_the_end() -> None:
    # Given a service that finds nothing at first, says so, and has more
    client = Client(page("in/a", token="1"), page(token="2"), page(token="3"), page("in/b"))
    # When it is listed, then everything comes, by its own tokens
    assert await listed(client) == [(["a"], "a"), (["b"], None)]
    assert [asked.get("pageToken") for asked in client.asked] == [None, "1", "2", "3"]
    assert {asked.get("startOffset") for asked in client.asked} == {None}


async def test_a_checkpoint_is_where_it_begins_and_the_key_itself_is_left_out() -> None:
    client = Client(page("in/a", "in/b", token="1"), page("in/c"))
    assert await listed(client, "a") == [(["b"], "b"), (["c"], None)]
    assert [asked.get("startOffset") for asked in client.asked] == ["in/a", "in/a"]
    # Also where that is all that the first page holds
    assert await listed(Client(page("in/a", token="1"), page("in/c")), "a") == [(["c"], None)]


@pytest.mark.parametrize(
    "bodies",
    [
        [page(token="1"), page(token="1")],
        [page("in/a", token="1"), page("in/b", token="2"), page(token="1"), page(token="2"), page(token="1"), page(token="2")],
    ],
)
async def test_a_token_that_leads_nowhere_is_a_fault(bodies: list[bytes]) -> None:
    with pytest.raises(Unavailable, match="there is more"):
        await listed(Client(*bodies))


async def test_a_page_that_goes_back_is_a_fault() -> None:
    with pytest.raises(Unavailable, match=r"'gs://b': page 2 .*do not go forward"):
        await listed(Client(page("in/a", "in/b", token="1"), page("in/a", "in/b", token="2")))


async def test_a_service_that_ignores_where_it_is_to_begin_cannot_go_on() -> None:
    with pytest.raises(Refused, match="what follows 'm', the service begins with 'a'"):
        await listed(Client(page("in/a", "in/b")), "m")


async def test_a_name_outside_the_prefix_is_an_error() -> None:
    with pytest.raises(Unavailable, match="'out/b', which is not below 'in/'"):
        await listed(Client(page("in/a", "out/b")))


@pytest.mark.parametrize("field", ["size", "generation"])
async def test_an_entry_that_lacks_something_fails_alone(field: str) -> None:
    answer = json.loads(page("in/a", "in/b", "in/c"))
    del answer["items"][1][field]
    client: Any = Client(json.dumps(answer).encode())
    (only,) = [one async for one in gcs_listing.pages(client, None)]
    assert [item.key for item in only.objects] == ["a", "c"]
    assert [fault.key for fault in only.faults] == ["b"]
    assert "'in/b'" in str(only.faults[0].error)


@pytest.mark.parametrize("entry", [None, {}, {"name": 7, "size": "1", "generation": "1"}, "in/x"])
async def test_an_entry_without_a_name_fails_alone(entry: object) -> None:
    answer = json.loads(page("in/a", "in/c"))
    answer["items"].insert(1, entry)
    client: Any = Client(json.dumps(answer).encode())
    (only,) = [one async for one in gcs_listing.pages(client, None)]
    assert [item.key for item in only.objects] == ["a", "c"]
    assert ["without a name" in str(fault.error) for fault in only.faults] == [True]


async def test_uploads_under_way_are_no_objects() -> None:
    # Given a bucket that is the destination of two routes, and a user who has a folder of the same name
    number = "0123456789abcdef" * 2
    staged = [f"in/.brigade/uploads/{number}", f"in/deep/.brigade/uploads/{number}"]
    theirs = [f"in/.brigade/uploads/{number}/x", "in/.brigade/uploads/notes", "in/.brigade/x", f"in/x.brigade/uploads/{number}"]
    client: Any = Client(
        page(*sorted(["in/.a", *staged, *theirs]), token="1"), page(f"in/y/.brigade/uploads/{number}", token="2"), page("in/z")
    )
    # When it is listed as a source
    pages = [one async for one in gcs_listing.pages(client, None)]
    # Then ours are counted and left out, and nothing else is
    assert sorted(item.key for one in pages for item in one.objects) == sorted([".a", *(name[3:] for name in theirs), "z"])
    assert [dict(one.left_out) for one in pages] == [{"staging": 2}, {"staging": 1}]


@pytest.mark.parametrize("text", ["yesterday", "10000-01-01T00:00:00Z", "", None, 7])
def test_a_time_that_nobody_can_read_is_none(text: Any) -> None:
    body = json.dumps({"items": [{"name": "a", "size": "3", "generation": "17", "updated": text}]}).encode()
    (item,) = gcs_listing.read(body, "")[0]
    assert item.modified is None


def test_what_an_entry_says() -> None:
    (item,) = gcs_listing.read(page("in/\u00fc"), "in/")[0]
    assert (item.key, item.size, item.version.token) == ("\u00fc", 3, "17")
    assert item.modified == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"items": 7}', b'{"items": {"name": "in/a"}, "nextPageToken"}'])
async def test_what_is_no_listing_of_gcs_is_refused(body: bytes) -> None:
    with pytest.raises(Unavailable, match="not a listing"):
        await listed(Client(body))
