"""A look at the destination of a sync before anything moves: what would refuse every object is one line, not a line for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import ObjectError, SettingsError
from common.storage.registry import ready
from common.storage.shared import Alone
from common.transport.http import Transport

if TYPE_CHECKING:
    from common.config import Settings


async def check(settings: Settings) -> None:
    """Raises SettingsError where it is certain that nothing could be written: no bucket or directory, no credentials, no room,
    nobody at that address. (The source shows itself with its first page.)
    """
    transport = Transport()
    try:
        for route in settings.routes:
            try:
                await ready(route, settings, transport, Alone())
            except ObjectError as error:
                raise SettingsError([f"nothing was begun: {error}"]) from error
    finally:
        await transport.close()
