"""Faults on request, answered in the words of GCS, and those of Google's upload sessions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tests.fakes.gcs.errors import GcsError
from tests.fakes.http import faults
from tests.fakes.http.faults import EVERYWHERE, Kind, disturb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.gcs.call import Call
    from tests.fakes.gcs.sessions import Sessions
    from tests.fakes.http import Response

    Run = Callable[[Call], Awaitable[Response]]

__all__ = ["Fault", "Faults", "Kind", "meet"]

_REASONS = {401: "authError", 403: "forbidden", 404: "notFound", 408: "requestTimeout", 410: "gone", 429: "rateLimitExceeded"}


@dataclass(slots=True, eq=False)
class Fault(faults.Fault):
    kinds: ClassVar[frozenset[Kind]] = EVERYWHERE | {Kind.COMMIT_LESS, Kind.LOSE_SESSION}

    reason: str = ""
    keep_bytes: int = 0

    def refusal(self) -> Response:
        reason = self.reason or _REASONS.get(self.status, "backendError")
        error = GcsError(self.status, reason, f"A fault that was asked for: {self.status}")
        error.headers += self.retry_headers()
        return error.response()


class Faults(faults.Plan[Fault]):
    def __init__(self, fault: type[Fault] = Fault) -> None:
        super().__init__(fault)

    async def take(self, call: Call, sessions: Sessions) -> Fault | None:
        if not self.planned:
            return None
        return self.hit(call.request, call.operation, await self._key(call, sessions))

    async def _key(self, call: Call, sessions: Sessions) -> str:
        if call.upload_id and (session := sessions.find(call.upload_id)) is not None:
            return session.name
        if call.key is None and call.operation.startswith("insert.") and any(fault.key for fault in self.planned):
            return await call.request.body.peek(_name_in_metadata) or ""
        return call.key or ""


def _name_in_metadata(seen: bytes) -> str | None:
    """An upload may name its object in its metadata only, which come first in the body."""
    match = re.search(rb'"name"\s*:\s*("(?:[^"\\]|\\.)*")', seen)
    if match is None:
        return None
    return str(json.loads(match[1]))


async def meet(fault: Fault, call: Call, sessions: Sessions, run: Run) -> Response:
    """Answer the call as the fault wants it."""
    if fault.kind is Kind.LOSE_SESSION:
        fault.fired += 1
        sessions.end(call.upload_id, fault.status if fault.status == 410 else 404)
        return await run(call)
    if fault.kind is Kind.COMMIT_LESS:
        call.keep_bytes = fault.keep_bytes
        response = await run(call)
        fault.fired += len(call.notes)
        return response
    return await disturb(fault, call.request, lambda: run(call), fault.refusal)
