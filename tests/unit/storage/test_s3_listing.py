"""Pages of S3's listings: the quick reading and the tree say the same; what neither knows is an error, not an empty bucket."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_to_bytes
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Unavailable
from common.storage import gcs_listing, s3_listing
from common.storage.s3_listing import read
from common.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
MOMENT = "2026-01-02T03:04:05.000Z"
E32 = "d41d8cd98f00b204e9800998ecf8427e"

Fields = dict[str, str]


def entry(key: str, *, size: str = "7", tag: str = f"&quot;{E32}&quot;", **more: str) -> str:
    fields = {"Key": key, "LastModified": MOMENT, "ETag": tag, "Size": size, "StorageClass": "STANDARD", **more}
    return "<Contents>" + "".join(f"<{name}>{text}</{name}>" for name, text in fields.items()) + "</Contents>"


def page(*entries: str, truncated: bool = False, encoding: str = "<EncodingType>url</EncodingType>", token: str = "") -> bytes:
    end = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    end += token and f"<NextContinuationToken>{token}</NextContinuationToken>"
    return f"{HEAD}{encoding}{end}{''.join(entries)}</ListBucketResult>".encode()


def is_quick(body: bytes) -> bool:
    return s3_listing._usual(body) is not None


def rows(body: bytes, prefix: str = "") -> list[tuple[Any, ...]]:
    objects = read(body, prefix).objects
    assert [item.key for item in objects] == list(objects.keys)
    assert [item.version.token for item in objects] == list(objects.tokens)
    assert [item.size for item in objects] == list(objects.sizes)
    return [(item.key, item.size, item.version.token, item.modified, item.storage_class) for item in objects]


def test_a_page_as_services_send_it_is_read_quickly() -> None:
    # Given a page with what AWS, MinIO and Ceph put into an entry
    checksum = "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    body = page(
        entry("in/a+b%2Bc/%C3%BC"),
        entry("in/b", tag=f"&#34;{E32}-12&#34;", size="0"),
        entry("in/c", tag='"1"', Type="Normal"),
        entry("in/d", Owner="<ID>1</ID><DisplayName>who</DisplayName>"),
        entry("in/Contents/e").replace("<Size>", f"{checksum}<Size>"),
    )  # fmt: skip
    # When it is read
    assert is_quick(body)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    # Then everything is there
    assert rows(body, "in/") == [
        ("a b+c/ü", 7, E32, moment, "STANDARD"),
        ("b", 0, f"{E32}-12", moment, "STANDARD"),
        ("c", 7, "1", moment, "STANDARD"),
        ("d", 7, E32, moment, "STANDARD"),
        ("Contents/e", 7, E32, moment, "STANDARD"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        page(entry("a"), "\n  ", entry("b")),
        page(entry("a"), "<!-- " + entry("x") + " -->", entry("b")),
        page(entry("a"), entry("b")).replace(b"<Key>a</Key>", b"<Key><![CDATA[a]]></Key>"),
        page(entry("a"), entry("b")).replace(b"Contents>", b"s3:Contents>").replace(b"xmlns=", b'xmlns:s3="x" xmlns='),
        page(entry("a"), entry("b")).replace(b"<Contents><Key>b", b'<Contents xmlns="x"><Key>b'),
        page(entry("a"), entry("b")).replace(b"<Contents><Key>b", b"<Contents ><Key>b"),
        page(entry("a"), entry("b").replace("<Key>b</Key>", "").replace("</Size>", "</Size><Key>b</Key>")),
        page(entry("a"), entry("b", New="<Deep><Key>no</Key></Deep>")),
        page(entry("&#97;"), entry("b")),
        page(entry("a"), entry("b"), "<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>", entry("c")[:0]),
        page(entry("a", Owner="<ID>1</ID><DisplayName>ü</DisplayName>"), entry("b")),
        page(entry("a"), entry("b")).replace(b"\n", b"\r\n"),
        page(entry("a"), entry("b", tag=f"W/&quot;{E32}&quot;")),
        page(entry("a"), entry("b", tag=E32)),
    ],
)
def test_other_spellings_of_the_same_page_mean_the_same(body: bytes) -> None:
    # Given a page that says "a" and "b" in its own way
    # Then that is what is read
    assert [(key, token) for key, _, token, _, _ in rows(body)] == [("a", E32), ("b", E32)]


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
raw = st.binary(min_size=1, max_size=12)
orders = st.permutations(["Key", "LastModified", "ETag", "Size", "StorageClass", "ChecksumAlgorithm", "Owner"])
usual = st.just(["Key", "LastModified", "ETag", "ChecksumAlgorithm", "Size", "StorageClass", "Owner"])
wholes = st.fixed_dictionaries(
    {
        "Key": raw.map(quote_plus),
        "ETag": st.one_of(st.just(f'"{E32}"'), st.text("0123456789abcdef-", min_size=1).map('"{}"'.format)),
        "Size": st.integers(0, 10**15).map(str),
    },
    optional={
        "LastModified": st.sampled_from([MOMENT, "2026-01-02T03:04:05Z", "yesterday", ""]),
        "StorageClass": st.sampled_from(["STANDARD", "GLACIER", ""]),
        "ChecksumAlgorithm": st.just("CRC32"),
        "Owner": st.tuples(texts, texts).map(
            lambda pair: f"<ID>{escape(pair[0])}</ID><DisplayName>{escape(pair[1])}</DisplayName>"
        ),
    },
)


def written(fields: Fields, names: Sequence[str], quotes: str) -> str:
    def text(name: str) -> str:
        return fields[name] if name == "Owner" else escape(fields[name], {'"': quotes})

    return "<Contents>" + "".join(f"<{name}>{text(name)}</{name}>" for name in names if name in fields) + "</Contents>"


@given(
    st.lists(st.tuples(wholes, st.one_of(usual, orders), st.sampled_from(["&quot;", "&#34;", '"'])), max_size=8),
    st.sampled_from(["", "\n", "  "]),
    st.booleans(),
)
def test_every_legal_page_is_read_as_a_tree_would_read_it(entries: list[Any], gap: str, truncated: bool) -> None:
    # Given any page: children in any order, some left out, entities, names of any bytes
    body = page(gap.join(written(*one) for one in entries), truncated=truncated)
    # When it is read as it comes, and as a tree because a comment stands before it
    quick = read(body, "")
    tree = read(body.replace(b"<ListBucketResult", b"<!-- --><ListBucketResult"), "")
    # Then both say the same
    assert list(quick.objects) == list(tree.objects)
    assert (quick.truncated, quick.token) == (tree.truncated, tree.token) == (truncated, None)
    # And it is what was written
    assert [(item.key.encode("utf-8", "surrogateescape"), item.size) for item in quick.objects] == [
        (unquoted(fields["Key"]), int(fields["Size"])) for fields, _, _ in entries
    ]


def unquoted(key: str) -> bytes:
    return unquote_to_bytes(key.replace("+", " "))


def test_names_that_were_not_encoded_are_taken_as_they_are() -> None:
    # Given a service that does not say that it encodes, as it was asked to
    # Then a plus is a plus
    assert [key for key, *_ in rows(page(entry("a+b%20c"), encoding=""))] == ["a+b%20c"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>sign in</html>",
        b"{}",
        page(entry("a"))[:-5],
        page(entry("a")).replace(b"</Name>", b"</Nane>"),
        page("<Contents/>"),
        page(entry("a"), "<Contents/>"),
        page(entry("")),
        page(entry("a", size="")),
        page(entry("a", size="-1")),
        page(entry("a", tag="")),
        page(entry("a"), entry("b").replace("<Key>b</Key>", "")),
        page(entry("a")).replace(b"</ListBucketResult>", b"</ListBucketResult><Contents></Contents>"),
    ],
)
def test_what_is_no_listing_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"XML|it is a|without"):
        read(body, "")


class Client:
    """Answers with one body after the other, and keeps the questions."""

    bucket, prefix = "b", "in/"

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = list(bodies)
        self.asked: list[dict[str, str]] = []

    async def send(self, *_: Any, query: Sequence[tuple[str, str]] = (), **__: Any) -> Response:
        self.asked.append(dict(query))
        return Response(200, {}, self.bodies.pop(0))

    def list_url(self, query: Sequence[tuple[str, str]]) -> str:
        self.asked.append(dict(query))
        return ""

    def name(self, key: str | None) -> str:
        return "gs://b"


async def test_an_empty_page_that_is_not_the_last_is_not_the_end() -> None:
    # Given a service that finds nothing at first, says so, and has more
    client: Any = Client(
        page(entry("in/a"), truncated=True, token="t1"),
        page(truncated=True, token="t2"),
        page(truncated=True, token="t3"),
        page(entry("in/b")),
    )
    # When it is listed
    found = [(list(one.objects.keys), one.after) async for one in s3_listing.pages(client, None)]  # type: ignore[attr-defined]
    # Then everything comes
    assert found == [(["a"], "a"), (["b"], None)]
    assert [(asked.get("start-after"), asked.get("continuation-token")) for asked in client.asked] == [
        (None, None), ("in/a", None), (None, "t2"), (None, "t3"),
    ]  # fmt: skip


@pytest.mark.parametrize("bodies", [[page(truncated=True)], [page(truncated=True, token="t"), page(truncated=True, token="t")]])
async def test_more_without_a_word_where_is_a_fault(bodies: list[bytes]) -> None:
    client: Any = Client(*bodies)
    with pytest.raises(Unavailable, match="there is more"):
        assert [one async for one in s3_listing.pages(client, None)] == []


def gcs_page(*names: str, token: str | None = None) -> bytes:
    items = [{"name": name, "size": "3", "generation": "17", "updated": MOMENT} for name in names]
    return json.dumps({**({"items": items} if items else {}), **({"nextPageToken": token} if token else {})}).encode()


async def test_the_same_of_gcs() -> None:
    # Given a service whose second and third pages hold nothing new
    client: Any = Client(gcs_page("in/a", token="1"), gcs_page("in/a", token="2"), gcs_page(token="3"), gcs_page("in/b"))
    # When it is listed
    found = [(list(one.objects.keys), one.after) async for one in gcs_listing.pages(client, None)]  # type: ignore[attr-defined]
    # Then everything comes
    assert found == [(["a"], "a"), (["b"], None)]
    (item,) = gcs_listing.read(gcs_page("in/ü"), "in/")[0]
    assert (item.key, item.size, item.version.token) == ("ü", 3, "17")
    assert item.modified == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_a_page_of_gcs_that_leads_nowhere_is_a_fault() -> None:
    client: Any = Client(gcs_page(token="1"), gcs_page(token="1"))
    with pytest.raises(Unavailable, match="there is more"):
        assert [one async for one in gcs_listing.pages(client, None)] == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"items": [{}]}', b'{"items": [{"name": "a", "size": "x", "generation": "1"}]}'])
async def test_what_is_no_listing_of_gcs_is_refused(body: bytes) -> None:
    client: Any = Client(body)
    with pytest.raises(Unavailable, match="not a listing"):
        assert [one async for one in gcs_listing.pages(client, None)] == []
