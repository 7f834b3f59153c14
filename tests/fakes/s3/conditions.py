"""Conditions on reads and on writes.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-reads.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from tests.fakes.s3.errors import S3Error, conflict, no_key, not_implemented, precondition_failed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.s3.store import Blob, Bucket


@dataclass(frozen=True, slots=True)
class WriteCondition:
    """What a write assumes, and how often the key had been deleted when the write began."""

    match: str | None = None
    none_match: bool = False
    deleted: int = 0

    @classmethod
    def of(cls, headers: Mapping[str, str], home: Bucket, key: str, *, new: bool) -> WriteCondition:
        """`new`: the server knows conditions on writes at all; an older one does not see the headers."""
        match, none = headers.get("if-match"), headers.get("if-none-match")
        if not new or (match is None and none is None):
            return cls()
        if none is not None and (none.strip('"') != "*" or match is not None):
            raise not_implemented("If-None-Match")
        condition = cls(None if match is None else match.strip('"'), none is not None, home.deleted.get(key, 0))
        condition.check(home, key)
        return condition

    def check(self, home: Bucket, key: str) -> None:
        """Raises 412, 404 or 409, as the page on conditional writes tells them apart."""
        current = home.current(key)
        if self.none_match:
            if current is not None:
                raise precondition_failed("If-None-Match")
            if home.deleted.get(key, 0) != self.deleted:
                raise conflict("If-None-Match", key)
        if self.match is not None:
            if current is None:
                raise no_key(key)
            if self.match not in ("*", current.etag):
                raise precondition_failed("If-Match")


ANY = WriteCondition()


def check_read(headers: Mapping[str, str], blob: Blob) -> None:
    """If-Match goes before If-Unmodified-Since, If-None-Match before If-Modified-Since."""
    match, none = headers.get("if-match"), headers.get("if-none-match")
    since, until = headers.get("if-modified-since"), headers.get("if-unmodified-since")
    if match is not None:
        if not _names(match, blob):
            raise precondition_failed("If-Match")
    elif until is not None and int(blob.modified) > _moment(until):
        raise precondition_failed("If-Unmodified-Since")
    not_modified = _names(none, blob) if none is not None else since is not None and int(blob.modified) <= _moment(since)
    if not_modified:
        raise S3Error(304, "NotModified", "Not Modified", [("ETag", f'"{blob.etag}"')])


def _names(header: str, blob: Blob) -> bool:
    return any(item.strip().strip('"') in {blob.etag, "*"} for item in header.split(","))


def _moment(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return float("inf")
