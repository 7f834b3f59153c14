"""Listings of an S3 bucket: the requests, and the pages that come back.

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

from common.errors import LocationMissing, SourceMissing, Unavailable
from common.objects import StoredObject, Version
from common.storage.base import MIB, Page
from common.storage.listed import Listed
from common.storage.s3_headers import etag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.storage.s3_client import S3Client

PAGE_BYTES = 8 * MIB
"""A page of 1,000 keys of 1,024 bytes, every byte escaped, is about 4 MB of XML."""

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

Row = tuple[str, str, str, str, str]
"""Key (as it was sent), time, ETag without quotes, size, storage class ("" for none)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request found. `token` goes on behind a page that is empty and yet not the last."""

    objects: Listed
    truncated: bool
    token: str | None


async def pages(client: S3Client, after: str | None) -> AsyncIterator[Page]:
    """Every page starts after the last key of the one before, so a checkpoint is a key and works on any later day."""
    token: str | None = None
    while True:
        query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", "1000"), ("prefix", client.prefix)]
        if token is not None:
            query.append(("continuation-token", token))
        elif after is not None:
            query.append(("start-after", client.prefix + after))
        response = await client.send("GET", None, query=query, expect=PAGE_BYTES)
        if response.status != 200:
            error = client.failure(response, "list", None)
            raise LocationMissing(str(error)) if isinstance(error, SourceMissing) else error
        try:
            answer = read(response.body, client.prefix)
        except ValueError as error:
            raise Unavailable(f"cannot list 's3://{client.bucket}': the answer is not a listing: {error}") from error
        if answer.truncated and not answer.objects:  # a service may have found nothing so far, and not be through
            if answer.token in (None, token):
                raise Unavailable(f"cannot list 's3://{client.bucket}': there is more, and the answer does not say where")
            token = answer.token
            continue
        token, after = None, answer.objects.keys[-1] if answer.truncated else None
        yield Page(answer.objects, after)
        if after is None:
            return


def read(body: bytes, prefix: str) -> Answer:
    """The page in an answer's body; keys without the location's prefix. Raises ValueError for what is no listing."""
    rows, rest = _usual(body) or ((), body)
    try:
        root = ET.fromstring(rest)  # noqa: S314 - expat refuses entity bombs, and the peer is the store we read from
    except ET.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    if _name(root) != "ListBucketResult":
        raise ValueError(f"it is a {_name(root)[:40]!r}")
    said = {_name(child): child.text or "" for child in root}
    if not rows:
        rows = [_row(child) for child in root if _name(child) == "Contents"]
    objects = as_listed(rows, prefix, encoded=said.get("EncodingType") == "url")
    return Answer(objects, said.get("IsTruncated") == "true", said.get("NextContinuationToken") or None)


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


def _row(contents: ET.Element) -> Row:
    fields = {_name(child): child.text or "" for child in contents}
    size, token = fields.get("Size", ""), etag(fields.get("ETag", ""))
    if not fields.get("Key") or not token or not (size.isascii() and size.isdecimal()):
        raise ValueError(f"an entry without key, ETag or size: {sorted(fields)}")
    return fields["Key"], fields.get("LastModified", ""), token, size, fields.get("StorageClass", "")


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def as_listed(rows: Sequence[Row], prefix: str, *, encoded: bool) -> Listed:
    """`prefix` begins every key, and is cut off."""
    if not rows:
        return Listed([], [], [], [].__getitem__)
    sent, moments, tokens, sizes, classes = zip(*rows, strict=True)
    keys = decoded(sent) if encoded else list(sent)
    if prefix:
        cut = len(prefix)
        keys = [key[cut:] for key in keys]
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
