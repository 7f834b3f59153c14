"""S3, and what speaks its protocol, as a source."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from common.errors import (
    LocationMissing,
    PreconditionFailed,
    SourceChanged,
    SourceMissing,
    Unauthenticated,
    Unavailable,
)
from common.storage import proof
from common.storage.abilities import Ability
from common.storage.base import LARGEST_READ, MIB, TIB, Content, Limits
from common.storage.s3_client import S3Client
from common.storage.s3_headers import is_md5, kept, of_a_version, stored, to_store
from common.storage.s3_inventory import Inventory, InventoryReader
from common.storage.s3_pages import first_key, pages
from common.storage.s3_writer import S3Writer
from common.storage.start_after import begins_anywhere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.config import Settings, StoreOptions
    from common.location import Location
    from common.objects import Span, StoredObject, Version
    from common.storage.base import Page, Reader, Writer
    from common.storage.shared import Shared
    from common.transport.http import Response, Transport

LIMITS = Limits(
    largest_object=5 * TIB,
    largest_put=5 * 1024 * MIB,
    smallest_part=5 * MIB,
    most_parts=10_000,
    parallel_parts=True,
    parallel_listing=True,
    kept=kept,
)
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

_TOTAL = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def reader(
    location: Location, options: StoreOptions, settings: Settings, transport: Transport, shared: Shared | None = None
) -> Reader:
    def open_reader(at: Location) -> S3Reader:
        return S3Reader(S3Client(at, options, settings, transport, shared))

    if options.inventory is None:
        return open_reader(location)
    return InventoryReader(open_reader(location), Inventory(options.inventory, location, open_reader))


def writer(
    location: Location, options: StoreOptions, settings: Settings, transport: Transport, shared: Shared | None = None
) -> Writer:
    return S3Writer(S3Client(location, options, settings, transport, shared), LIMITS, to_store(options))


async def ready(
    location: Location, options: StoreOptions, settings: Settings, transport: Transport, shared: Shared | None = None
) -> None:
    """Raises ObjectError where nothing could be written: no such bucket, no or wrong credentials, nobody who answers.

    Whether these credentials may write can only be found out by writing. That they may not list says nothing about it.
    """
    client = S3Client(location, options, settings, transport, shared)
    query = [("list-type", "2"), ("max-keys", "1"), ("prefix", client.prefix)]
    response = await client.send("GET", None, query=query, expect=MIB)
    if response.status == 200:
        return
    error = client.failure(response, "write to", None)
    if isinstance(error, SourceMissing):
        raise LocationMissing(str(error))
    if isinstance(error, LocationMissing | Unauthenticated):
        raise error  # of anything else a service that answers may think better: objects are tried with more patience than this


class S3Reader:
    limits = LIMITS

    def __init__(self, client: S3Client) -> None:
        self._client = client

    async def stat(self, key: str) -> StoredObject | None:
        return await self._client.head(key)

    def list(self, after: str | None = None) -> AsyncIterator[Page]:
        return pages(self._client, after)

    async def divisible(self, after: str | None, keys: Sequence[str]) -> bool:
        abilities, ability = self._client.abilities, Ability.START_ANYWHERE
        await abilities.refresh()
        async with abilities.question(ability) as asked:
            if asked and (kept := await begins_anywhere(partial(first_key, self._client), after, keys)) is not None:
                how = "asked to begin behind texts that are no keys, it began with what follows them"
                await abilities.found(
                    ability, kept=kept, how=how if kept else "asked to begin behind a text, it left something out"
                )
        return abilities.keeps(ability)

    async def indivisible(self) -> None:
        how = "a range that began behind a text lacked keys that the one before it went on to"
        await self._client.abilities.found(Ability.START_ANYWHERE, kept=False, how=how)

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        headers: list[tuple[str, str]] = []
        if span is None:
            headers.append(("x-amz-checksum-mode", "ENABLED"))
        else:
            headers.append(("range", f"bytes={span.start}-{span.end - 1}"))
        if version is not None:
            # Not by versionId: a version that has been replaced would still come, and go over a newer one at the destination.
            headers.append(("if-match", f'"{version.token}"'))
        response = await self._client.send("GET", key, headers=headers, expect=len(span) if span else LARGEST_READ)
        if response.status not in (200, 206):
            raise self._read_failure(response, key)
        content = self._content(response, key, span, version)
        if span is not None:
            return content
        await proof.compare(content.data, content.object, self._name(key), "S3")
        return content if proof.is_stated(content.object) else await self._by_etag(content)

    async def _by_etag(self, content: Content) -> Content:
        """Where nobody vouches for it an ETag may be anything; but one that is the MD5 of what came cannot be so by chance."""
        token = content.object.version.token
        supposed = replace(content.object, md5=token)
        if self._client.dialect.believed or not is_md5(token) or await proof.difference(content.data, supposed) is not None:
            return content
        return replace(content, object=supposed)

    async def close(self) -> None:
        await self._client.close()

    def _read_failure(self, response: Response, key: str) -> Exception:
        error = self._client.failure(response, "read", key)
        # 416: the object is shorter than the listing said. 412: If-Match did not hold.
        if isinstance(error, PreconditionFailed) or response.status == 416:
            return SourceChanged(str(error))
        return error

    def _content(self, response: Response, key: str, span: Span | None, version: Version | None) -> Content:
        """The answer, once it is certain to be the bytes asked for: a proxy may ignore Range, If-Match, or both."""
        name = self._name(key)
        data = response.body
        size = len(data)
        if span is not None:
            ranged = _TOTAL.fullmatch(response.headers.get("content-range", ""))
            if ranged is None and not (span.start == 0 and size == len(span)):
                raise Unavailable(
                    f"cannot read {name!r}: asked for bytes {span.start}-{span.end - 1}, the answer is not that range"
                )
            if ranged is not None:
                first, last, size = (int(number) for number in ranged.groups())
                if (first, last + 1) != (span.start, span.end):
                    raise SourceChanged(f"cannot read {name!r}: asked for bytes {span.start}-{span.end - 1}, got {first}-{last}")
        expected = len(span) if span is not None else int(response.headers.get("content-length", size))
        if len(data) != expected:
            raise Unavailable(f"cannot read {name!r}: {expected} bytes were due, {len(data)} came")
        found = of_a_version(stored(key, size, response.headers, believed=self._client.dialect.believed), name)
        if version is not None and found.version.token != version.token:
            raise SourceChanged(f"cannot read {name!r}: it is now version {found.version.token}, the task names {version.token}")
        return Content(found, data)

    def _name(self, key: str) -> str:
        return f"s3://{self._client.bucket}/{self._client.prefix}{key}"
