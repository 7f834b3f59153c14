"""The listing of an S3 bucket from page to page, each answer held against what was asked.

A service is asked to begin somewhere once, at the beginning of a range or at a checkpoint; from there on its own token is
followed. What it made itself it understands; where to begin is understood in many ways: there are servers that ignore
`start-after`, some that include it, and SeaweedFS 4.48 leaves out what is in a directory if that is the directory's name.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.errors import Inconsistent, LocationMissing, ObjectError, Refused, SourceMissing, Unavailable
from common.storage.base import MIB, Fault, Page
from common.storage.key_order import Forward, Tokens, order
from common.storage.s3_answer import said
from common.storage.s3_listing import as_listed, decoded, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.storage.listed import Listed
    from common.storage.s3_client import S3Client
    from common.storage.s3_listing import Answer, Row
    from common.transport.http import Response

PAGE_BYTES = 8 * MIB
"""A page of 1,000 keys of 1,024 bytes, every byte escaped, is about 4 MB of XML."""
LOOKS_AT_ONCE = 16
"""At entries that lack something."""


async def pages(client: S3Client, after: str | None) -> AsyncIterator[Page]:
    """The checkpoint of a page is its last key, so that it works on any later day.

    Raises Unavailable where the service does not get on, naming it and the page, and Refused where it cannot begin at `after`.
    """
    walk = _Walk(client, after)
    faults: list[Fault] = []
    while True:
        answer = await walk.ask()
        rows, keys, unfit = await _entries(client, answer)
        objects = await walk.new(as_listed(rows, keys), answer)
        faults += unfit
        if not answer.truncated:
            yield Page(objects, None, faults)
            return
        if objects:
            yield Page(objects, objects.keys[-1], faults)
            faults = []


async def first_key(client: S3Client, after: str | None) -> str | None:
    """Of the objects behind `after`, which need not be a key, the first one's key; None where there is none."""
    start = [] if after is None else [("start-after", client.prefix + after)]
    answer = await _answer(client, [("max-keys", "1"), *start])
    _, keys, _ = await _entries(client, answer)
    return keys[0] if keys else None


class _Walk:
    """Where the listing stands: what the next request asks for, and what its answer has to be."""

    def __init__(self, client: S3Client, after: str | None) -> None:
        self._client = client
        self._name = f"s3://{client.bucket}/{client.prefix}"
        self._forward = Forward(self._name, after)
        self._tokens = Tokens(self._name)
        self._after = after
        """Where the next request begins, unless there is a token."""
        self._begins = False
        self._skip: bytes | None = None
        """Set where the service has begun at its own beginning: up to here everything has been listed before."""

    async def ask(self) -> Answer:
        query = [("max-keys", "1000")]
        self._begins = self._tokens.next is None and self._after is not None
        if self._tokens.next is not None:
            query.append(("continuation-token", self._tokens.next))
        elif self._after is not None:
            query.append(("start-after", self._client.prefix + self._after))
        answer = await _answer(self._client, query)
        self._tokens.came(answer.token if answer.truncated else None)
        return answer

    async def new(self, objects: Listed, answer: Answer) -> Listed:
        """What of a page was not listed before."""
        if self._begins and objects and objects.keys[0] == self._after:
            objects = objects[1:]  # who was to begin behind it begins with it
        if objects:
            if self._begins and self._tokens.pages == 1 and not self._forward.follows(objects.keys):
                await self._begun_too_early(objects.keys)
            self._forward.page(objects.keys)
            self._after = objects.keys[-1]
        elif answer.truncated and answer.token is None:
            raise Inconsistent(
                f"cannot list {self._name!r}: page {self._tokens.pages} brings nothing new, there is more, and the answer does "
                "not say where"
            )
        return objects if self._skip is None else self._behind(objects, self._skip)

    async def _begun_too_early(self, keys: Sequence[str]) -> None:
        """Asked for what follows a key, the service begins before it. At its very beginning: then the listing is followed from
        there, which costs requests and nothing else. Anywhere else nobody knows what it does.
        """
        after = self._after or ""
        if await first_key(self._client, None) != keys[0]:
            raise Refused(
                f"cannot list {self._name!r}: asked for what follows {after!r}, the service begins with {keys[0]!r}: it cannot "
                "go on where a listing stopped; the next one begins at the beginning"
            )
        self._forward = Forward(self._name)
        self._skip = order(after)

    def _behind(self, objects: Listed, skip: bytes) -> Listed:
        if not self._forward.by_bytes:
            raise Refused(
                f"cannot list {self._name!r}: the service neither begins where it is asked to nor lists keys in the order of "
                "their bytes: it cannot go on where a listing stopped; the next one begins at the beginning"
            )
        return objects.pick([place for place, key in enumerate(objects.keys) if order(key) > skip])


