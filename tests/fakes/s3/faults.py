"""Faults on request: what a network and a service far away do, on the request that a test chooses.

A fault says which requests it is for (operation, method, part of the key), the how-manieth of them it begins with, and how
many it hits. `fired` counts how often it really did its work, so that a test can prove that it met the trouble it planned.
`after_bytes` counts bytes of the request body in an upload, and bytes of the response body in a download.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tests.fakes.http import End, Framing, Response
from tests.fakes.s3.errors import S3Error, conflict
from tests.fakes.s3.xml import XML

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.fakes.s3.call import Call

    Run = Callable[[Call], Awaitable[Response]]


class Kind(StrEnum):
    STATUS = "status"
    """Answer `status` with `code`, with Retry-After if `retry_after`; at once, or after so many bytes of the request."""
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
    CHANGE = "change"
    """Answer, and before the next request somebody has written the object anew: as long, with every byte another."""
    CONFLICT = "conflict"
    """Answer 409 ConditionalRequestConflict. An upload in parts that meets it on completion is to be begun anew."""
    ERROR_IN_200 = "error_in_200"
    """Answer 200, and in the body the error: CompleteMultipartUpload does that when it has already begun to answer."""


_CODES = {
    400: "RequestTimeout",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "OperationAborted",
    500: "InternalError",
    503: "SlowDown",
}
_WORDS = {
    "SlowDown": "Please reduce your request rate.",
    "InternalError": "We encountered an internal error. Please try again.",
    "AccessDenied": "Access Denied",
}


@dataclass(slots=True, eq=False)
class Fault:
    kind: Kind
    operation: str = "*"
    """AWS's name of it, or a pattern: `*MultipartUpload`."""
    method: str = "*"
    key: str = ""
    """A part of the object's key."""
    nth: int = 1
    """The first matching request to hit, counted from 1."""
    times: int = 1
    """How many requests to hit; 0: all that follow."""
    status: int = 503
    code: str = ""
    retry_after: float | None = None
    after_bytes: int | None = None
    seconds: float = 1.0
    framing: Framing = Framing.LENGTH
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

    def fits(self, call: Call) -> bool:
        return fnmatchcase(call.operation, self.operation) and self.method in {"*", call.request.method} and self.key in call.key

    def error(self) -> S3Error:
        code = self.code or _CODES.get(self.status, "ServiceUnavailable")
        headers = [] if self.retry_after is None else [("Retry-After", f"{self.retry_after:g}")]
        return S3Error(self.status, code, _WORDS.get(code, f"A fault that was asked for: {code}"), headers)

    def refusal(self, call: Call) -> Response:
        return self.error().response(call.request_id, silent=call.silent)


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

    def take(self, call: Call) -> Fault | None:
        hit: Fault | None = None
        for fault in [fault for fault in self.planned if fault.fits(call)]:
            fault.seen += 1
            ready = fault.seen >= fault.nth and (not fault.times or fault.taken < fault.times)
            if ready and hit is None:
                fault.taken += 1
                hit = fault
        return hit


@dataclass(frozen=True, slots=True)
class Hands:
    """What a fault may do to the server's own state."""

    run: Run
    change: Callable[[Call], None]
    void: Callable[[Call], None]


async def meet(fault: Fault, call: Call, hands: Hands) -> Response:
    """Answer the call as the fault wants it."""
    match fault.kind:
        case Kind.CONFLICT:
            fault.fired += 1
            hands.void(call)
            condition = "If-Match" if "if-match" in call.headers else "If-None-Match"
            return conflict(condition, call.key).response(call.request_id, silent=call.silent)
        case Kind.ERROR_IN_200:
            fault.fired += 1
            return Response(200, [XML], fault.error().body(call.request_id))
        case Kind.CHANGE:
            response = await hands.run(call)
            if response.status < 300:
                fault.fired += 1
                hands.change(call)
            return response
    if fault.after_bytes is None and fault.kind in {Kind.STATUS, Kind.RESET, Kind.STALL}:
        return await _at_once(fault, call, hands.run)
    if call.request.method == "GET" or fault.kind in {Kind.CORRUPT, Kind.TRUNCATE, Kind.LOSE_REPLY}:
        return _spoilt(fault, call, await hands.run(call))
    return await _in_upload(fault, call, hands.run)


async def _at_once(fault: Fault, call: Call, run: Run) -> Response:
    fault.fired += 1
    if fault.kind is Kind.STATUS:
        return fault.refusal(call)
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
        return fault.refusal(call) if fault.kind is Kind.STATUS else Response.none()


def _spoilt(fault: Fault, call: Call, response: Response) -> Response:
    """The true answer, with what happens to it on its way."""
    if fault.kind is Kind.LOSE_REPLY:
        if response.status >= 300:
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
        return fault.refusal(call)
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
