"""The fields of a JSON message from a queue, which anybody may have written: each is what it should be, or Malformed names it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from common.errors import Malformed, NotKnownYet


def opened(message: bytes, *, kind: str, schema: int, remedy: str) -> dict[str, object]:
    """The fields of a message of this kind, in this schema or an older one. `remedy`: what helps against a newer one, which
    raises NotKnownYet.
    """
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise Malformed(f"a {kind} is a JSON object, this is a {type(fields).__name__}")
    found = fields.get("schema")
    if type(found) is not int or found < 1:
        raise Malformed(f"field 'schema' is missing or not a positive number: not a {kind} of ours")
    if found > schema:
        raise NotKnownYet(
            f"schema {str(found)[:20]} is newer than this program's {schema}: {remedy}",
            subject=f"{kind} schema {str(found)[:20]}",
            queued=_when(fields.get("queued")),
        )
    return fields


def count(fields: dict[str, object], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or value < 0:
        raise Malformed(f"field {name!r} must be a whole number, 0 or more")
    return value


def moment(name: str, text: str) -> datetime:
    """The time, in UTC, that the field's text says."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Malformed(f"field {name!r} is not an ISO 8601 time: {text[:40]!r}") from error
    if found.tzinfo is None:
        raise Malformed(f"field {name!r} has no time zone: {text[:40]!r}")
    try:
        return found.astimezone(UTC)
    except OverflowError:  # the first or the last day that there is, in a zone beyond it
        raise Malformed(f"field {name!r} is a time that UTC does not have: {text[:40]!r}") from None


def _when(queued: object) -> float | None:
    """The time in a schema that is not ours, which may well be somewhere else, or something else, in it."""
    try:
        return moment("queued", queued).timestamp() if isinstance(queued, str) else None
    except Malformed:
        return None