async def _answer(client: S3Client, query: Sequence[tuple[str, str]]) -> Answer:
    name = f"s3://{client.bucket}"
    asked = [("list-type", "2"), ("encoding-type", "url"), ("prefix", client.prefix), *query]
    response = await client.send("GET", None, query=asked, expect=PAGE_BYTES)
    if response.status != 200:
        raise _failure(client, response)
    try:
        answer = read(response.body)
    except ValueError as error:
        if said(response.body).is_error:
            raise _failure(client, response) from None
        raise Unavailable(f"cannot list {name!r}: the answer is not a listing: {error}") from error
    if answer.bucket not in (None, "", client.bucket) and _is_name(client.bucket):
        raise Inconsistent(f"cannot list {name!r}: the answer is the listing of another bucket, {answer.bucket!r}")
    return answer


def _failure(client: S3Client, response: Response) -> ObjectError:
    error = client.failure(response, "list", None)
    if isinstance(error, SourceMissing):
        return LocationMissing(str(error))
    return Unavailable(str(error)) if response.status == 200 and isinstance(error, Refused) else error


def _is_name(bucket: str) -> bool:
    """An access point has an ARN or an alias, and answers in the name of its bucket."""
    return ":" not in bucket and not bucket.endswith(("-s3alias", "--ol-s3"))


async def _entries(client: S3Client, answer: Answer) -> tuple[list[Row], list[str], list[Fault]]:
    """The rows that are objects, with their keys below the location, and those that are not."""
    sent = [row[0] for row in answer.rows]
    names: Sequence[str | None] = decoded(sent) if answer.encoded else await client.spelt.names(sent, client.prefix)
    whole = await _looked_at(client, answer, names)
    rows, keys, faults = [], [], [_keyless(client)] * answer.keyless
    for row, text, name in zip(whole, sent, names, strict=True):
        if name is None:
            faults.append(_unnamed(client, text))
        elif not name.startswith(client.prefix):
            raise Inconsistent(
                f"cannot list 's3://{client.bucket}/{client.prefix}': the service lists {name!r}, which is not below this prefix"
            )
        elif isinstance(row, ObjectError):
            faults.append(Fault(name[len(client.prefix) :], row))
        else:
            rows.append(row)
            keys.append(name[len(client.prefix) :])
    return rows, keys, faults


async def _looked_at(client: S3Client, answer: Answer, names: Sequence[str | None]) -> Sequence[Row | ObjectError]:
    """The rows, those that lack something as a look at the object shows them."""
    if not answer.odd:
        return answer.rows
    room = asyncio.Semaphore(LOOKS_AT_ONCE)

    async def look(place: int, lacking: str) -> Row | ObjectError:
        name = names[place]
        if name is None or not name.startswith(client.prefix):
            return answer.rows[place]
        async with room:
            return await _look(client, name[len(client.prefix) :], answer.rows[place], lacking)

    found = await asyncio.gather(*(look(place, lacking) for place, lacking in answer.odd.items()))
    instead = dict(zip(answer.odd, found, strict=True))
    return [instead.get(place, row) for place, row in enumerate(answer.rows)]


async def _look(client: S3Client, key: str, row: Row, lacking: str) -> Row | ObjectError:
    said_of = f"'s3://{client.bucket}/{client.prefix}{key}': it is listed without {lacking}"
    try:
        found = await client.head(key, any_version=True)
    except ObjectError as error:
        if error.retryable:
            raise
        return error
    if found is None:
        return SourceMissing(f"cannot read {said_of}, and there is no such object")
    if not found.version.token:
        return Refused(f"cannot read {said_of}, and a look at it shows no ETag either: its version cannot be told from another's")
    return row[0], row[1], found.version.token, str(found.size), row[4]


def _keyless(client: S3Client) -> Fault:
    return Fault(
        "", Refused(f"cannot read an object in 's3://{client.bucket}/{client.prefix}': the listing has it without a key")
    )


def _unnamed(client: S3Client, sent: str) -> Fault:
    text = (
        f"cannot read {sent!r} in 's3://{client.bucket}/{client.prefix}': the service was asked to encode keys "
        "(encoding-type=url), does not say whether it did, and has no object of this name as it stands or decoded"
    )
    return Fault(sent, Refused(text))
