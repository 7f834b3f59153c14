"""The GCS stand-in, answering wrongly at random."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.adversarial.deviations import Adversary, Deviation
from tests.fakes.gcs import GcsServer
from tests.fakes.gcs.errors import JSON, GcsError
from tests.fakes.http import Framing, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.gcs.call import Call

_POSSIBLE = {
    "list": frozenset(
        {
            Deviation.ENTRY_LEFT_OUT,
            Deviation.SHUFFLED,
            Deviation.REPEATED_PAGE,
            Deviation.ENTRY_WITHOUT_VERSION,
            Deviation.ERROR_IN_200,
            Deviation.UNAVAILABLE,
        }
    ),
    "get.media": frozenset(
        {
            Deviation.MISSING,
            Deviation.WRONG_BYTES,
            Deviation.WRONG_VERSION,
            Deviation.CONDITION_IGNORED,
            Deviation.NO_LENGTH,
            Deviation.NO_CHECKSUM,
            Deviation.NO_VERSION,
            Deviation.UNAVAILABLE,
        }
    ),
    "get": frozenset({Deviation.MISSING, Deviation.NO_CHECKSUM, Deviation.NO_LENGTH, Deviation.UNAVAILABLE}),
    "insert.multipart": frozenset({Deviation.UNAVAILABLE, Deviation.NO_CHECKSUM}),
    "insert.resumable.begin": frozenset({Deviation.UNAVAILABLE}),
    "insert.resumable.chunk": frozenset({Deviation.UNAVAILABLE}),
}
_PINS = ("ifGenerationMatch", "generation")


class AdversarialGcs(GcsServer):
    """What the store holds is always the truth, for the test to look at."""

    def __init__(self, adversary: Adversary, **options: Any) -> None:
        super().__init__(**options)
        self.adversary = adversary
        self._page: bytes | None = None
        self.listed: Callable[[bytes], None] = lambda _: None
        """Hears the body of every listing that is sent."""

    async def _perform(self, call: Call) -> Response:
        deviation = self.adversary.pick(call.operation, call.key or "", _POSSIBLE.get(call.operation, frozenset()))
        if deviation is None:
            response = await self._true(call)
            return self._told(response) if call.operation == "list" else response
        if deviation is Deviation.UNAVAILABLE:
            self.adversary.done(deviation)
            return GcsError(503, "backendError", "Backend Error").response()
        if deviation is Deviation.MISSING:
            return await self._missing(call)
        if deviation is Deviation.CONDITION_IGNORED:
            asked = [name for name in _PINS if call.query.pop(name, None) is not None]
            if asked:
                self.adversary.done(deviation)
            return await self._true(call)
        if call.operation == "list":
            return self._told(self._listed(deviation, await self._true(call)))
        return self._spoilt(deviation, await self._true(call))

    async def _true(self, call: Call) -> Response:
        response = await super()._perform(call)
        if call.operation == "list" and response.status == 200 and isinstance(response.body, bytes):
            self._page = response.body
        return response

    async def _missing(self, call: Call) -> Response:
        response = await self._true(call)
        if response.status not in (200, 206):
            return response
        self.adversary.done(Deviation.MISSING)
        return GcsError(404, "notFound", "No such object").response(plain=call.operation == "get.media")

    def _told(self, response: Response) -> Response:
        if response.status == 200 and isinstance(response.body, bytes):
            self.listed(response.body)
        return response

    def _listed(self, deviation: Deviation, response: Response) -> Response:
        if response.status != 200 or not isinstance(response.body, bytes):
            return response
        if deviation is Deviation.ERROR_IN_200:
            self.adversary.done(deviation)
            error = {"error": {"code": 503, "message": "Backend Error", "errors": [{"reason": "backendError"}]}}
            return Response(200, [JSON], json.dumps(error).encode())
        changed = response.body
        if deviation is Deviation.REPEATED_PAGE and self._page is not None:
            changed = self._page
        else:
            changed = self._reordered(deviation, changed)
        if changed != response.body:
            self.adversary.done(deviation)
        response.body = changed
        return response

    def _reordered(self, deviation: Deviation, body: bytes) -> bytes:
        page = json.loads(body)
        items = page.get("items", [])
        dice = self.adversary.dice
        if not items:
            return body
        if deviation is Deviation.ENTRY_LEFT_OUT:
            items.pop(dice.randrange(len(items)))
        elif deviation is Deviation.SHUFFLED:
            dice.shuffle(items)
        elif deviation is Deviation.ENTRY_WITHOUT_VERSION:
            dice.choice(items).pop("generation", None)
        return json.dumps(page).encode()

    def _spoilt(self, deviation: Deviation, response: Response) -> Response:
        if response.status not in (200, 206) or not isinstance(response.body, bytes):
            return response
        before = (list(response.headers), response.body, response.framing)
        of_json = ("Content-Type", JSON[1]) in response.headers
        if deviation is Deviation.WRONG_BYTES and response.body:
            at = self.adversary.dice.randrange(len(response.body))
            response.body = response.body[:at] + bytes([response.body[at] ^ 1]) + response.body[at + 1 :]
        elif deviation is Deviation.NO_LENGTH:
            response.framing = Framing.CHUNKED
        elif deviation is Deviation.NO_CHECKSUM and of_json:
            fields = json.loads(response.body)
            response.body = json.dumps({n: v for n, v in fields.items() if n not in ("crc32c", "md5Hash")}).encode()
        elif deviation is Deviation.NO_CHECKSUM:
            response.headers = [(n, v) for n, v in response.headers if n.lower() != "x-goog-hash"]
        elif deviation is Deviation.WRONG_VERSION:
            response.headers = [(n, "1" if n.lower() == "x-goog-generation" else v) for n, v in response.headers]
        elif deviation is Deviation.NO_VERSION:
            response.headers = [(n, v) for n, v in response.headers if n.lower() not in ("x-goog-generation", "etag")]
        if before != (response.headers, response.body, response.framing):
            self.adversary.done(deviation)
        return response
