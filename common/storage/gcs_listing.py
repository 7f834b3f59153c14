"""Listings of a GCS bucket: the requests, and the pages that come back.

https://cloud.google.com/storage/docs/json_api/v1/objects/list
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from common.errors import LocationMissing, Refused, SourceMissing, Unavailable
from common.objects import StoredObject, Version
from common.storage.base import MIB, Fault, Page
from common.storage.gcs_parts import STAGING, is_staged
from common.storage.key_order import Forward, Tokens
from common.storage.listed import Listed
from common.storage.source_time import moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.storage.gcs_client import GcsClient

PAGE_BYTES = 8 * MIB
"""A page of 1,000 names of 1,024 bytes, every byte escaped, is about 6 MB of JSON."""
_FIELDS = "nextPageToken,items(name,size,generation,updated,storageClass)"


async def pages(client: GcsClient, after: str | None) -> AsyncIterator[Page]:
    """The checkpoint of a page is its last key, so that it works on any later day; within a run the service's token is followed.

    Raises Unavailable where the service does not get on, naming it and the page, and Refused where it does not begin at `after`.
    """
    name = client.name("")
    forward, tokens = Forward(name), Tokens(name)
    unfit: list[Fault] = []
    staged = 0
    while True:
        objects, faults, ours, token = await _page(client, after, [("maxResults", "1000")], tokens.next)
        unfit += faults
        staged += ours
        tokens.came(token)
        if tokens.pages == 1 and objects and objects.keys[0] == after:
            objects = objects[1:]  # startOffset is included
        if objects:
            if tokens.pages == 1 and after is not None and not Forward(name, after).follows(objects.keys):
                raise Refused(
                    f"cannot list {name!r}: asked for what follows {after!r}, the service begins with {objects.keys[0]!r}: it "
                    "cannot go on where a listing stopped; the next one begins at the beginning"
                )
            forward.page(objects.keys)
        if objects or token is None:
            left_out = {"staging": staged} if staged else {}
            yield Page(objects, objects.keys[-1] if token is not None else None, unfit, left_out)
            unfit, staged = [], 0
        if token is None:
            return


async def first_key(client: GcsClient, after: str) -> str | None:
    """Of the objects behind `after`, which is no key, the first one's key; None where there is none."""
    objects, *_ = await _page(client, after, [("maxResults", "1")], None)
    return objects.keys[0] if objects else None


async def _page(
    client: GcsClient, after: str | None, query: Sequence[tuple[str, str]], token: str | None
) -> tuple[Listed, list[Fault], int, str | None]:
    asked = [("prefix", client.prefix), *query, ("fields", _FIELDS)]
    if after is not None:
        asked.append(("startOffset", client.prefix + after))
    if token is not None:
        asked.append(("pageToken", token))
    response = await client.send("GET", client.list_url(asked), expect=PAGE_BYTES)
    if response.status != 200:
        error = client.failure(response, "list", None)
        raise LocationMissing(str(error)) if isinstance(error, SourceMissing) else error
    try:
        return read(response.body, client.prefix)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"cannot list {client.name('')!r}: the answer is not a listing: {error!r}") from error


def read(body: bytes, prefix: str) -> tuple[Listed, list[Fault], int, str | None]:
    """The objects in an answer's body, keys without the location's prefix; entries that are none; how many are uploads of
    ours, under way or left behind; the next page's token, None at the last.

    Raises ValueError, KeyError, TypeError or AttributeError for what is no listing of what is below the prefix.
    """
    answer = json.loads(body)
    listed: list[Any] = answer.get("items", [])
    items: list[dict[str, Any]] = [item for item in listed if _named(item)]
    cut = len(prefix)
    if outside := [item["name"] for item in items if not item["name"].startswith(prefix)]:
        raise ValueError(f"it has {outside[0]!r}, which is not below {prefix!r}")
    staged = 0
    if STAGING in "\0".join(item["name"] for item in items):
        entries, items = items, [item for item in items if not is_staged(item["name"])]
        staged = len(entries) - len(items)
    faults = [_unfit(item, cut) for item in items if not _whole(item)]
    faults += [_nameless(prefix) for item in listed if not _named(item)]
    if faults:
        items = [item for item in items if _whole(item)]
    keys = [item["name"][cut:] for item in items]
    tokens = [str(item["generation"]) for item in items]
    sizes = [int(item["size"]) for item in items]

    def make(place: int) -> StoredObject:
        return StoredObject(
            key=keys[place],
            size=sizes[place],
            version=Version(tokens[place]),
            modified=moment(items[place].get("updated")),
            storage_class=items[place].get("storageClass"),
        )

    return Listed(keys, tokens, sizes, make), faults, staged, answer.get("nextPageToken")


def _named(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def _nameless(prefix: str) -> Fault:
    return Fault("", Refused(f"cannot read an object below {prefix!r}: the listing has it without a name"))


def _whole(item: dict[str, Any]) -> bool:
    """Numbers are strings in JSON, because they have 64 bits."""
    return str(item.get("size", "")).isdecimal() and bool(item.get("generation"))


def _unfit(item: dict[str, Any], cut: int) -> Fault:
    name = item["name"]
    return Fault(name[cut:], Refused(f"cannot read {name!r}: the listing has it without a size or a generation"))
