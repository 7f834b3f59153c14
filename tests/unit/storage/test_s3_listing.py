"""Pages of S3's listings: the quick reading and the tree say the same; what neither knows is an error, not an empty bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_to_bytes
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.storage import s3_listing
from common.storage.s3_listing import as_listed, decoded, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.storage.listed import Listed

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


def objects_of(body: bytes, prefix: str = "") -> Listed:
    answer = read(body)
    sent = [row[0] for row in answer.rows]
    return as_listed(answer.rows, [key[len(prefix) :] for key in (decoded(sent) if answer.encoded else sent)])


def rows(body: bytes, prefix: str = "") -> list[tuple[Any, ...]]:
    objects = objects_of(body, prefix)
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
    other = body.replace(b"<ListBucketResult", b"<!-- --><ListBucketResult")
    quick, tree = read(body), read(other)
    # Then both say the same
    found = list(objects_of(body))
    assert found == list(objects_of(other))
    assert (quick.truncated, quick.token) == (tree.truncated, tree.token) == (truncated, None)
    # And it is what was written
    assert [(item.key.encode("utf-8", "surrogateescape"), item.size) for item in found] == [
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
        page(entry("a")).replace(b"</ListBucketResult>", b"</ListBucketResult><Contents></Contents>"),
    ],
)
def test_what_is_no_listing_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"XML|it is a"):
        read(body)


@pytest.mark.parametrize(
    ("odd", "lacking"),
    [
        (entry("b", tag=""), "ETag"),
        (entry("b").replace(f"<ETag>&quot;{E32}&quot;</ETag>", ""), "ETag"),
        (entry("b", size=""), "size"),
        (entry("b", size="-1"), "size"),
        (entry("b", size="1e3"), "size"),
        (entry("b", size="9" * 40), "size"),
    ],
)
def test_an_entry_that_lacks_something_is_marked_and_the_others_are_whole(odd: str, lacking: str) -> None:
    answer = read(page(entry("a"), odd, entry("c")))
    assert [row[0] for row in answer.rows] == ["a", "b", "c"]
    assert (answer.odd, answer.keyless) == ({1: lacking}, 0)


@pytest.mark.parametrize("odd", ["<Contents/>", entry(""), entry("b").replace("<Key>b</Key>", "")])
def test_an_entry_without_a_key_is_counted(odd: str) -> None:
    answer = read(page(entry("a"), odd, entry("c")))
    assert [row[0] for row in answer.rows] == ["a", "c"]
    assert (answer.odd, answer.keyless) == ({}, 1)


@pytest.mark.parametrize(("said", "truncated"), [("true", True), ("True", True), ("false", False), (None, True)])
def test_a_page_that_does_not_say_that_it_is_the_last_is_not_known_to_be(said: str | None, truncated: bool) -> None:
    body = page(entry("a")).replace(
        b"<IsTruncated>false</IsTruncated>", f"<IsTruncated>{said}</IsTruncated>".encode() if said else b""
    )
    assert read(body).truncated is truncated
    assert read(page().replace(b"<IsTruncated>false</IsTruncated>", b"")).truncated is False
