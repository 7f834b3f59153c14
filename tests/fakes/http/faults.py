"""Faults on request: what a network and a service far away do, on the request that a test chooses.

A fault says which requests it is for (operation, method, part of the key), the how-manieth of them it begins with, and how
many it hits. `fired` counts how often it really did its work, so that a test can prove that it met the trouble it planned.
`after_bytes` counts bytes of the request body in an upload, and bytes of the response body in a download.

Here is what every service has in common. Each has a faults.py of its own with the kinds that only it knows, its names of
operations and its words for an error.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from tests.fakes.http.message import End, Framing, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.fakes.http.message import Request

    Run = Callable[[], Awaitable[Response]]
    """Does what the request asks for."""
    Refuse = Callable[[], Response]
    """The error that the fault says, in the service's words."""


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
    """Google: keep at most `keep_bytes` of this chunk, in whole multiples of 256 KiB, and say so with 308 and Range."""
    LOSE_SESSION = "lose_session"
    """Google: the upload session is gone: `status` (404 unless 410 is asked for), now and from now on."""
    CHANGE = "change"
    """S3: answer, and before the next request somebody has written the object anew: as long, with every byte another."""
    CONFLICT = "conflict"
    """S3: answer 409 ConditionalRequestConflict. An upload in parts that meets it on completion is to be begun anew."""
    ERROR_IN_200 = "error_in_200"
    """S3: answer 200, and in the body the error: CompleteMultipartUpload does that when it has already begun to answer."""


EVERYWHERE = frozenset({Kind.STATUS, Kind.RESET, Kind.STALL, Kind.CORRUPT, Kind.TRUNCATE, Kind.LOSE_REPLY})


@dataclass(slots=True, eq=False)
class Fault:
    """Raises ValueError for a kind that the service does not know: such a fault would never fire."""

    kinds: ClassVar[frozenset[Kind]] = EVERYWHERE

    kind: Kind
    operation: str = "*"
    """A name of the service's call.py, or a pattern: `insert.*`, `*MultipartUpload`."""
    method: str = "*"
    key: str = ""
    """A part of the object's name."""
    nth: int = 1
    """The first matching request to hit, counted from 1."""
    times: int = 1
    """How many requests to hit; 0: all that follow."""
    status: int = 503
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
        if self.kind not in self.kinds:
            raise ValueError(f"{self.kind} is not a fault of this service")

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        return cls(**body)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def fits(self, request: Request, operation: str, key: str) -> bool:
        return fnmatchcase(operation, self.operation) and self.method in {"*", request.method} and self.key in key

    def retry_headers(self) -> list[tuple[str, str]]:
        return [] if self.retry_after is None else [("Retry-After", f"{self.retry_after:g}")]


SomeFault = TypeVar("SomeFault", bound=Fault)


class CutError(Exception):
    """A planned fault stops the reading of a request body here."""


class Plan(Generic[SomeFault]):
    """Faults are tried in the order in which they were added; a request meets at most one."""

    def __init__(self, fault: type[SomeFault]) -> None:
        self.planned: list[SomeFault] = []
        self._fault = fault

    def add(self, *faults: SomeFault) -> SomeFault:
        """Returns the last one, for a test to ask how often it fired."""
        self.planned += faults
        return faults[-1]

    def clear(self) -> None:
        self.planned.clear()

    def add_json(self, body: Any) -> None:
        """One fault or a list of them. Raises TypeError or ValueError for what is not a fault."""
        self.add(*(self._fault.from_json(item) for item in (body if isinstance(body, list) else [body])))

    def as_json(self) -> dict[str, Any]:
        return {"faults": [fault.as_json() for fault in self.planned]}

    def hit(self, request: Request, operation: str, key: str) -> SomeFault | None:
        """The fault that this request meets. Each one that it fits has seen it."""
        hit: SomeFault | None = None
        for fault in [fault for fault in self.planned if fault.fits(request, operation, key)]:
            fault.seen += 1
            ready = fault.seen >= fault.nth and (not fault.times or fault.taken < fault.times)
            if ready and hit is None:
                fault.taken += 1
                hit = fault
        return hit


async def disturb(fault: Fault, request: Request, run: Run, refuse: Refuse) -> Response:
    """Answer the request as a fault of a kind that is everywhere wants it."""
    if fault.after_bytes is None and fault.kind in {Kind.STATUS, Kind.RESET, Kind.STALL}:
        return await _at_once(fault, run, refuse)
    if request.method == "GET" or fault.kind in {Kind.CORRUPT, Kind.TRUNCATE, Kind.LOSE_REPLY}:
        return _spoilt(fault, await run(), refuse)
    return await _in_upload(fault, request, run, refuse)


async def _at_once(fault: Fault, run: Run, refuse: Refuse) -> Response:
    fault.fired += 1
    if fault.kind is Kind.STATUS:
        return refuse()
    if fault.kind is Kind.RESET:
        return Response.none()
    await asyncio.sleep(fault.seconds)
    return await run()


async def _in_upload(fault: Fault, request: Request, run: Run, refuse: Refuse) -> Response:
    async def reached() -> None:
        fault.fired += 1
        if fault.kind is not Kind.STALL:
            raise CutError
        await asyncio.sleep(fault.seconds)

    request.body.mark(fault.after_bytes or 0, reached)
    try:
        return await run()
    except CutError:
        return refuse() if fault.kind is Kind.STATUS else Response.none()


def _spoilt(fault: Fault, response: Response, refuse: Refuse) -> Response:
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
        return refuse()
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
