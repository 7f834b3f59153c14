"""Faults on request, answered in S3's words, and those that only S3 has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tests.fakes.http import Response, faults
from tests.fakes.http.faults import EVERYWHERE, Kind, disturb
from tests.fakes.s3.errors import S3Error, conflict
from tests.fakes.s3.xml import XML

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.s3.call import Call

__all__ = ["Fault", "Faults", "Hands", "Kind", "meet"]

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
class Fault(faults.Fault):
    kinds: ClassVar[frozenset[Kind]] = EVERYWHERE | {Kind.CHANGE, Kind.CONFLICT, Kind.ERROR_IN_200}

    code: str = ""

    def error(self) -> S3Error:
        code = self.code or _CODES.get(self.status, "ServiceUnavailable")
        return S3Error(self.status, code, _WORDS.get(code, f"A fault that was asked for: {code}"), self.retry_headers())

    def refusal(self, call: Call) -> Response:
        return self.error().response(call.request_id, silent=call.silent)


class Faults(faults.Plan[Fault]):
    def __init__(self) -> None:
        super().__init__(Fault)

    def take(self, call: Call) -> Fault | None:
        return self.hit(call.request, call.operation, call.key)


@dataclass(frozen=True, slots=True)
class Hands:
    """What a fault may do to the server's own state."""

    run: Callable[[Call], Awaitable[Response]]
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
    return await disturb(fault, call.request, lambda: hands.run(call), lambda: fault.refusal(call))
