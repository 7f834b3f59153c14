"""Writers to a folder on Drive's stand-in, as many as a test wants, and what a worker does with one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from common.checksums import crc32c
from common.config import Google, Settings, StoreOptions
from common.errors import PreconditionFailed
from common.location import Location
from common.objects import Headers
from common.storage.base import Absent, Body, Matches
from common.storage.gdrive.control import Drive
from common.storage.gdrive.writer import DriveWriter
from common.storage.names import SOURCE_SIZE, SOURCE_VERSION
from common.transport.http import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from common.objects import StoredObject
    from common.storage.base import PartReceipt, Upload, Writer
    from common.storage.shared import Shared
    from tests.fakes.drive import DriveServer

PART = 256 * 1024
UNLIMITED = Settings(google=Google(drive_units=10**9))
"""No test waits for Drive's quota but those that are about it."""


@asynccontextmanager
async def writing(server: DriveServer, place: str, shared: Shared | None = None) -> AsyncIterator[DriveWriter]:
    """A writer to `gdrive://PLACE` with a transport of its own, like that of a worker."""
    transport = Transport()
    drive = Drive(StoreOptions(endpoint=server.url), UNLIMITED, transport, shared, write=True)
    try:
        yield DriveWriter(drive, Location.parse(f"gdrive://{place}"))
    finally:
        await transport.close()


def body(data: bytes, metadata: Mapping[str, str] | None = None, **headers: str) -> Body:
    return Body(data, crc32c(data), Headers(metadata=metadata or {}, **headers))


def made_from(version: str, data: bytes) -> dict[str, str]:
    return {SOURCE_VERSION: version, SOURCE_SIZE: str(len(data))}


async def bring(writer: Writer, key: str, data: bytes, version: str) -> StoredObject:
    """What a worker does with a task: look, be content with what is there already, write over exactly what was seen."""
    while True:
        found = await writer.stat(key)
        if found is not None and found.headers.metadata.get(SOURCE_VERSION) == version:
            return found
        try:
            precondition = Absent() if found is None else Matches(found.version)
            return await writer.put(key, body(data, made_from(version, data)), precondition)
        except PreconditionFailed:
            continue


async def send_parts(upload: Upload, data: bytes, first: int = 0, until: int | None = None) -> list[PartReceipt]:
    """The parts from number `first` to before `until`."""
    starts = list(enumerate(range(0, len(data), PART)))[first:until]
    return [
        await upload.part(number, start, data[start : start + PART], crc32c(data[start : start + PART]))
        for number, start in starts
    ]
