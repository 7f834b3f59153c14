"""Resumable uploads: a session takes chunks in order, and the object appears, whole, with the last byte.

Protocol: https://cloud.google.com/storage/docs/performing-resumable-uploads. What the pages leave open follows what people
measured on the real service: 400 for a chunk below 256 KiB (fsouza/fake-gcs-server#1080), 503 for a gap and 308 for a chunk
sent again (floci-io/floci-gcp#132), 308 for `bytes */N` with another N than was received (googleapis/java-storage#2059).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.gcs import uploads
from tests.fakes.gcs.errors import GcsError, wrong_upload
from tests.fakes.gcs.preconditions import Preconditions
from tests.fakes.gcs.store import Content, Hashes

if TYPE_CHECKING:
    from tests.fakes.gcs.call import Call
    from tests.fakes.gcs.store import Blob, Store

QUANTUM = 256 * 1024
"""Only whole multiples of this are kept before the last byte has come."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_QUESTION = re.compile(r"bytes \*/(\d+|\*)")


@dataclass(slots=True)
class Session:
    bucket: str
    name: str
    body: dict[str, Any]
    fields: dict[str, Any]
    declared: dict[str, list[str]]
    preconditions: Preconditions
    hashes: Hashes
    total: int | None
    pieces: list[bytes] = field(default_factory=list)
    committed: int = 0
    done: Blob | None = None

    def commit(self, data: bytes) -> None:
        if data:
            self.pieces.append(data)
            self.hashes.add(data)
            self.committed += len(data)


class Sessions:
    """All sessions. One that ended is remembered by the status that it answers from then on."""

    def __init__(self, store: Store, *, md5: bool) -> None:
        self._store = store
        self._md5 = md5
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

    async def begin(self, call: Call) -> str:
        """A new session, named by an unguessable id: whoever has it may write, without a token."""
        body = await call.json()
        headers = call.request.headers
        name = uploads.object_name(call, body)
        body.setdefault("contentType", headers.get("x-upload-content-type"))
        preconditions = Preconditions.of(call.query)
        preconditions.check_write(self._store.find(call.bucket, name))
        length = headers.get("x-upload-content-length", "")
        declared = uploads.declared_hashes(body, call)
        session = Session(
            bucket=call.bucket,
            name=name,
            body=body,
            fields=uploads.object_fields(call, body),
            declared=declared,
            preconditions=preconditions,
            hashes=Hashes.start(md5=self._md5 or bool(declared["md5"])),
            total=int(length) if length.isdecimal() else None,
        )
        upload_id = secrets.token_urlsafe(48)
        self._open[upload_id] = session
        return upload_id

    def cancel(self, upload_id: str) -> None:
        self._session(upload_id)
        self.end(upload_id, 499)

    def query(self, call: Call) -> Session:
        """`bytes */*` asks; `bytes */N` asks too, and finishes the upload when exactly N bytes are there."""
        session = self._session(call.upload_id)
        match = _QUESTION.fullmatch(call.request.headers.get("content-range", ""))
        if match is None:
            raise wrong_upload("Failed to parse Content-Range header.")
        if session.done is None and match[1] != "*" and int(match[1]) == session.committed:
            self._finish(call, session)
        return session

    async def chunk(self, call: Call) -> Session:
        session = self._session(call.upload_id)
        if session.done is not None:
            return session
        start, size, total = _range(call)
        if total is not None and session.total not in {None, total}:
            raise wrong_upload(f"The total size was {session.total} byte(s) before and is {total} byte(s) now.")
        last = total is not None and start + size == total
        if start > session.committed:
            text = f"Invalid request.  According to the Content-Range header, the upload offset is {start} byte(s), "
            raise GcsError(503, "", f"{text}which exceeds already uploaded size of {session.committed} byte(s).", plain=True)
        if not last and size < QUANTUM:
            text = (
                f"The number of bytes uploaded is required to be equal or greater than {QUANTUM}, except for the final request "
            )
            text += f"(it's recommended to be the exact multiple of {QUANTUM}).  The received request contained {size} bytes, "
            raise wrong_upload(text + "which does not meet this requirement.")
        await self._receive(call, session, start, size, last=last)
        session.total = total if total is not None else session.total
        if last and session.committed == total:
            self._finish(call, session)
        return session

    async def _receive(self, call: Call, session: Session, start: int, size: int, *, last: bool) -> None:
        """Take the body in; what came before a broken connection is kept too, in whole quanta."""
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

    def _session(self, upload_id: str) -> Session:
        session = self._open.get(upload_id)
        if session is None:
            status = self._ended.get(upload_id, 404)
            text = {404: "Not Found", 410: "Gone", 499: "The upload was cancelled."}.get(status, "The upload session ended.")
            raise GcsError(status, "notFound", text, plain=True)
        return session

    def _finish(self, call: Call, session: Session) -> None:
        """Every check again, now with all bytes: the object may have changed since the session began."""
        declared = uploads.declared_hashes({}, call)
        try:
            uploads.check_hashes(session.hashes, session.declared)
            uploads.check_hashes(session.hashes, declared)
            content = Content(b"".join(session.pieces), session.hashes.crc32c, session.hashes.md5, session.fields)
            session.done = self._store.put(session.bucket, session.name, content, session.preconditions)
        except GcsError as error:
            if error.status in {400, 412}:  # no later request can make these bytes right
                self.end(call.upload_id, 410)
            raise
        session.pieces.clear()


def _range(call: Call) -> tuple[int, int, int | None]:
    """(first byte, number of bytes, total if known). Without Content-Range the body is everything."""
    headers = call.request.headers
    text = headers.get("content-range")
    length = headers.get("content-length")
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
        text = f"There were {length} byte(s) in the request body.  There should have been {size} byte(s) "
        raise wrong_upload(f"{text}(starting at offset {start} and ending at offset {start + size - 1}) according to the header.")
    return start, size, total
