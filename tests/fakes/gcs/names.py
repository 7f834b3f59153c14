"""Which names the service takes: https://cloud.google.com/storage/docs/objects#naming and .../buckets#naming."""

from __future__ import annotations

import re
import urllib.parse

from tests.fakes.gcs.errors import GcsError, invalid

_BUCKET = re.compile(r"(?=.{3,222}\Z)[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def decode(segment: str) -> str:
    """A path segment as it was meant. Percent signs are decoded once; `+` is itself."""
    try:
        return urllib.parse.unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise invalid(f"Invalid UTF-8 in {segment!r}.") from None


def check_object(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise GcsError(400, "required", "Required")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, from a JSON escape
        raise invalid("Invalid object name: not valid UTF-8.") from None
    if size > 1024:
        raise invalid(f"The specified object name is too long: {size} bytes, at most 1024.")
    if name in {".", ".."} or "\r" in name or "\n" in name or name.startswith(".well-known/acme-challenge/"):
        raise invalid(f"Invalid object name: {name!r}.")
    return name


def check_bucket(name: object) -> str:
    if not isinstance(name, str) or not _BUCKET.fullmatch(name) or _ADDRESS.fullmatch(name) or name.startswith("goog"):
        raise invalid(f"Invalid bucket name: '{name}'.")
    return name
