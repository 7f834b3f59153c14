"""Google's resumable uploads, which Cloud Storage and Drive have in common: a session takes chunks in order, and what it makes
appears, whole, with the last byte.

Protocol: https://cloud.google.com/storage/docs/performing-resumable-uploads. What the pages leave open follows what people
measured on the real service: 503 for a gap and 308 for a chunk sent again (floci-io/floci-gcp#132), 308 for `bytes */N` with
another N than was received (googleapis/java-storage#2059).
"""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.http import Request

QUANTUM = 256 * 1024
"""Only whole multiples of this are kept before the last byte has come."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_QUESTION = re.compile(r"bytes \*/(\d+|\*)")


class Call(Protocol):
    """A request to a session. `keep_bytes` and `notes` are for the fault that commits less."""

    request: Request
    keep_bytes: int | None
    notes: list[str]

    @property
    def upload_id(self) -> str: ...


class Session(Protocol):
    total: int | None

    @property
    def committed(self) -> int: ...

    @property
    def done(self) -> object | None:
        """What the upload made."""

    def commit(self, data: bytes) -> None: ...


SomeCall = TypeVar("SomeCall", bound=Call)
SomeSession = TypeVar("SomeSession", bound=Session)


class Sessions(ABC, Generic[SomeCall, SomeSession]):
    """All sessions. One that ended is remembered by the status that it answers from then on. `error`: the service's, which says
    status, reason and message in plain text."""

    def __init__(self, error: Callable[[int, str, str], Exception]) -> None:
        self._open: dict[str, SomeSession] = {}
        self._ended: dict[str, int] = {}
        self._error = error

    def __len__(self) -> int:
        return sum(1 for session in self._open.values() if session.done is None)

    def find(self, upload_id: str) -> SomeSession | None:
        return self._open.get(upload_id)

    def end(self, upload_id: str, status: int) -> None:
        """Forget the session; it answers `status` from now on (404 lost, 410 failed for good, 499 cancelled)."""
        self._open.pop(upload_id, None)
        self._ended[upload_id] = status

    def add(self, session: SomeSession) -> str:
        """An unguessable id for it: whoever has it may write, without a token."""
        upload_id = secrets.token_urlsafe(48)
        self._open[upload_id] = session
        return upload_id

    @abstractmethod
    def check_size(self, size: int) -> None:
        """Of a chunk that is not the last one."""

    @abstractmethod
    def finish(self, call: SomeCall, session: SomeSession) -> None:
        """All bytes are there: make what the session is for. Every check again, for much may have changed since it began."""

    def living(self, upload_id: str) -> SomeSession:
        session = self._open.get(upload_id)
        if session is None:
            status = self._ended.get(upload_id, 404)
            text = {404: "Not Found", 410: "Gone", 499: "The upload was cancelled."}.get(status, "The upload session ended.")
            raise self._error(status, "notFound", text)
        return session

    def wrong(self, message: str) -> Exception:
        """For a request that breaks the protocol."""
        return self._error(400, "badRequest", f"Invalid request.  {message}")

    def ask(self, call: SomeCall, session: SomeSession) -> None:
        """`bytes */*` asks; `bytes */N` asks too, and finishes the upload when exactly N bytes are there."""
        match = _QUESTION.fullmatch(call.request.headers.get("content-range", ""))
        if match is None:
            raise self.wrong("Failed to parse Content-Range header.")
        if session.done is None and match[1] != "*" and int(match[1]) == session.committed:
            self.finish(call, session)

    async def take(self, call: SomeCall, session: SomeSession) -> None:
        """The next chunk."""
        if session.done is not None:
            return
        start, size, total = self._range(call.request)
        if total is not None and session.total not in {None, total}:
            raise self.wrong(f"The total size was {session.total} byte(s) before and is {total} byte(s) now.")
        last = total is not None and start + size == total
        if start > session.committed:
            text = f"Invalid request.  According to the Content-Range header, the upload offset is {start} byte(s), "
            raise self._error(503, "", f"{text}which exceeds already uploaded size of {session.committed} byte(s).")
        if not last:
            self.check_size(size)
        await self.receive(call, session, start, size, last=last)
        session.total = total if total is not None else session.total
        if last and session.committed == total:
            self.finish(call, session)

    async def receive(self, call: SomeCall, session: SomeSession, start: int, size: int, *, last: bool) -> None:
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
            raise self.wrong(f"{text}(starting at offset {start}) according to the Content-Range header.")
        self._commit(call, session, start, data, whole=last)

    def _commit(self, call: SomeCall, session: SomeSession, start: int, data: bytes, *, whole: bool) -> None:
        if self._open.get(call.upload_id) is not session:  # cancelled or lost meanwhile
            return
        fresh = data[max(0, session.committed - start) :]
        if call.keep_bytes is not None and call.keep_bytes < len(fresh):
            fresh, whole = fresh[: call.keep_bytes], False
            call.notes.append("committed less")
        session.commit(fresh if whole else fresh[: len(fresh) // QUANTUM * QUANTUM])

    def _range(self, request: Request) -> tuple[int, int, int | None]:
        """(first byte, number of bytes, total if known). Without Content-Range the body is everything."""
        text, length = request.headers.get("content-range"), request.headers.get("content-length")
        if text is None:
            if length is None:
                raise self.wrong("Content-Range or Content-Length is required.")
            return 0, int(length), int(length)
        match = _RANGE.fullmatch(text)
        if match is None or int(match[2]) < int(match[1]):
            raise self.wrong("Failed to parse Content-Range header.")
        start, size = int(match[1]), int(match[2]) - int(match[1]) + 1
        total = None if match[3] == "*" else int(match[3])
        if total is not None and start + size > total:
            raise self.wrong("The Content-Range header ends behind the total size.")
        if length is not None and int(length) != size:
            text = f"There were {length} byte(s) in the request body.  There should have been {size} byte(s) "
            raise self.wrong(
                f"{text}(starting at offset {start} and ending at offset {start + size - 1}) according to the header."
            )
        return start, size, total
