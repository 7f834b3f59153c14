"""The control surface over HTTP, for tests that run the server as a program. The package's text says what there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import JSON, DriveError, no_page
from tests.fakes.drive.settings import Clock
from tests.fakes.http import Response

if TYPE_CHECKING:
    from tests.fakes.drive.server import DriveServer
    from tests.fakes.http import Request


async def answer(server: DriveServer, request: Request) -> Response:
    raw = await request.body.read()
    try:
        body = json.loads(raw) if raw.strip() else {}
        found = _perform(server, request, body)
    except DriveError as error:
        return error.response()
    except (TypeError, ValueError, KeyError) as error:
        return DriveError(400, "invalid", f"Not understood: {error!r}").response()
    return found if isinstance(found, Response) else Response(200, [JSON], json.dumps(found).encode())


def _perform(server: DriveServer, request: Request, body: Any) -> Response | dict[str, Any]:
    match request.method, *request.path.strip("/").split("/"):
        case "GET", "_files":
            return {"files": server.files()}
        case "POST", "_files":
            return server.resource(server.seed.add(body).id)
        case "PATCH", "_files", file_id:
            server.seed.change(server.store.get(file_id), body)
            return server.resource(file_id)
        case "GET", "_files", file_id, "content":
            return Response(200, [("Content-Type", "application/octet-stream")], server.data(file_id))
        case method, "_stats":
            return _stats(server, method)
        case method, "_faults":
            return _faults(server, method, body)
        case method, "_clock":
            return _clock(server, method, body)
        case method, "_settings":
            if method == "POST":
                server.settings.change(body)
            return server.settings.as_json()
        case "POST", "_users":
            return server.add_user(**body)
        case "POST", "_drives":
            return server.drive(**body)
        case "DELETE", "_sessions":
            return {"lost": server.sessions.lose_all(int(request.query.get("status", "404")))}
    raise no_page()


def _stats(server: DriveServer, method: str) -> dict[str, Any]:
    if method == "DELETE":
        server.requests.clear()
        server.store.writes.clear()
        server.accounts.units = 0
    return server.stats()


def _faults(server: DriveServer, method: str, body: Any) -> dict[str, Any]:
    if method == "POST":
        server.faults.add_json(body)
    elif method == "DELETE":
        server.faults.clear()
    return server.faults.as_json()


def _clock(server: DriveServer, method: str, body: dict[str, float]) -> dict[str, float]:
    clock = server.clock
    if method == "POST":
        if not isinstance(clock, Clock):
            raise TypeError("the clock of this server is the test's own")
        if "now" in body:
            clock.set(body["now"])
        clock.advance(body.get("advance", 0))
    return {"now": clock()}
