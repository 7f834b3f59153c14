"""Whether the process is alive, and whether it can do its work. Asked by machines, so without credentials and with few words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.errors import BrigadeError, StateUnavailable
from publisher.api.replies import reply

if TYPE_CHECKING:
    from flask import Response

    from publisher.api.desk import Desk

ALIVE_SECONDS = 5.0
PROBE_SECONDS = 3.0


class HealthViews:
    """The views of /healthz and /readyz; called by many threads at once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def alive(self) -> Response:
        """The event loop turns. Says nothing about Redis or the queue: starting again would not bring those back."""
        try:
            self._desk.bridge.call(asyncio.sleep(0), ALIVE_SECONDS)
        except StateUnavailable:
            return reply({"alive": False}, 503)
        return reply({"alive": True})

    def ready(self) -> Response:
        """Redis and the queue answer. What is missing is named; why is in the log, since this page asks for no credentials."""
        try:
            missing = self._desk.bridge.call(self._missing(), PROBE_SECONDS + 1)
        except StateUnavailable:
            missing = sorted(self._desk.probes)
        return reply({"ready": not missing, "missing": missing}, 503 if missing else 200)

    async def _missing(self) -> list[str]:
        names = sorted(self._desk.probes)
        answers = await asyncio.gather(*(self._answers(name) for name in names))
        return [name for name, answer in zip(names, answers, strict=True) if not answer]

    async def _answers(self, name: str) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._desk.probes[name]()
        except (BrigadeError, TimeoutError):
            return False
        return True
