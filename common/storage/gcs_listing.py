"""Listings of a GCS bucket: the requests, and the pages that come back.

https://cloud.google.com/storage/docs/json_api/v1/objects/list
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from common.errors import LocationMissing, SourceMissing, Unavailable
from common.objects import StoredObject, Version
from common.storage.base import MIB, Page
from common.storage.listed import Listed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.storage.gcs_client import GcsClient

PAGE_BYTES = 8 * MIB
"""A page of 1,000 names of 1,024 bytes, every byte escaped, is about 6 MB of JSON."""
_FIELDS = "nextPageToken,items(name,size,generation,updated,storageClass)"


async def pages(client: GcsClient, after: str | None) -> AsyncIterator[Page]:
    """Every page starts at the last key of the one before, so a checkpoint is a key and works on any later day."""
    token: str | None = None
    while True:
        query = [("prefix", client.prefix), ("maxResults", "1000"), ("fields", _FIELDS)]
        if after is not None:
            query.append(("startOffset", client.prefix + after))
        if token is not None:
            query.append(("pageToken", token))
        response = await client.send("GET", client.list_url(query), expect=PAGE_BYTES)
        if response.status != 200:
            error = client.failure(response, "list", None)
            raise LocationMissing(str(error)) if isinstance(error, SourceMissing) else error
        try:
            objects, following = read(response.body, client.prefix)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(f"cannot list {client.name(None)!r}: the answer is not a listing: {error!r}") from error
        if following is not None and (not objects or objects.keys[-1] == after):  # nothing so far, and not through
            if following == token:
                raise Unavailable(f"cannot list {client.name(None)!r}: there is more, and the answer does not say where")
            token = following
            continue
        behind = objects.keys[-1] if following is not None else None
        yield Page(objects[1:] if objects and objects.keys[0] == after else objects, behind)  # startOffset is included
        if behind is None:
            return
        token, after = None, behind


def read(body: bytes, prefix: str) -> tuple[Listed, str | None]:
    """The page in an answer's body, keys without the location's prefix, and the token of the next one, None at the last.

    Raises ValueError, KeyError, TypeError or AttributeError for what is no listing.
    """
    answer = json.loads(body)
    items: list[dict[str, Any]] = answer.get("items", [])
    cut = len(prefix)
    keys = [item["name"][cut:] for item in items]
    tokens = [str(item["generation"]) for item in items]
    sizes = [int(item["size"]) for item in items]

    def make(place: int) -> StoredObject:
        return StoredObject(
            key=keys[place],
            size=sizes[place],
            version=Version(tokens[place]),
            modified=_moment(items[place].get("updated")),
            storage_class=items[place].get("storageClass"),
        )

    return Listed(keys, tokens, sizes, make), answer.get("nextPageToken")


def _moment(text: str | None) -> datetime | None:
    """For people only; a time that nobody can read is no reason to leave an object behind."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None
