"""Faults on request: those of the GCS stand-in, answered with Drive's words.

`Fault(Kind.STATUS, operation="create.*", reason="userRateLimitExceeded")` is enough: status, domain and message follow from the
reason; so they do from a status alone. `key` is a part of the file's name or id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fakes.drive.errors import planned
from tests.fakes.gcs import faults as gcs
from tests.fakes.gcs.faults import Kind, meet

if TYPE_CHECKING:
    from tests.fakes.drive.call import Call
    from tests.fakes.drive.sessions import Sessions
    from tests.fakes.drive.store import Store
    from tests.fakes.http import Response

__all__ = ["Fault", "Faults", "Kind", "meet"]

_NAMES = re.compile(rb'"(?:name|id)"\s*:\s*"((?:[^"\\]|\\.)*)"')


@dataclass(slots=True, eq=False)
class Fault(gcs.Fault):
    status: int = 0
    """0: as the reason has it; 503 without a reason."""
    message: str = ""

    def refusal(self) -> Response:
        error = planned(self.status or None, self.reason, self.message)
        error.headers += self.retry_headers()
        return error.response()


class Faults(gcs.Faults):
    """The plan, which knows the names of files."""

    def __init__(self, store: Store) -> None:
        super().__init__(Fault)
        self._store = store

    async def _key(self, call: Any, sessions: Any) -> str:
        """All that a file is known by: names and ids, from the path, the session, the store or the metadata in the body."""
        if not any(fault.key for fault in self.planned):
            return ""
        return await self._names(call, sessions)

    async def _names(self, call: Call, sessions: Sessions) -> str:
        session = sessions.find(call.upload_id)
        known = [call.key] if session is None else [session.file_id, session.name]
        known.append(call.query.get("q", ""))
        known += [file.name for file_id in known if (file := self._store.files.get(file_id)) is not None]
        if session is None and call.operation.startswith(("create.", "files.create")):
            known.append(await call.request.body.peek(_in_metadata) or "")
        return "\n".join(known)


def _in_metadata(seen: bytes) -> str | None:
    """The metadata of an upload come first in its body."""
    found = [match[1].decode("utf-8", "replace") for match in _NAMES.finditer(seen)]
    return "\n".join(found) or None
