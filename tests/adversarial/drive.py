"""The Drive stand-in, answering wrongly at random."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.adversarial.deviations import Adversary, Deviation
from tests.fakes.drive import DriveServer
from tests.fakes.drive.errors import DriveError
from tests.fakes.http import Framing, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.drive.call import Call

_POSSIBLE = {
    "files.list": frozenset(
        {
            Deviation.ENTRY_LEFT_OUT,
            Deviation.SHUFFLED,
            Deviation.GROUP_HALF_ANSWERED,
            Deviation.UNAVAILABLE,
        }
    ),
    # Drive states a checksum of every file that has bytes. Of one that states none nothing can be proven, and it is counted so
    # (tests/unit/worker/test_unproven.py).
    "files.get": frozenset({Deviation.MISSING, Deviation.NO_LENGTH, Deviation.UNAVAILABLE}),
    "files.get.media": frozenset({Deviation.MISSING, Deviation.WRONG_BYTES, Deviation.NO_LENGTH, Deviation.UNAVAILABLE}),
    "create.multipart": frozenset({Deviation.UNAVAILABLE}),
    "resumable.chunk": frozenset({Deviation.UNAVAILABLE}),
}
_CHECKSUMS = ("md5Checksum", "sha1Checksum", "sha256Checksum")


class AdversarialDrive(DriveServer):
    """What the store holds is always the truth, for the test to look at."""

    def __init__(self, adversary: Adversary, **options: Any) -> None:
        super().__init__(**options)
        self.adversary = adversary
        self.listed: Callable[[bytes], None] = lambda _: None
        """Hears the body of every listing that is sent."""

    async def _perform(self, call: Call) -> Response:
        deviation = self.adversary.pick(call.operation, call.key, _POSSIBLE.get(call.operation, frozenset()))
        response_of = super()._perform
        if deviation is None:
            return self._told(call, await response_of(call))
        if deviation is Deviation.UNAVAILABLE:
            self.adversary.done(deviation)
            return DriveError(503, "backendError", "Backend Error").response()
        response = await response_of(call)
        if response.status not in (200, 206) or not isinstance(response.body, bytes):
            return response
        if deviation is Deviation.MISSING:
            self.adversary.done(deviation)
            return DriveError(404, "notFound", f"File not found: {call.key}.").response()
        if call.operation == "files.list":
            return self._told(call, self._listed(deviation, call, response))
        return self._spoilt(deviation, response)

    def _told(self, call: Call, response: Response) -> Response:
        if call.operation == "files.list" and response.status == 200 and isinstance(response.body, bytes):
            self.listed(response.body)
        return response

    def remove(self, file_id: str) -> None:
        """A file goes, past the API."""
        self.store.remove(self.store.get(file_id))

    def _listed(self, deviation: Deviation, call: Call, response: Response) -> Response:
        assert isinstance(response.body, bytes)
        page = json.loads(response.body)
        files, dice = page.get("files", []), self.adversary.dice
        if not files:
            return response
        if deviation is Deviation.ENTRY_LEFT_OUT:
            files.pop(dice.randrange(len(files)))
        elif deviation is Deviation.SHUFFLED:
            dice.shuffle(files)
        elif call.query.get("q", "").count(" in parents") > 1:
            kept = dice.choice([*sorted({parent for file in files for parent in file.get("parents", [])}), ""])
            page["files"] = [file for file in files if kept in file.get("parents", [])]
        changed = json.dumps(page).encode()
        if json.loads(response.body) != page:
            self.adversary.done(deviation)
        response.body = changed
        return response

    def _spoilt(self, deviation: Deviation, response: Response) -> Response:
        assert isinstance(response.body, bytes)
        before = (response.body, response.framing)
        if deviation is Deviation.WRONG_BYTES and response.body:
            at = self.adversary.dice.randrange(len(response.body))
            response.body = response.body[:at] + bytes([response.body[at] ^ 1]) + response.body[at + 1 :]
        elif deviation is Deviation.NO_LENGTH:
            response.framing = Framing.CHUNKED
        elif deviation is Deviation.NO_CHECKSUM:
            fields = json.loads(response.body)
            response.body = json.dumps({n: v for n, v in fields.items() if n not in _CHECKSUMS}).encode()
        if before != (response.body, response.framing):
            self.adversary.done(deviation)
        return response
