"""Google Cloud Storage as a source."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from common.checksums import crc32c as checksum
from common.errors import (
    ChecksumMismatch,
    Forbidden,
    LocationMissing,
    PreconditionFailed,
    SourceChanged,
    SourceMissing,
    Unauthenticated,
    Unavailable,
)
from common.objects import StoredObject, Version
from common.storage import proof
from common.storage.base import LARGEST_READ, MIB, TIB, Content, Limits
from common.storage.gcs_client import FIELDS, GcsClient, kept
from common.storage.gcs_listing import first_key, pages
from common.storage.gcs_writer import GcsWriter
from common.storage.start_after import begins_anywhere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.config import Settings, StoreOptions
    from common.location import Location
    from common.objects import Span
    from common.storage.base import Page, Reader, Writer
    from common.transport.http import Response, Transport

LIMITS = Limits(
    largest_object=5 * TIB,
    largest_put=8 * MIB,
    part_multiple=256 * 1024,
    smallest_part=256 * 1024,
    parallel_listing=True,
    kept=kept,
)
"""https://cloud.google.com/storage/quotas and .../performing-resumable-uploads: chunks are multiples of 256 KiB and come in
sequence. Above 8 MiB Google recommends a resumable upload, and a lost connection costs a part, not the object."""

PARALLEL = replace(LIMITS, smallest_part=5 * MIB, most_parts=10_000, parallel_parts=True)
"""Of the XML API's multipart uploads (gcs_parts.py)."""

CREATE = "storage.objects.create"
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CRC32C = re.compile(r"crc32c=([A-Za-z0-9+/=]{8})")


