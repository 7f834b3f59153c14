"""Resumable uploads of files and revisions. The protocol is that of all of Google's upload servers, in
tests/fakes/google/resumable.py.

https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import DriveError
from tests.fakes.drive.spool import Spool
from tests.fakes.drive.store import Content, Hashes
from tests.fakes.drive.uploads import store
from tests.fakes.google import resumable
from tests.fakes.google.resumable import QUANTUM

if TYPE_CHECKING:
    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.call import Call
    from tests.fakes.drive.changes import Changes
    from tests.fakes.drive.settings import Settings
    from tests.fakes.drive.store import File

WEEK = 7 * 24 * 3600
"""How long a session's address is good."""


@dataclass(slots=True)
class Session:
    """`operation` says whether it makes a file or a revision; `user` is who began it, for its address needs no token."""

    operation: str
    user: str
    file_id: str
    body: dict[str, Any]
    media_type: str | None
    total: int | None
    expires: float
    keep: bool
    spool: Spool | None = None
    pieces: list[bytes] = field(default_factory=list)
    hashes: Hashes = field(default_factory=Hashes)
    done: File | None = None

    @property
    def committed(self) -> int:
        return self.hashes.size

    @property
    def name(self) -> str:
        return str(self.body.get("name", ""))

    def commit(self, data: bytes) -> None:
        if data:
            self.hashes.add(data)
            if self.spool is not None:
                self.spool.add(data)
            elif self.keep:
                self.pieces.append(data)

    def content(self) -> Content:
        if self.spool is not None and self.committed:
            return Content.of(self.spool.all(), self.hashes)
        return Content.of(b"".join(self.pieces) if self.keep else None, self.hashes)


class Sessions(resumable.Sessions["Call", Session]):
    def __init__(self, changes: Changes, accounts: Accounts, settings: Settings) -> None:
        super().__init__(partial(DriveError, plain=True))
        self._changes = changes
        self._accounts = accounts
        self._settings = settings

    def lose_all(self, status: int) -> int:
        lost = [upload_id for upload_id, session in self._open.items() if session.done is None]
        for upload_id in lost:
            self.end(upload_id, status)
        return len(lost)

    async def begin(self, call: Call, now: float) -> str:
        """Every check is made now, and again with the last byte. The day's limit is checked only now: an upload under way may
        end well."""
        body = await call.json()
        self._accounts.check_upload(call.user)
        headers = call.request.headers
        length = headers.get("x-upload-content-length", "")
        total = int(length) if length.isdecimal() else None
        media_type = headers.get("x-upload-content-type")
        if call.operation.startswith("create."):
            draft = self._changes.draft(call, body, media_type)
            self._accounts.check_quota(draft.owner, draft.drive, total or 0)
        else:
            file = self._changes.check_update(call, body)
            self._accounts.check_quota(file.owner, file.drive, (total or 0) - (file.size or 0))
        keep = total is None or not _above(total, self._settings.discard_above)
        spool = Spool() if keep and total is not None and _above(total, self._settings.spool_above) else None
        file_id = call.key or str(body.get("id", ""))
        session = Session(call.operation, call.user, file_id, body, media_type, total, now + WEEK, keep, spool)
        return self.add(session)

    def cancel(self, call: Call, now: float) -> None:
        self._session(call, now)
        self.end(call.upload_id, 499)

    def query(self, call: Call, now: float) -> Session:
        session = self._session(call, now)
        self.ask(call, session)
        return session

    async def chunk(self, call: Call, now: float) -> Session:
        session = self._session(call, now)
        await self.take(call, session)
        return session

    def check_size(self, size: int) -> None:
        if size % QUANTUM:
            text = f"The number of bytes uploaded is required to be a multiple of {QUANTUM}, except for the final request.  "
            raise self.wrong(text + f"The received request contained {size} bytes, which does not meet this requirement.")

    async def receive(self, call: Call, session: Session, start: int, size: int, *, last: bool) -> None:
        """Bytes that nobody wants to see again are not gathered: never more than a quantum and a piece in memory."""
        if session.keep:
            await super().receive(call, session, start, size, last=last)
            return
        skipped, rest = session.committed - start, bytearray()
        async for piece in call.request.body.stream():
            rest += piece[max(0, skipped) :]
            skipped -= min(len(piece), max(0, skipped))
            whole = len(rest) // QUANTUM * QUANTUM
            session.commit(bytes(rest[:whole]))
            del rest[:whole]
        if last:
            session.commit(bytes(rest))

    def _session(self, call: Call, now: float) -> Session:
        session = self.find(call.upload_id)
        if session is not None and now >= session.expires:
            self.end(call.upload_id, 404)
        session = self.living(call.upload_id)
        call.user = session.user
        return session

    def finish(self, call: Call, session: Session) -> None:
        content = session.content()
        call.operation = session.operation
        try:
            session.done = store(self._changes, call, session.body, content, session.media_type)
        except DriveError as error:
            if error.status in {400, 404, 409}:  # no later request can make this right
                self.end(call.upload_id, 410)
            raise
        session.pieces.clear()
        session.spool = None


def _above(size: int, limit: int | None) -> bool:
    return limit is not None and size > limit
