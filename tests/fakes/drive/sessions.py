"""Resumable uploads: a session takes chunks in order, and the file or revision appears, whole, with the last byte.

https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable. The protocol is that of all of Google's
upload servers; what the page leaves open follows the GCS stand-in, which names its sources.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import DriveError, wrong_upload
from tests.fakes.drive.spool import Spool
from tests.fakes.drive.store import Content, Hashes
from tests.fakes.drive.uploads import store

if TYPE_CHECKING:
    from tests.fakes.drive.accounts import Accounts
    from tests.fakes.drive.call import Call
    from tests.fakes.drive.changes import Changes
    from tests.fakes.drive.settings import Settings
    from tests.fakes.drive.store import File

QUANTUM = 256 * 1024
"""Only whole multiples of this are kept before the last byte has come."""
WEEK = 7 * 24 * 3600
"""How long a session's address is good."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_QUESTION = re.compile(r"bytes \*/(\d+|\*)")


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


class Sessions:
    """All sessions. One that ended is remembered by the status that it answers from then on."""

    def __init__(self, changes: Changes, accounts: Accounts, settings: Settings) -> None:
        self._changes = changes
        self._accounts = accounts
        self._settings = settings
        self._open: dict[str, Session] = {}
        self._ended: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(1 for session in self._open.values() if session.done is None)

    def find(self, upload_id: str) -> Session | None:
        return self._open.get(upload_id)

    def end(self, upload_id: str, status: int) -> None:
        """Forget the session; it answers `status` from now on (404 lost, 410 failed for good, 499 cancelled)."""
        self._open.pop(upload_id, None)
        self._ended[upload_id] = status

    def lose_all(self, status: int) -> int:
        lost = [upload_id for upload_id, session in self._open.items() if session.done is None]
        for upload_id in lost:
            self.end(upload_id, status)
        return len(lost)

    async def begin(self, call: Call, now: float) -> str:
        """A new session, named by an unguessable id: whoever has it may write, without a token. Every check is made now, and
        again with the last byte. The day's limit is checked only now: an upload under way may end well."""
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
        upload_id = secrets.token_urlsafe(48)
        self._open[upload_id] = session
        return upload_id

    def cancel(self, call: Call, now: float) -> None:
        self._session(call, now)
        self.end(call.upload_id, 499)

    def query(self, call: Call, now: float) -> Session:
        """`bytes */*` asks; `bytes */N` asks too, and finishes the upload when exactly N bytes are there."""
        session = self._session(call, now)
        match = _QUESTION.fullmatch(call.request.headers.get("content-range", ""))
        if match is None:
            raise wrong_upload("Failed to parse Content-Range header.")
        if session.done is None and match[1] != "*" and int(match[1]) == session.committed:
            self._finish(call, session)
        return session

    async def chunk(self, call: Call, now: float) -> Session:
        session = self._session(call, now)
        if session.done is not None:
            return session
        start, size, total = _range(call)
        if total is not None and session.total not in {None, total}:
            raise wrong_upload(f"The total size was {session.total} byte(s) before and is {total} byte(s) now.")
        last = total is not None and start + size == total
        if start > session.committed:
            text = f"Invalid request.  According to the Content-Range header, the upload offset is {start} byte(s), "
            text += f"which exceeds already uploaded size of {session.committed} byte(s)."
            raise DriveError(503, "", text, plain=True)
        if not last and size % QUANTUM:
            text = f"The number of bytes uploaded is required to be a multiple of {QUANTUM}, except for the final request.  "
            raise wrong_upload(text + f"The received request contained {size} bytes, which does not meet this requirement.")
        await self._receive(call, session, start, size, last=last)
        session.total = total if total is not None else session.total
        if last and session.committed == total:
            self._finish(call, session)
        return session

    async def _receive(self, call: Call, session: Session, start: int, size: int, *, last: bool) -> None:
        """Take the body in, piece by piece; what came before a broken connection is kept too, in whole quanta."""
        if session.keep:
            await self._receive_whole(call, session, start, size, last=last)
            return
        skipped, rest = session.committed - start, bytearray()
        async for piece in call.request.body.stream():  # never more than a quantum and a piece in memory
            rest += piece[max(0, skipped) :]
            skipped -= min(len(piece), max(0, skipped))
            whole = len(rest) // QUANTUM * QUANTUM
            session.commit(bytes(rest[:whole]))
            del rest[:whole]
        if last:
            session.commit(bytes(rest))

    async def _receive_whole(self, call: Call, session: Session, start: int, size: int, *, last: bool) -> None:
        pieces: list[bytes | bytearray] = []
        try:
            async for piece in call.request.body.stream():
                pieces.append(piece)  # noqa: PERF401 - what has arrived is needed when the next one does not
        except Exception:
            self._commit(call, session, start, b"".join(pieces), whole=False)
            raise
        data = b"".join(pieces)
        if len(data) != size:
            text = f"There were {len(data)} byte(s) in the request body.  There should have been {size} byte(s) "
            raise wrong_upload(f"{text}(starting at offset {start}) according to the Content-Range header.")
        self._commit(call, session, start, data, whole=last)

    def _commit(self, call: Call, session: Session, start: int, data: bytes, *, whole: bool) -> None:
        if self._open.get(call.upload_id) is not session:  # cancelled or lost meanwhile
            return
        fresh = data[max(0, session.committed - start) :]
        if call.keep_bytes is not None and call.keep_bytes < len(fresh):
            fresh, whole = fresh[: call.keep_bytes], False
            call.notes.append("committed less")
        session.commit(fresh if whole else fresh[: len(fresh) // QUANTUM * QUANTUM])

    def _session(self, call: Call, now: float) -> Session:
        session = self._open.get(call.upload_id)
        if session is not None and now >= session.expires:
            self.end(call.upload_id, 404)
            session = None
        if session is None:
            status = self._ended.get(call.upload_id, 404)
            text = {404: "Not Found", 410: "Gone", 499: "The upload was cancelled."}.get(status, "The upload session ended.")
            raise DriveError(status, "notFound", text, plain=True)
        call.user = session.user
        return session

    def _finish(self, call: Call, session: Session) -> None:
        """Every check again, now with all bytes: much may have changed since the session began."""
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


def _range(call: Call) -> tuple[int, int, int | None]:
    """(first byte, number of bytes, total if known). Without Content-Range the body is everything."""
    headers = call.request.headers
    text, length = headers.get("content-range"), headers.get("content-length")
    if text is None:
        if length is None:
            raise wrong_upload("Content-Range or Content-Length is required.")
        return 0, int(length), int(length)
    match = _RANGE.fullmatch(text)
    if match is None or int(match[2]) < int(match[1]):
        raise wrong_upload("Failed to parse Content-Range header.")
    start, size = int(match[1]), int(match[2]) - int(match[1]) + 1
    total = None if match[3] == "*" else int(match[3])
    if total is not None and start + size > total:
        raise wrong_upload("The Content-Range header ends behind the total size.")
    if length is not None and int(length) != size:
        raise wrong_upload(f"There were {length} byte(s) in the request body.  There should have been {size} byte(s).")
    return start, size, total
