"""Faults on request: what a network and a service far away do, on the request that a test chooses.

A fault says which requests it is for (operation, method, part of the key), the how-manieth of them it begins with, and how
many it hits. `fired` counts how often it really did its work, so that a test can prove that it met the trouble it planned.
`after_bytes` counts bytes of the request body in an upload, and bytes of the response body in a download.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tests.fakes.gcs.errors import GcsError
from tests.fakes.http import End, Framing, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.fakes.gcs.call import Call
    from tests.fakes.gcs.sessions import Sessions

    Run = Callable[[Call], Awaitable[Response]]


class Kind(StrEnum):
    STATUS = "status"
    """Answer `status`, with Retry-After if `retry_after`; at once, or after so many bytes of the request."""
    RESET = "reset"
    """Reset the connection; at once, or after so many bytes."""
    STALL = "stall"
    """Do nothing for `seconds`; at once, or after so many bytes. Then go on."""
    CORRUPT = "corrupt"
    """A download with one wrong byte (at `after_bytes`, or in the middle) under the true checksum."""
    TRUNCATE = "truncate"
    """A download that ends after `after_bytes` (or half), under a Content-Length of all, or delimited by the connection's end."""
    LOSE_REPLY = "lose_reply"
    """Do all of it, then reset the connection instead of answering."""
    COMMIT_LESS = "commit_less"
    """Keep at most `keep_bytes` of this chunk, in whole multiples of 256 KiB, and say so with 308 and Range."""
    LOSE_SESSION = "lose_session"
    """The upload session is gone: `status` (404 unless 410 is asked for), now and from now on."""


_REASONS = {401: "authError", 403: "forbidden", 404: "notFound", 408: "requestTimeout", 410: "gone", 429: "rateLimitExceeded"}


@dataclass(slots=True, eq=False)
class Fault:
    kind: Kind
    operation: str = "*"
    """A name of call.py, or a pattern: `insert.*`."""
    method: str = "*"
    key: str = ""
    """A part of the object's name."""
    nth: int = 1
    """The first matching request to hit, counted from 1."""
    times: int = 1
    """How many requests to hit; 0: all that follow."""
    status: int = 503
    reason: str = ""
    retry_after: float | None = None
    after_bytes: int | None = None
    seconds: float = 1.0
    framing: Framing = Framing.LENGTH
    keep_bytes: int = 0
    seen: int = field(default=0, init=False)
    taken: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.kind = Kind(self.kind)
        self.framing = Framing(self.framing)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Fault:
        return cls(**body)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def fits(self, call: Call, key: str) -> bool:
        return fnmatchcase(call.operation, self.operation) and self.method in {"*", call.request.method} and self.key in key

    def refusal(self) -> Response:
        reason = self.reason or _REASONS.get(self.status, "backendError")
        error = GcsError(self.status, reason, f"A fault that was asked for: {self.status}")
        if self.retry_after is not None:
            error.headers.append(("Retry-After", f"{self.retry_after:g}"))
        return error.response()


class CutError(Exception):
    """A planned fault stops the reading of a request body here."""


class Faults:
    """The plan. Faults are tried in the order in which they were added; a request meets at most one."""

    def __init__(self) -> None:
        self.planned: list[Fault] = []

    def add(self, *faults: Fault) -> Fault:
        """Returns the last one, for a test to ask how often it fired."""
        self.planned += faults
        return faults[-1]

    def clear(self) -> None:
        self.planned.clear()

    async def take(self, call: Call, sessions: Sessions) -> Fault | None:
        if not self.planned:
            return None
        key = await self._key(call, sessions)
        hit: Fault | None = None
        for fault in [fault for fault in self.planned if fault.fits(call, key)]:
            fault.seen += 1
            ready = fault.seen >= fault.nth and (not fault.times or fault.taken < fault.times)
            if ready and hit is None:
                fault.taken += 1
                hit = fault
        return hit

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
    if fault.after_bytes is None and fault.kind in {Kind.STATUS, Kind.RESET, Kind.STALL}:
        return await _at_once(fault, call, run)
    if call.request.method == "GET" or fault.kind in {Kind.CORRUPT, Kind.TRUNCATE, Kind.LOSE_REPLY}:
        return _spoilt(fault, await run(call))
    return await _in_upload(fault, call, run)


async def _at_once(fault: Fault, call: Call, run: Run) -> Response:
    fault.fired += 1
    if fault.kind is Kind.STATUS:
        return fault.refusal()
    if fault.kind is Kind.RESET:
        return Response.none()
    await asyncio.sleep(fault.seconds)
    return await run(call)


async def _in_upload(fault: Fault, call: Call, run: Run) -> Response:
    async def reached() -> None:
        fault.fired += 1
        if fault.kind is not Kind.STALL:
            raise CutError
        await asyncio.sleep(fault.seconds)

    call.request.body.mark(fault.after_bytes or 0, reached)
    try:
        return await run(call)
    except CutError:
        return fault.refusal() if fault.kind is Kind.STATUS else Response.none()


def _spoilt(fault: Fault, response: Response) -> Response:
    """The true answer, with what happens to it on its way."""
    if fault.kind is Kind.LOSE_REPLY:
        if response.status >= 300 and response.status != 308:
            return response
        fault.fired += 1
        return Response.none()
    body = response.body
    if response.status not in {200, 206} or not isinstance(body, bytes):
        return response
    at = len(body) // 2 if fault.after_bytes is None else fault.after_bytes
    if at >= len(body):
        return response
    fault.fired += 1
    if fault.kind is Kind.CORRUPT:
        response.body = body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]
    elif fault.kind is Kind.STALL:
        response.body, response.length = _pausing(body, at, fault.seconds), len(body)
    elif fault.kind is Kind.STATUS:
        return fault.refusal()
    else:
        response.body, response.length = body[:at], len(body)
        response.end = End.RESET if fault.kind is Kind.RESET else End.CLOSE
        if fault.kind is Kind.TRUNCATE:
            response.framing = fault.framing
    return response


async def _pausing(body: bytes, at: int, seconds: float) -> AsyncIterator[bytes]:
    yield body[:at]
    await asyncio.sleep(seconds)
    yield body[at:]
