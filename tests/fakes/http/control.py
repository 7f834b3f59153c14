"""The control surface over HTTP, for tests that run a stand-in as a program: GET|POST|DELETE /_faults and GET|DELETE /_stats."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections import Counter

    from tests.fakes.http.faults import Plan
    from tests.fakes.http.message import Request


class Controlled(Protocol):
    requests: Counter[str]
    """How many of each operation."""

    @property
    def faults(self) -> Plan[Any]: ...

    @property
    def writes(self) -> list[Any]:
        """Every object that was written, in order."""

    def stats(self) -> dict[str, Any]: ...


class NoPageError(Exception):
    """The control surface has no such path or method."""


async def control(server: Controlled, request: Request) -> dict[str, Any]:
    """The answer, to be said as JSON. Raises NoPageError, and TypeError or ValueError for what is not a fault."""
    match request.method, request.path:
        case "GET", "/_stats":
            return server.stats()
        case "DELETE", "/_stats":
            server.requests.clear()
            server.writes.clear()
        case "POST", "/_faults":
            server.faults.add_json(json.loads(await request.body.read()))
        case "DELETE", "/_faults":
            server.faults.clear()
        case "GET", "/_faults":
            pass
        case _:
            raise NoPageError
    return server.faults.as_json()
