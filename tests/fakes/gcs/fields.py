"""Partial responses: the `fields` parameter, such as `items(name,size),nextPageToken` or `items/name`.

https://cloud.google.com/storage/docs/json_api#partial-response
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tests.fakes.gcs.errors import GcsError

Mask = dict[str, Any]
"""Name -> mask of what is below it; an empty mask means everything below."""


def select(value: Any, fields: str | None) -> Any:
    """`value` reduced to what `fields` names."""
    return value if fields is None else _apply(value, parse(fields))


@lru_cache(maxsize=256)
def parse(fields: str) -> Mask:
    mask, rest = _list(fields)
    if rest:
        raise _bad(fields)
    return mask


def _list(text: str) -> tuple[Mask, str]:
    mask: Mask = {}
    while True:
        rest = _path(text, mask)
        if not rest.startswith(","):
            return mask, rest
        text = rest[1:]


def _path(text: str, mask: Mask) -> str:
    end = next((at for at, letter in enumerate(text) if letter in ",()/"), len(text))
    name, rest = text[:end].strip(), text[end:]
    if not name:
        raise _bad(text)
    below: Mask = mask.setdefault(name, {})
    if rest.startswith("/"):
        return _path(rest[1:], below)
    if rest.startswith("("):
        inner, rest = _list(rest[1:])
        if not rest.startswith(")"):
            raise _bad(text)
        below.update(inner)
        return rest[1:]
    return rest


def _apply(value: Any, mask: Mask) -> Any:
    if not mask or "*" in mask:
        return value
    if isinstance(value, list):
        return [_apply(item, mask) for item in value]
    if isinstance(value, dict):
        return {name: _apply(item, mask[name]) for name, item in value.items() if name in mask}
    return value


def _bad(text: str) -> GcsError:
    return GcsError(400, "invalidParameter", f"Invalid field selection {text}")
