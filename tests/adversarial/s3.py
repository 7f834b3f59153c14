"""The S3 stand-in, answering wrongly at random."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.adversarial.deviations import Adversary, Deviation
from tests.fakes.http import Framing, Response
from tests.fakes.s3 import S3Server
from tests.fakes.s3.errors import S3Error, no_key
from tests.fakes.s3.xml import XML

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.s3.call import Call
    from tests.fakes.s3.signatures import Admission

_ENTRY = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)
_ETAG = re.compile(rb"<ETag>.*?</ETag>", re.DOTALL)
_SAID = re.compile(rb"<EncodingType>.*?</EncodingType>")
_OF_LISTINGS = frozenset(
    {
        Deviation.ENTRY_LEFT_OUT,
        Deviation.SHUFFLED,
        Deviation.REPEATED_PAGE,
        Deviation.ENTRY_WITHOUT_VERSION,
        Deviation.ENCODING_UNSAID,
        Deviation.ERROR_IN_200,
        Deviation.UNAVAILABLE,
    }
)
_OF_READS = frozenset(
    {
        Deviation.MISSING,
        Deviation.STALE,
        Deviation.WRONG_BYTES,
        Deviation.WRONG_VERSION,
        Deviation.CONDITION_IGNORED,
        Deviation.NO_LENGTH,
        Deviation.NO_CHECKSUM,
        Deviation.NO_VERSION,
        Deviation.UNAVAILABLE,
    }
)
_OF_LOOKS = _OF_READS - {Deviation.WRONG_BYTES, Deviation.CONDITION_IGNORED}
_OF_WRITES = frozenset({Deviation.UNAVAILABLE, Deviation.NO_CHECKSUM, Deviation.ERROR_IN_200, Deviation.NO_VERSION})
_POSSIBLE = {
    "ListObjectsV2": _OF_LISTINGS,
    "GetObject": _OF_READS,
    "HeadObject": _OF_LOOKS,
    "PutObject": _OF_WRITES - {Deviation.ERROR_IN_200},
    "UploadPart": frozenset({Deviation.UNAVAILABLE, Deviation.NO_CHECKSUM}),
    "CompleteMultipartUpload": frozenset({Deviation.UNAVAILABLE, Deviation.ERROR_IN_200}),
}
_CONDITIONS = ("if-match", "if-none-match")


class AdversarialS3(S3Server):
    """`read_only`: True for a source, whose reads are never pinned to what it overwrites. Deviations of reads are told of objects
    that exist; what the store holds is always the truth, for the test to look at.
    """

    def __init__(self, adversary: Adversary, **options: Any) -> None:
        super().__init__(**options)
        self.adversary = adversary
        self._page: bytes | None = None
        self._ignoring: list[Call] = []
        self.listed: Callable[[bytes], None] = lambda _: None
        """Hears the body of every listing that is sent."""
        self._before: dict[tuple[str, str], Any] = {}

    async def _perform(self, call: Call) -> Response:
        deviation = self.adversary.pick(call.operation, call.key, _POSSIBLE.get(call.operation, frozenset()))
        if deviation is None:
            response = await self._true(call)
            return self._told(response) if call.operation == "ListObjectsV2" else response
        if deviation is Deviation.UNAVAILABLE:
            self.adversary.done(deviation)
            return S3Error(503, "SlowDown", "Please reduce your request rate.").response(call.request_id, silent=call.silent)
        if call.operation == "ListObjectsV2":
            return self._told(self._listed(deviation, await self._true(call)))
        if call.operation in ("GetObject", "HeadObject"):
            return await self._read(deviation, call)
        return self._written(deviation, await self._true(call))

    async def _true(self, call: Call) -> Response:
        if call.operation in ("PutObject", "CompleteMultipartUpload"):
            home = self.store.buckets.get(call.bucket)
            blob = home.current(call.key) if home else None
            if blob is not None:
                self._before[call.bucket, call.key] = blob
        response = await super()._perform(call)
        if call.operation == "ListObjectsV2" and response.status == 200 and isinstance(response.body, bytes):
            self._page = response.body
        return response

    async def _operate(self, call: Call, admission: Admission | None) -> Response:
        """Conditions are ignored once the signature, which covers them, has been looked at."""
        if call in self._ignoring:
            self._ignoring.remove(call)
            asked = [name for name in _CONDITIONS if name in call.headers]
            for name in asked:
                del call.headers[name]
            if asked:
                self.adversary.done(Deviation.CONDITION_IGNORED)
        return await super()._operate(call, admission)

    def changed(self, bucket: str, key: str) -> None:
        """To be called before the test itself writes an object anew: what is there is what STALE answers show."""
        home = self.store.buckets[bucket]
        if (blob := home.current(key)) is not None:
            self._before[bucket, key] = blob

    def _told(self, response: Response) -> Response:
        if response.status == 200 and isinstance(response.body, bytes):
            self.listed(response.body)
        return response

    def _listed(self, deviation: Deviation, response: Response) -> Response:
        body = response.body
        if response.status != 200 or not isinstance(body, bytes):
            return response
        entries = _ENTRY.findall(body)
        dice = self.adversary.dice
        changed = body
        if deviation is Deviation.ERROR_IN_200:
            changed = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>We encountered an error.</Message></Error>'
        elif deviation is Deviation.REPEATED_PAGE and self._page is not None:
            changed = self._page
        elif deviation is Deviation.ENCODING_UNSAID:
            changed = _SAID.sub(b"", body)
        elif entries:
            if deviation is Deviation.ENTRY_LEFT_OUT:
                changed = body.replace(dice.choice(entries), b"", 1)
            elif deviation is Deviation.ENTRY_WITHOUT_VERSION:
                entry = dice.choice(entries)
                changed = body.replace(entry, _ETAG.sub(b"", entry), 1)
            elif deviation is Deviation.SHUFFLED:
                first, last = body.index(entries[0]), body.rindex(entries[-1]) + len(entries[-1])
                dice.shuffle(entries)
                changed = body[:first] + b"".join(entries) + body[last:]
        if changed != body:
            self.adversary.done(deviation)
        response.body = changed
        return response

    async def _read(self, deviation: Deviation, call: Call) -> Response:
        home = self.store.buckets.get(call.bucket)
        there = home is not None and home.current(call.key) is not None
        if not there:
            return await self._true(call)
        if deviation is Deviation.MISSING:
            self.adversary.done(deviation)
            return no_key(call.key).response(call.request_id, silent=call.silent)
        if deviation is Deviation.STALE:
            return await self._stale(call)
        if deviation is Deviation.CONDITION_IGNORED:
            self._ignoring.append(call)
            return await self._true(call)
        return self._spoilt(deviation, await self._true(call))

    async def _stale(self, call: Call) -> Response:
        old = self._before.get((call.bucket, call.key))
        home = self.store.buckets[call.bucket]
        versions = home.versions.get(call.key)
        if old is None or versions is None or old in versions:
            return await self._true(call)
        self.adversary.done(Deviation.STALE)
        versions.append(old)
        try:
            return await super()._perform(call)
        finally:
            versions.remove(old)

    def _spoilt(self, deviation: Deviation, response: Response) -> Response:
        if response.status not in (200, 206) or not isinstance(response.body, bytes):
            return response
        before = (list(response.headers), response.body, response.framing)
        if deviation is Deviation.WRONG_BYTES and response.body:
            at = self.adversary.dice.randrange(len(response.body))
            response.body = response.body[:at] + bytes([response.body[at] ^ 1]) + response.body[at + 1 :]
        elif deviation is Deviation.WRONG_VERSION:
            response.headers = [(n, f'"{"0" * 32}"' if n == "ETag" else v) for n, v in response.headers]
        elif deviation is Deviation.NO_LENGTH:
            response.framing = Framing.CHUNKED
        elif deviation is Deviation.NO_CHECKSUM:
            response.headers = [(n, v) for n, v in response.headers if "checksum" not in n.lower()]
        elif deviation is Deviation.NO_VERSION:
            response.headers = [(n, v) for n, v in response.headers if n != "ETag"]
        if before != (response.headers, response.body, response.framing):
            self.adversary.done(deviation)
        return response

    def _written(self, deviation: Deviation, response: Response) -> Response:
        if response.status != 200:
            return response
        if deviation is Deviation.ERROR_IN_200:
            self.adversary.done(deviation)
            return Response(200, [XML], b"<Error><Code>InternalError</Code><Message>We encountered an error.</Message></Error>")
        return self._spoilt(deviation, response)
