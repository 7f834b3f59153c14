"""Listing: pages, prefixes, delimiters, offsets. Names come in the order of their UTF-8 bytes.

https://cloud.google.com/storage/docs/json_api/v1/objects/list
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fakes.gcs.errors import invalid
from tests.fakes.gcs.preconditions import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.gcs.store import Blob, Bucket

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Listed:
    blobs: list[Blob]
    prefixes: list[str]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class Question:
    prefix: str
    delimiter: str
    start: str
    end: str
    most: int
    after: str | None
    trailing_delimiter: bool

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Question:
        most = number(query, "maxResults")
        if most == 0:
            raise invalid("Invalid value for maxResults: it must be positive.")
        return cls(
            query.get("prefix", ""),
            query.get("delimiter", ""),
            query.get("startOffset", ""),
            query.get("endOffset", ""),
            min(most or _MOST, _MOST),
            _untoken(query["pageToken"]) if query.get("pageToken") else None,
            query.get("includeTrailingDelimiter") == "true",
        )


def page(bucket: Bucket, asked: Question) -> Listed:
    """Items and prefixes together count towards the page size, as they do in the service."""
    names = bucket.names()
    at = bisect_left(names, max(asked.prefix, asked.start))
    if asked.after is not None:
        at = max(at, _behind(names, asked.after, asked))
    blobs: list[Blob] = []
    prefixes: list[str] = []
    last = ""
    while at < len(names) and names[at].startswith(asked.prefix) and not (asked.end and names[at] >= asked.end):
        if len(blobs) + len(prefixes) == asked.most:
            return Listed(blobs, prefixes, _token(last))
        last = _common(names[at], asked)
        if last:
            prefixes.append(last)
            if asked.trailing_delimiter and names[at] == last:
                blobs.append(bucket.blobs[last])
            at = _past(names, last, at)
        else:
            last = names[at]
            blobs.append(bucket.blobs[last])
            at += 1
    return Listed(blobs, prefixes, None)


def _common(name: str, asked: Question) -> str:
    """The prefix that `name` is folded into; empty when it is listed by itself."""
    if not asked.delimiter:
        return ""
    found = name.find(asked.delimiter, len(asked.prefix))
    return "" if found < 0 else name[: found + len(asked.delimiter)]


def _behind(names: list[str], after: str, asked: Question) -> int:
    folded = bool(asked.delimiter) and after.endswith(asked.delimiter) and len(after) > len(asked.prefix)
    return _past(names, after, bisect_left(names, after)) if folded else bisect_right(names, after)


def _past(names: list[str], prefix: str, at: int) -> int:
    """Where the names with `prefix` end, if they begin at `at`."""
    return bisect_left(names, x=True, lo=at, key=lambda name: not name.startswith(prefix))


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode()


def _untoken(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid("Invalid page token.") from None
