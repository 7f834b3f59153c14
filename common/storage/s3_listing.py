"""Pages of the listing of an S3 bucket, as they are written.

A page of a thousand keys is 250 KB of XML. What services send looks alike nearly always, so it is read with one regular
expression, at a fifth of what a tree of elements costs; whatever does not look exactly like that is read as a tree. Both know
the same answers (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html), and a test holds them together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from common.objects import StoredObject, Version
from common.storage.listed import Listed
from common.storage.s3_headers import etag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LEFT_OUT = (
    "(?:<ChecksumAlgorithm>[^<]*</ChecksumAlgorithm>|<ChecksumType>[^<]*</ChecksumType>|<Type>[^<]*</Type>"
    "|<Owner>(?:<ID>[^<]*</ID>)?(?:<DisplayName>[^<]*</DisplayName>)?</Owner>)*"
)
_QUOTE = '(?:&quot;|&#34;|")'
_CONTENTS = re.compile(
    r"<Contents><Key>([^<&\x00-\x1f]+)</Key><LastModified>([^<&]*)</LastModified>"
    rf'<ETag>{_QUOTE}([^<&"]+){_QUOTE}</ETag>{_LEFT_OUT}<Size>([0-9]{{1,19}})</Size>{_LEFT_OUT}'
    rf"(?:<StorageClass>([^<&]*)</StorageClass>)?{_LEFT_OUT}</Contents>"
)
_END = "</Contents>"

MOST_DIGITS = 20
"""Of a size: 2**64 has as many."""

Row = tuple[str, str, str, str, str]
"""Key (as it was sent), time, ETag without quotes, size, storage class ("" for none)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request found. `odd` says of rows, by their place, what they lack; `keyless` counts entries that name nothing.

    `encoded`: the keys are percent-encoded, as they were asked to be; None where the answer does not say.
    """

    rows: Sequence[Row]
    odd: Mapping[int, str]
    keyless: int
    encoded: bool | None
    truncated: bool
    token: str | None
    """Goes on behind this page."""
    bucket: str | None


def read(body: bytes) -> Answer:
    """The page in an answer's body. Raises ValueError for what is no listing."""
    rows, rest = _usual(body) or ([], body)
    try:
        root = ET.fromstring(rest)  # noqa: S314 - expat refuses entity bombs, and the peer is the store we read from
    except ET.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    if _name(root) != "ListBucketResult":
        raise ValueError(f"it is a {_name(root)[:40]!r}")
    said = {_name(child): child.text or "" for child in root}
    keyless, odd = (0, {}) if rows else _entries(root, rows)
    token = said.get("NextContinuationToken") or None
    return Answer(
        rows,
        odd,
        keyless,
        encoded=True if said.get("EncodingType") == "url" else None,
        # Without a word it is not known to be the last; if it was, the next request says so.
        truncated=said.get("IsTruncated", str(token is not None or bool(rows))).lower() == "true",
        token=token,
        bucket=said.get("Name"),
    )


def _entries(root: ET.Element, rows: list[Row]) -> tuple[int, Mapping[int, str]]:
    """Fills `rows` from the tree; how many entries have no key, and what others lack."""
    odd: dict[int, str] = {}
    keyless = 0
    for child in root:
        if _name(child) != "Contents":
            continue
        row, lacking = _row(child)
        if not row[0]:
            keyless += 1
            continue
        if lacking:
            odd[len(rows)] = lacking
        rows.append(row)
    return keyless, odd


def _usual(body: bytes) -> tuple[list[Row], str] | None:
    """The rows of a page whose every entry looks as usual, and what is left of the answer without them; None for any other page.

    Nothing is overlooked: the entries follow each other without a gap, and the word for one stands nowhere else.
    """
    if not body.isascii():
        return None
    text = body.decode("ascii")
    first = text.find("<Contents>")
    end = text.rfind(_END) + len(_END)
    if first < 0 or end < first or "<!" in text or "\r" in text:
        return None
    rows: list[Row] = _CONTENTS.findall(text, first, end)
    count = len(rows)
    if text.count("Contents>") != 2 * count or text.count("<Contents") != count or text.count(_END + "<Contents>") != count - 1:
        return None
    return rows, text[:first] + text[end:]


def _row(contents: ET.Element) -> tuple[Row, str]:
    """And what it lacks: an ETag is optional in the API, and a size is not always a number."""
    fields = {_name(child): child.text or "" for child in contents}
    size, token = fields.get("Size", ""), etag(fields.get("ETag", ""))
    sized = size.isascii() and size.isdecimal() and len(size) < MOST_DIGITS
    lacking = "" if token and sized else "ETag" if sized else "size"
    row = fields.get("Key", ""), fields.get("LastModified", ""), token, size if sized else "0", fields.get("StorageClass", "")
    return row, lacking


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def as_listed(rows: Sequence[Row], keys: Sequence[str]) -> Listed:
    """The objects in these rows, under these keys."""
    if not rows:
        return Listed([], [], [], [].__getitem__)
    _, moments, tokens, sizes, classes = zip(*rows, strict=True)
    lengths = list(map(int, sizes))

    def make(place: int) -> StoredObject:
        return StoredObject(
            key=keys[place],
            size=lengths[place],
            version=Version(tokens[place]),
            modified=_moment(moments[place]),
            storage_class=classes[place] or None,
        )

    return Listed(keys, tokens, lengths, make)


def decoded(sent: Sequence[str]) -> list[str]:
    """The keys, decoded together: most pages have nothing to decode, and the others go faster in one piece."""
    together = "\0".join(sent)
    if "%" not in together and "+" not in together:
        return list(sent)
    if "%00" in together:
        return [unquote_plus(key, errors="surrogateescape") for key in sent]
    return unquote_plus(together, errors="surrogateescape").split("\0")


def _moment(text: str) -> datetime | None:
    """For people only; a time that nobody can read is no reason to leave an object behind."""
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
