"""Drive's stand-in, and a reader of a folder on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from common.config import Settings, StoreOptions
from common.location import Location
from common.storage.gdrive.control import Drive
from common.storage.gdrive.reader import DriveReader
from common.transport.http import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.objects import StoredObject
    from common.storage.base import Reader
    from tests.fakes.drive import DriveServer

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@asynccontextmanager
async def reading(server: DriveServer, place: str, **options: Any) -> AsyncIterator[DriveReader]:
    """A reader of `gdrive://PLACE` with these source options."""
    transport = Transport()
    given = StoreOptions(endpoint=server.url, **options)
    reader = DriveReader(Drive(given, Settings(), transport, write=False), Location.parse(f"gdrive://{place}"), given)
    try:
        yield reader
    finally:
        await reader.close()
        await transport.close()


async def listed(reader: Reader, after: str | None = None) -> list[StoredObject]:
    return [stored async for page in reader.list(after) for stored in page.objects]


async def keys(reader: Reader, after: str | None = None) -> list[str]:
    return sorted(stored.key for stored in await listed(reader, after))