def reader(location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Reader:
    return GcsReader(GcsClient(location, options, settings, transport))


def writer(location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Writer:
    return GcsWriter(GcsClient(location, options, settings, transport), PARALLEL if options.parallel_uploads else LIMITS)


async def ready(location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> None:
    """Raises ObjectError where nothing could be written: no such bucket, no credentials, a role that does not allow it.

    Every identity may ask what it may do: https://cloud.google.com/storage/docs/json_api/v1/buckets/testIamPermissions. A service
    that does not know the question is asked for a listing instead; that this may be forbidden says nothing about writing.
    """
    client = GcsClient(location, options, settings, transport)
    response = await client.send("GET", client.permissions_url(CREATE))
    if response.status == 200:
        if CREATE not in _granted(response.body):
            raise Forbidden(
                f"cannot write to {client.name(None)!r}: this identity lacks {CREATE}; give it a role on the bucket "
                "(roles/storage.objectUser)"
            )
        return
    if response.status in (400, 403, 404, 405, 501):
        response = await client.send("GET", client.list_url([("maxResults", "1"), ("prefix", client.prefix)]), expect=MIB)
    if response.status == 200:
        return
    error = client.failure(response, "write to", None)
    if isinstance(error, SourceMissing):
        raise LocationMissing(f"{error}; check the bucket's name")
    if isinstance(error, LocationMissing | Unauthenticated):
        raise error  # of anything else a service that answers may think better: objects are tried with more patience than this


def _granted(body: bytes) -> list[str]:
    """Of the permissions that were asked for; an answer without any grants none."""
    try:
        return list(json.loads(body).get("permissions", []))
    except (ValueError, AttributeError, TypeError) as error:
        raise Unavailable(f"the answer about permissions is none: {error}") from error


class GcsReader:
    limits = LIMITS

    def __init__(self, client: GcsClient) -> None:
        self._client = client
        self._divisible: bool | None = None

    async def stat(self, key: str) -> StoredObject | None:
        return await self._stat(key, None)

    def list(self, after: str | None = None) -> AsyncIterator[Page]:
        return pages(self._client, after)

    async def divisible(self, after: str | None, keys: Sequence[str]) -> bool:
        if self._divisible is None:
            known = self._client.at_google
            self._divisible = known or bool(await begins_anywhere(partial(first_key, self._client), after, keys))
        return self._divisible

    async def indivisible(self) -> None:
        self._divisible = False

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        """The first bytes of an object come with its resource, asked for at the same time: media carries no user metadata."""
        if span is not None and span.start > 0:
            return await self._media(key, span, version)
        if version is None:
            found = await self.stat(key)
            if found is None:
                raise SourceMissing(f"cannot read {self._client.name(key)!r}: there is no such object")
            return await self._proven(found, await self._media(key, span, found.version))
        described, content = await asyncio.gather(
            self._stat(key, version), self._media(key, span, version), return_exceptions=True
        )
        if isinstance(content, BaseException):
            raise content
        if isinstance(described, BaseException):
            raise described
        if described is None:
            raise SourceMissing(f"cannot read {self._client.name(key)!r}: it went away while it was read")
        return await self._proven(described, content)

    async def close(self) -> None:
        """The transport is shared and closed by who opened it."""

    async def _stat(self, key: str, version: Version | None) -> StoredObject | None:
        query = [("fields", FIELDS), *_pin(version)]
        response = await self._client.send("GET", self._client.object_url(key, query))
        if response.status == 404:
            return None
        if response.status != 200:
            raise self._failure(response, "look at", key)
        found = self._client.resource(response, "look at", key)
        self._check_generation(key, found.version.token, version)
        return found

    async def _media(self, key: str, span: Span | None, version: Version | None) -> Content:
        # Without "gzip" here GCS would unpack objects stored with Content-Encoding: gzip and ignore the range
        # (https://cloud.google.com/storage/docs/transcoding). We move bytes as they are stored.
        headers = [("Accept-Encoding", "gzip")]
        if span is not None:
            headers.append(("Range", f"bytes={span.start}-{span.end - 1}"))
        url = self._client.object_url(key, [("alt", "media"), *_pin(version)])
        response = await self._client.send("GET", url, headers, expect=len(span) if span else LARGEST_READ)
        if response.status not in (200, 206):
            raise self._failure(response, "read", key)
        content = self._content(response, key, span)
        if version is not None and not content.object.version.token:
            # The answer does not say what it is of. Generations only go forward: what still is current is what was read.
            if await self._stat(key, version) is None:
                raise SourceMissing(f"cannot read {self._client.name(key)!r}: it went away while it was read")
            return replace(content, object=replace(content.object, version=version))
        self._check_generation(key, content.object.version.token, version)
        return content

    def _check_generation(self, key: str, found: str, version: Version | None) -> None:
        """There are servers that ignore ifGenerationMatch on reads."""
        if version is not None and found != version.token:
            raise SourceChanged(
                f"cannot read {self._client.name(key)!r}: it is now generation {found}, the task names {version.token}"
            )

    async def _proven(self, described: StoredObject, content: Content) -> Content:
        """The bytes with the resource that they are of. Media may come without a checksum, a resource has one."""
        name, size = self._client.name(described.key), content.object.size
        if size != described.size:
            raise SourceChanged(f"cannot read {name!r}: {size} bytes came of an object of {described.size}")
        if len(content.data) == size:
            await proof.compare(content.data, described, name, "GCS")
        return Content(described, content.data)

    def _content(self, response: Response, key: str, span: Span | None) -> Content:
        name = self._client.name(key)
        data, wire = response.body, response.headers
        if "gunzipped" in wire.get("x-guploader-response-body-transformations", ""):
            raise Unavailable(f"cannot read {name!r}: the answer was unpacked on the way, these are not the stored bytes")
        size = len(data)
        if span is not None:
            ranged = _RANGE.fullmatch(wire.get("content-range", ""))
            if ranged is None and not (span.start == 0 and size == len(span)):
                raise Unavailable(
                    f"cannot read {name!r}: asked for bytes {span.start}-{span.end - 1}, the answer is not that range"
                )
            if ranged is not None:
                first, last, size = (int(number) for number in ranged.groups())
                if (first, last + 1) != (span.start, span.end) or len(data) != len(span):
                    raise SourceChanged(f"cannot read {name!r}: asked for bytes {span.start}-{span.end - 1}, got {first}-{last}")
        elif len(data) != int(wire.get("x-goog-stored-content-length", len(data))):
            raise Unavailable(f"cannot read {name!r}: the answer is cut short at {len(data)} bytes")
        whole = span is None or (span.start == 0 and size == len(span))
        crc32c = _CRC32C.search(wire.get("x-goog-hash", ""))
        stated = int.from_bytes(base64.b64decode(crc32c[1]), "big") if crc32c else None
        if whole and stated is not None and stated != checksum(data):
            raise ChecksumMismatch(f"cannot read {name!r}: the bytes do not match the CRC32C that GCS keeps of them")
        return Content(StoredObject(key, size, Version(wire.get("x-goog-generation", "")), crc32c=stated), data)

    def _failure(self, response: Response, doing: str, key: str) -> Exception:
        error = self._client.failure(response, doing, key)
        return SourceChanged(str(error)) if isinstance(error, PreconditionFailed) or response.status == 416 else error


def _pin(version: Version | None) -> list[tuple[str, str]]:
    """Only this generation, and a 412 rather than a 404 when it has been replaced."""
    return [("ifGenerationMatch", version.token)] if version is not None else []
