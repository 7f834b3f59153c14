"""Resumable uploads of objects. The protocol is in tests/fakes/google/resumable.py.

400 for a chunk below 256 KiB: people measured it on the real service (fsouza/fake-gcs-server#1080).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.fakes.gcs import uploads
from tests.fakes.gcs.errors import GcsError
from tests.fakes.gcs.preconditions import Preconditions
from tests.fakes.gcs.store import Content, Hashes
from tests.fakes.google import resumable
from tests.fakes.google.resumable import QUANTUM

if TYPE_CHECKING:
    from tests.fakes.gcs.call import Call
    from tests.fakes.gcs.store import Blob, Store


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


class Sessions(resumable.Sessions["Call", Session]):
    def __init__(self, store: Store, *, md5: bool) -> None:
        super().__init__(partial(GcsError, plain=True))
        self._store = store
        self._md5 = md5

    async def begin(self, call: Call) -> str:
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
        return self.add(session)

    def cancel(self, upload_id: str) -> None:
        self.living(upload_id)
        self.end(upload_id, 499)

    def query(self, call: Call) -> Session:
        session = self.living(call.upload_id)
        self.ask(call, session)
        return session

    async def chunk(self, call: Call) -> Session:
        session = self.living(call.upload_id)
        await self.take(call, session)
        return session

    def check_size(self, size: int) -> None:
        if size < QUANTUM:
            text = (
                f"The number of bytes uploaded is required to be equal or greater than {QUANTUM}, except for the final request "
            )
            text += f"(it's recommended to be the exact multiple of {QUANTUM}).  The received request contained {size} bytes, "
            raise self.wrong(text + "which does not meet this requirement.")

    def finish(self, call: Call, session: Session) -> None:
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
