"""Query strings, read strictly: a parameter that is misspelt, doubled or out of range is an error and never quietly ignored.

Flask's own reading replaces bytes that are not UTF-8; a key on a file system may hold them, so they are kept here as
lone surrogates, as everywhere in the project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from common.state.cache import Kind
from publisher.api.replies import ApiError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MOST_LIMIT = 10_000
"""An answer with a limit is made before it is sent, since its header names the next cursor; so it has to be bounded."""

KINDS = " or ".join(kind.value for kind in Kind)


class Query:
    """The parameters of one request, of which only `allowed` may be there, each at most once."""

    def __init__(self, raw: bytes, allowed: Collection[str]) -> None:
        self._values: dict[str, str] = {}
        try:
            pairs = parse_qsl(
                raw.decode("utf-8", "surrogateescape"), keep_blank_values=True, errors="surrogateescape", max_num_fields=20
            )
        except ValueError as error:
            raise ApiError(400, "the query has too many parameters") from error
        for name, value in pairs:
            if name not in allowed:
                known = ", ".join(sorted(allowed)) or "none"
                raise ApiError(400, f"unknown parameter {name[:40]!r}; known here: {known}")
            if name in self._values:
                raise ApiError(400, f"parameter {name!r} is given twice")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        return self._values.get(name)

    def limit(self) -> int | None:
        """At most MOST_LIMIT: an answer may hold fewer records than asked for, and the next cursor says that there are more."""
        value = self._values.get("limit")
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) > 0):
            raise ApiError(400, "limit is a whole number, 1 or more")
        return min(int(value), MOST_LIMIT)

    def kind(self) -> Kind:
        value = self._values.get("value")
        if value is None:
            raise ApiError(400, f"parameter 'value' is missing: {KINDS}")
        return _kind(value)

    def name(self) -> tuple[Kind, str]:
        """KIND:KEY, split at the first colon only: a key may hold colons."""
        value = self._values.get("value")
        kind, colon, key = (value or "").partition(":")
        if not colon:
            raise ApiError(400, f"parameter 'value' is TYPE:KEY, where TYPE is {KINDS}")
        return _kind(kind), key

    def route(self, names: Sequence[str]) -> str:
        """The route that is asked for; it may be left out where there is only one."""
        value = self._values.get("route")
        if value is None and len(names) == 1:
            return names[0]
        if value is None:
            raise ApiError(400, f"there are several routes, name one with route=: {', '.join(names)}")
        if value not in names:
            raise ApiError(404, f"no route {value[:80]!r}; there is: {', '.join(names)}")
        return value


def _kind(value: str) -> Kind:
    try:
        return Kind(value)
    except ValueError as error:
        raise ApiError(400, f"unknown type {value[:40]!r}: {KINDS}") from error
