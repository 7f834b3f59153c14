"""Google Drive as a source and as a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.storage.gdrive.control import Drive
from common.storage.gdrive.reader import DriveReader
from common.storage.gdrive.writer import DriveWriter

if TYPE_CHECKING:
    from common.config import Settings, StoreOptions
    from common.location import Location
    from common.storage.base import Reader, Writer
    from common.storage.shared import Shared
    from common.transport.http import Transport


def reader(
    location: Location, options: StoreOptions, settings: Settings, transport: Transport, shared: Shared | None = None
) -> Reader:
    return DriveReader(Drive(options, settings, transport, shared, write=False), location, options)


async def ready(
    location: Location, options: StoreOptions, settings: Settings, transport: Transport, shared: Shared | None = None
) -> None:
    """Raises Forbidden or LocationMissing where nothing could ever be written, before anything is moved."""
    await DriveWriter(Drive(options, settings, transport, shared, write=True), location).ready()


def writer(
    location: Location, options: StoreOptions, settings: Settings, transport: Transport, shared: Shared | None = None
) -> Writer:
    return DriveWriter(Drive(options, settings, transport, shared, write=True), location)
