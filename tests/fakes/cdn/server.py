"""The edge: who may fetch, what it kept, and the bad answers that a test asks for."""

from __future__ import annotations

import gzip
import time
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.fakes.cdn.origin import Answer
from tests.fakes.cdn.policy import RefusedError, split, verify
from tests.fakes.http import End, Framing, HttpServer, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from tests.fakes.cdn.origin import Origin
    from tests.fakes.http import Request

_XML = {"content-type": "text/xml"}
_PAGE = b"<!DOCTYPE HTML><HTML><TITLE>ERROR: The request could not be satisfied</TITLE><BODY>Request blocked.</BODY></HTML>"


class Mood(StrEnum):
    """How an answer is spoilt."""

    GZIP = "packed, with a weak ETag, as CloudFront packs"
    GZIP_STRONG = "packed, with the ETag of what was packed"
    UNPACKED = "Content-Encoding left out, as if unpacked on the way"
    CLOSED = "half the body, no length, the connection ends"
    CUT = "half the body after the length of all of it"
    SHORT = "half the body, and a length that says so"
    CORRUPT = "one byte of the body is another"
    NO_ETAG = "no ETag"
    WHOLE = "200 and everything, to a request for a range"
    SHIFTED = "the range beside the one that was asked for"
    PART = "206 and half, to a request for everything"
    LONG = "the body, and then as much again and more"
    MISSING = "404, as from a bucket that may be listed"
    PAGE = "403 and a page for people"
    BLANK = "403 and nothing"
    BUSY = "503"
    SLOW_DOWN = "429"
    MOVED = "301 to somewhere else"
    SILENT = "no answer, the connection ends"


class CdnServer(HttpServer):
    """A distribution. With `keys` (key id -> public key) only signed URLs are answered.

    `caching`: what was fetched once is served for ever, each range by itself. `client` is the address that every viewer is taken
    to come from. `mood` spoils every answer, `moods` the next ones, one each. `paths` are those that were asked for, undecoded;
    `refused` tells of the URLs that were not answered.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        keys: Mapping[str, RSAPublicKey] | None = None,
        caching: bool = False,
        client: str = "127.0.0.1",
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(host=host, port=port)
        self.origin = origin
        self.keys = keys
        self.caching = caching
        self.client = client
        self.mood: Mood | None = None
        self.moods: list[Mood | None] = []
        self.paths: list[str] = []
        self.queries: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.refused: list[RefusedError] = []
        self._clock = clock
        self._kept: dict[tuple[str, str | None], Answer] = {}

    def keep(self, path: str, answer: Answer) -> None:
        """Put an answer into the cache: what the edge fetched some time ago."""
        self._kept[path, None] = answer

    async def handle(self, request: Request) -> Response:
        self.paths.append(request.path)
        self.queries.append(request.query_string)
        self.headers.append(dict(request.headers))
        rest, given = split(request.query_string)
        if self.keys is not None:
            url = f"http://{request.headers['host']}{request.path}{'?' if rest else ''}{rest}"
            try:
                verify(url, given, self.keys, self.client, self._clock())
            except RefusedError as refused:
                self.refused.append(refused)
                return _respond(Answer(403, _XML, _error(refused)))
        mood = self.moods.pop(0) if self.moods else self.mood
        return await self._answer(request, mood)

    async def _answer(self, request: Request, mood: Mood | None) -> Response:
        byte_range = request.headers.get("range")
        if (made := _instead(mood)) is not None:
            return made
        answer = await self._fetch(request.path, None if mood in (Mood.WHOLE, Mood.SHIFTED) else byte_range)
        if answer.status not in (200, 206) or mood is None:
            return _respond(answer)
        if mood is Mood.SHIFTED and byte_range is not None:
            first, last = (int(number) + 1 for number in byte_range.removeprefix("bytes=").split("-"))
            return _respond(await self._fetch(request.path, f"bytes={first}-{last}"))
        return _spoilt(answer, mood)

    async def _fetch(self, path: str, byte_range: str | None) -> Answer:
        kept = self._kept.get((path, byte_range)) if self.caching else None
        if kept is not None:
            return Answer(kept.status, {**kept.headers, "x-cache": "Hit from cloudfront", "age": "86399"}, kept.body)
        answer = await self.origin.fetch(path, byte_range)
        if self.caching and answer.status in (200, 206):
            self._kept[path, byte_range] = answer
        return Answer(answer.status, {**answer.headers, "x-cache": "Miss from cloudfront"}, answer.body)


def _respond(answer: Answer) -> Response:
    return Response(answer.status, list(answer.headers.items()), answer.body)


def _error(refused: RefusedError) -> bytes:
    """CloudFront's own: without the RequestId and HostId that S3 puts into its errors."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{refused.code}</Code><Message>{refused.message}</Message></Error>'
    ).encode()


def _instead(mood: Mood | None) -> Response | None:
    """The answers that need no object."""
    match mood:
        case Mood.MISSING:
            return _respond(Answer(404, _XML, b"<Error><Code>NoSuchKey</Code><Message>No such key.</Message></Error>"))
        case Mood.PAGE:
            return _respond(Answer(403, {"content-type": "text/html", "server": "CloudFront"}, _PAGE))
        case Mood.BLANK:
            return _respond(Answer(403))
        case Mood.BUSY:
            return _respond(Answer(503, {"content-type": "text/html", "retry-after": "1"}, _PAGE))
        case Mood.SLOW_DOWN:
            return _respond(Answer(429))
        case Mood.MOVED:
            return _respond(Answer(301, {"location": "http://127.0.0.1:9/elsewhere"}))
        case Mood.SILENT:
            return Response.none()
    return None


def _spoilt(answer: Answer, mood: Mood) -> Response:
    headers, body = dict(answer.headers), answer.body
    half = body[: len(body) // 2]
    match mood:
        case Mood.GZIP:
            headers |= {"content-encoding": "gzip", "etag": "W/" + headers["etag"]}
            return Response(answer.status, list(headers.items()), gzip.compress(body), framing=Framing.CHUNKED)
        case Mood.GZIP_STRONG:
            headers |= {"content-encoding": "gzip"}
            return Response(answer.status, list(headers.items()), gzip.compress(body), framing=Framing.CHUNKED)
        case Mood.UNPACKED:
            headers.pop("content-encoding", None)
        case Mood.CLOSED:
            return Response(answer.status, list(headers.items()), half, framing=Framing.CLOSE)
        case Mood.CUT:
            return Response(answer.status, list(headers.items()), half, length=len(body), end=End.CLOSE)
        case Mood.SHORT:
            body = half
        case Mood.CORRUPT:
            body = bytes([body[0] ^ 1]) + body[1:]
        case Mood.NO_ETAG:
            headers.pop("etag")
        case Mood.PART:
            headers["content-range"] = f"bytes 0-{len(half) - 1}/{len(body)}"
            return Response(206, list(headers.items()), half)
        case Mood.LONG:
            body = body + body + bytes(1024 * 1024)
    return Response(answer.status, list(headers.items()), body)
