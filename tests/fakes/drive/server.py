"""The server: what the requests ask for, performed. The package's text says how to start it and what it answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from tests.fakes.drive import control, feed, listing, reads, seed, uploads
from tests.fakes.drive.accounts import Accounts
from tests.fakes.drive.call import understand
from tests.fakes.drive.changes import Changes
from tests.fakes.drive.errors import JSON, DriveError
from tests.fakes.drive.faults import Faults, meet
from tests.fakes.drive.fields import select
from tests.fakes.drive.oauth import TokenEndpoint
from tests.fakes.drive.permissions import Permissions
from tests.fakes.drive.resources import Resources
from tests.fakes.drive.sessions import Sessions
from tests.fakes.drive.settings import ME, Clock, Settings
from tests.fakes.drive.store import Store
from tests.fakes.http import HttpServer, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.drive.call import Call
    from tests.fakes.drive.sessions import Session
    from tests.fakes.drive.store import File
    from tests.fakes.http import Request


class DriveServer(HttpServer):
    """`settings`: limits and switches, which may be changed at any time. `clock` is a Clock unless a test has its own."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: Settings | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(host=host, port=port)
        self.settings = settings or Settings()
        self.clock = clock or Clock()
        self.store = Store(self.clock, self.settings)
        self.accounts = Accounts(self.store, self.settings)
        self.changes = Changes(self.store, self.accounts)
        self.sessions = Sessions(self.changes, self.accounts, self.settings)
        self.faults = Faults(self.store)
        self.resources = Resources(self.store, self.accounts, lambda: self.url)
        self.permissions = Permissions(self.changes, self.accounts, self.store)
        self.tokens = TokenEndpoint(self.store, self.accounts, self.settings)
        self.seed = seed.Seed(self.store)
        self.requests: Counter[str] = Counter()
        self.received, self.sent = 0, 0

    def put(self, name: str, data: bytes, *, parent: str = "root", **fields: Any) -> str:
        """A file, past the API; `fields` as in the resource, and the switches. Returns its id."""
        return self.seed.add({"name": name, "parents": [parent], "data": data, **fields}).id

    def folder(self, name: str, *, parent: str = "root", **fields: Any) -> str:
        return self.seed.add({**seed.folder(name, parent), **fields}).id

    def document(self, name: str, exports: dict[str, bytes], *, parent: str = "root", **fields: Any) -> str:
        """A document of an editor; `exports` says what it is in each format."""
        return self.seed.add({"name": name, "parents": [parent], "exports": exports, **fields}).id

    def shortcut(self, name: str, target: str, *, parent: str = "root", **fields: Any) -> str:
        return self.seed.add({**seed.shortcut(name, target, parent), **fields}).id

    def drive(self, name: str, *, id: str | None = None, access: dict[str, str] | None = None) -> dict[str, Any]:  # noqa: A002
        """A shared drive."""
        drive = self.store.create_drive(name, ME, id)
        drive.access = access or {}
        return self.resources.drive(drive, ME)

    def add_user(
        self, email: str, *, token: str | None = None, refresh_token: str | None = None, scopes: tuple[str, ...] = ()
    ) -> dict[str, str]:
        """A user, known from now on by a token that does not expire, and by a refresh token if one is given."""
        issued = self.accounts.issue(email, lasting=True, scopes=tuple(scopes))
        if token is not None:
            self.accounts.grants[token] = self.accounts.grants.pop(issued)
        if refresh_token is not None:
            self.accounts.refresh_tokens[refresh_token] = email
        return {"email": email, "token": token or issued}

    def data(self, file_id: str) -> bytes:
        content = self.store.get(file_id).content
        if content is None or content.data is None:
            raise DriveError(404, "notFound", "There are no bytes of this file here.")
        return content.data[:]

    def resource(self, file_id: str) -> dict[str, Any]:
        return self.resources.file(self.store.get(file_id), ME)

    def files(self) -> list[dict[str, Any]]:
        """Everything but the root folders, in the order of creation."""
        kept = [file for file in self.store.files.values() if file.parent is not None]
        return [self.resource(file.id) | self._history(file) for file in kept]

    def _history(self, file: File) -> dict[str, Any]:
        counts = {"creates": file.creates, "updates": file.updates, "contents": file.contents, "downloads": file.downloads}
        return {"path": self.store.path(file), **counts}

    def stats(self) -> dict[str, Any]:
        return {
            "requests": dict(self.requests),
            "units": self.accounts.units,
            "writes": dict(self.store.writes),
            "files": sum(1 for file in self.store.files.values() if file.parent is not None),
            "bytes": self.store.stored_bytes,
            "sessions": len(self.sessions),
            "uploaded": self.accounts.uploads(),
            "received": self.received,
            "sent": self.sent,
            "failures": [repr(error) for error in self.failures],
        }

    async def handle(self, request: Request) -> Response:
        if request.path.startswith("/_"):
            return await control.answer(self, request)
        try:
            response = await self._answer(request)
        finally:
            self.received += request.body.received
        self.sent += len(response.body) if isinstance(response.body, bytes) else 0
        return response

    async def _answer(self, request: Request) -> Response:
        if self.settings.delay_ms:
            await asyncio.sleep(self.settings.delay_ms / 1000)
        if request.path in {"/o/oauth2/auth", "/o/oauth2/v2/auth"}:
            return self.tokens.agree(request)
        try:
            call = await understand(request)
        except DriveError as error:
            return error.response()
        self.requests[call.operation] += 1
        fault = await self.faults.take(cast("Any", call), cast("Any", self.sessions))
        if fault is not None:
            return await meet(fault, cast("Any", call), cast("Any", self.sessions), cast("Any", self._perform))
        return await self._perform(call)

    async def _perform(self, call: Call) -> Response:
        if call.operation == "token":
            return await self.tokens.token(call.request)
        try:
            if call.upload_id:  # a session's address is its own authorization
                return await self._upload(call)
            call.user = self.accounts.user(call.request.headers.get("authorization", ""), call.operation)
            self.accounts.charge(call.user, call.operation)
            if call.operation.startswith(("create.", "update.")):
                return await self._upload(call)
            return await self._operate(call)
        except DriveError as error:
            return error.response()

    async def _upload(self, call: Call) -> Response:
        now = self.clock()
        match call.operation.partition(".")[2]:
            case "media":
                return self._file(call, await uploads.media(self.changes, self.accounts, call))
            case "multipart":
                return self._file(call, await uploads.multipart(self.changes, self.accounts, call))
            case "resumable.begin":
                return self._begun(call, await self.sessions.begin(call, now))
            case "chunk":
                return self._progress(call, await self.sessions.chunk(call, now))
            case "query":
                return self._progress(call, self.sessions.query(call, now))
        self.sessions.cancel(call, now)
        return Response(499)

    async def _operate(self, call: Call) -> Response:
        match call.operation:
            case "files.list":
                return self._list(call)
            case "files.get":
                reads.check_acknowledgement(call)
                return self._file(call, self.changes.find(call))
            case "files.get.media":
                return reads.media(self.changes, self.accounts, call)
            case "files.export":
                return reads.export(self.changes, self.settings, call)
            case "files.create":
                return self._file(call, self.changes.create(call, await call.json(), None, None))
            case "files.update":
                return self._file(call, self.changes.update(call, await call.json()))
            case "files.copy":
                return self._file(call, self.changes.copy(call, await call.json()))
            case "files.delete":
                self.changes.delete(call)
                return Response(204)
            case "files.generateIds":
                return self._generate(call)
        return await self._operate_elsewhere(call)

    async def _operate_elsewhere(self, call: Call) -> Response:
        match call.operation:
            case "changes.getStartPageToken":
                return _json(call, "StartPageToken", feed.start_token(self.store, self.accounts, call))
            case "changes.list":
                return _json(call, "ChangeList", feed.changes(self.store, self.accounts, self.resources, call))
            case "about.get":
                return _json(call, "About", self.resources.about(call.user))
            case "drives.list":
                return self._drives(call)
            case "drives.get":
                drive = self.store.drive(call.key)
                self.accounts.see(call.user, drive)
                return _json(call, "Drive", self.resources.drive(drive, call.user))
            case "permissions.list":
                return _json(call, "PermissionList", self.permissions.list(call))
            case "permissions.create":
                return _json(call, "Permission", await self.permissions.create(call))
        self.permissions.delete(call)
        return Response(204)

    def _file(self, call: Call, file: File) -> Response:
        return _json(call, "File", self.resources.file(file, call.user))

    def _list(self, call: Call) -> Response:
        listed = listing.listed(self.store, self.accounts, call)
        body: dict[str, Any] = {
            "kind": "drive#fileList",
            "incompleteSearch": self.settings.incomplete_search,
            "files": [self.resources.file(file, call.user) for file in listed.files],
        }
        if listed.next_token is not None:
            body["nextPageToken"] = listed.next_token
        return _json(call, "FileList", body)

    def _generate(self, call: Call) -> Response:
        count = call.query.get("count", "10")
        if not count.isdecimal() or not 1 <= int(count) <= 1000:
            message = f"Invalid value '{count}'. Values must be within the range: [1, 1000]"
            raise DriveError(400, "invalidParameter", message, location="count")
        body = {"kind": "drive#generatedIds", "space": "drive", "ids": self.store.generate(int(count))}
        return _json(call, "GeneratedIds", body)

    def _drives(self, call: Call) -> Response:
        """In the order of creation; a page token is the number of those that came before."""
        seen = [drive for drive in self.store.drives() if self.accounts.role(call.user, drive)]
        start, size = int(call.query.get("pageToken") or 0), min(int(call.query.get("pageSize", "10")), 100)
        body: dict[str, Any] = {
            "kind": "drive#driveList",
            "drives": [self.resources.drive(drive, call.user) for drive in seen[start : start + size]],
        }
        if len(seen) > start + size:
            body["nextPageToken"] = str(start + size)
        return _json(call, "DriveList", body)

    def _begun(self, call: Call, upload_id: str) -> Response:
        host = call.request.headers.get("host")
        base = f"http://{host}" if host else self.url
        query = f"{call.request.query_string}&upload_id={upload_id}"
        return Response(200, [("Location", f"{base}{call.request.path}?{query}"), ("X-GUploader-UploadID", upload_id)])

    def _progress(self, call: Call, session: Session) -> Response:
        if session.done is not None:
            return self._file(call, session.done)
        return Response(308, [("Range", f"bytes=0-{session.committed - 1}")] if session.committed else [])


def _json(call: Call, schema: str, body: dict[str, Any]) -> Response:
    return Response(200, [JSON], json.dumps(select(call, schema, body)).encode())
