"""CloudFront as the way out of S3: listings and looks ask S3, bytes come from the edge, whatever is not certain comes from S3.

Every answer of an edge is held against a look at S3 (a HEAD), which knows version, size, encoding and headers as they are now:
one look for each whole object and each first span, none for later spans of an object that was looked at lately. What the edge
answers otherwise (`cdn_answer`) is not an error: the same bytes are read from S3, which costs egress; therefore it is counted,
and said once a minute for each reason.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, cast

from common.errors import Unavailable
from common.storage.base import LARGEST_READ, Content
from common.storage.cdn_answer import Declined, Reason, accept
from common.storage.cdn_rest import Rest
from common.telemetry import get_logger
from common.transport.aws import encode_path
from common.transport.http import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from common.config import Route
    from common.objects import Span, StoredObject, Version
    from common.storage.base import Page, RangesReader, Reader
    from common.transport.cloudfront import Signed, UrlSigner
    from common.transport.http import Transport

log = get_logger(__name__)

LONGEST_URL = 8192
"""Bytes of a request that CloudFront takes, its query included
(https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html)."""
SAID_AGAIN_AFTER = 60.0
REMEMBERED = 256
"""Objects whose last look is kept for their later spans: some more than are moved in parts at once."""


def reader(inner: Reader, route: Route, transport: Transport, *, now: Callable[[], float] = time.time) -> Reader:
    """The S3 reader of a route, behind its CDN if it has one. Closing it closes the reader inside.

    Raises Unauthenticated when the key for the signatures cannot be used.
    """
    if route.cdn is None:
        return inner
    from common.transport.cloudfront import signer  # noqa: PLC0415 - a tenth of a second, and few routes need it

    root = f"{route.cdn.domain}/{encode_path(route.source.prefix)}"
    return CdnReader(inner, root, signer(route.cdn, root, now=now), transport, Tally(route.name))


class Tally:
    """What came from the edge and what did not. A line for each reason, once a minute at most; the sums at the end."""

    def __init__(self, route: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.accepted = 0
        self.accepted_bytes = 0
        self.declined: Counter[Reason] = Counter()
        self._route = route
        self._clock = clock
        self._said: dict[Reason, tuple[float | None, int]] = {}
        self._closed = False

    def accept(self, size: int) -> None:
        self.accepted += 1
        self.accepted_bytes += size

    def decline(self, key: str, declined: Declined) -> None:
        reason = declined.reason
        self.declined[reason] += 1
        last, count = self._said.get(reason, (None, 0))
        now = self._clock()
        if last is not None and now - last < SAID_AGAIN_AFTER:
            return
        self._said[reason] = now, self.declined[reason]
        say = log.info if reason is Reason.NAME else log.warning
        say(
            "the CDN's answer was not taken, S3 was asked instead",
            action="cdn_declined",
            route=self._route,
            key=key,
            reason=reason.value,
            error=str(declined),
            times=self.declined[reason] - count,
        )

    def close(self) -> None:
        if self._closed or not (self.accepted or self.declined):
            return
        self._closed = True
        log.info(
            "what came through the CDN",
            action="cdn_totals",
            route=self._route,
            accepted=self.accepted,
            accepted_bytes=self.accepted_bytes,
            declined={reason.value: count for reason, count in self.declined.items()},
        )


class CdnReader:
    """`root` is the URL below which keys are, encoded: domain and prefix."""

    def __init__(
        self, inner: Reader, root: str, urls: UrlSigner, transport: Transport, tally: Tally, *, rest: Rest | None = None
    ) -> None:
        self.limits = inner.limits
        self.tally = tally
        self._s3 = inner
        self._root = root
        self._urls = urls
        self._transport = transport
        self._rest = rest or Rest()
        self._looked: OrderedDict[str, StoredObject] = OrderedDict()
        self._begun: OrderedDict[tuple[str, str], bool] = OrderedDict()
        """Versions of which a first part has been asked for; True once that has happened before."""

    async def stat(self, key: str) -> StoredObject | None:
        found = await self._s3.stat(key)
        self._looked.pop(key, None)
        if found is not None:
            self._looked[key] = found
            if len(self._looked) > REMEMBERED:
                self._looked.popitem(last=False)
        return found

    def list(self, after: str | None = None) -> AsyncIterator[Page]:
        return self._s3.list(after)

    async def divisible(self, after: str | None, keys: Sequence[str]) -> bool:
        return self.limits.parallel_listing and await cast("RangesReader", self._s3).divisible(after, keys)

    async def indivisible(self) -> None:
        if self.limits.parallel_listing:
            await cast("RangesReader", self._s3).indivisible()

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        due = await self._due(key, span, version)
        if due is not None and span is not None and self._is_begun_anew(key, span, due):
            again = Declined(Reason.CORRUPT, "its parts were begun again, as they are when they were not the object together")
            if span.start == 0:
                self.tally.decline(key, again)
        elif due is not None:
            try:
                data = await self._from_edge(key, span, due)
            except Declined as declined:
                self.tally.decline(key, declined)
            else:
                self.tally.accept(len(data))
                return Content(due, data)
        return await self._s3.read(key, span, version)

    async def close(self) -> None:
        self.tally.close()
        await self._s3.close()

    def _is_begun_anew(self, key: str, span: Span, due: StoredObject) -> bool:
        """Whether this version is read in parts for a second time. A range has no checksum of its own: what an edge has wrong is
        noticed when all parts have come, and the edge would answer the same once more.
        """
        place = (key, due.version.token)
        if span.start == 0:
            self._begun[place] = place in self._begun
            self._begun.move_to_end(place)
            if len(self._begun) > REMEMBERED:
                self._begun.popitem(last=False)
        return self._begun.get(place, False)

    async def _due(self, key: str, span: Span | None, version: Version | None) -> StoredObject | None:
        """What the edge has to bring; None when S3 has to answer: it holds no such version, or the answer would be too large."""
        due = self._looked.get(key) if span is not None and span.start > 0 and version is not None else None
        if due is None or version is None or due.version.token != version.token:
            due = await self.stat(key)
        if due is None or (version is not None and due.version.token != version.token):
            return None
        within = due.size <= LARGEST_READ if span is None else span.end <= due.size
        return due if within else None

    async def _from_edge(self, key: str, span: Span | None, due: StoredObject) -> bytes:
        signed = self._url(key)
        headers = [("range", f"bytes={span.start}-{span.end - 1}")] if span is not None else []
        expect = due.size if span is None else len(span)
        if not self._rest.disturb():
            raise Declined(Reason.RESTING, "the edge gave no answer several times in a row: it is left alone for half a minute")
        try:
            response = await self._transport.send(Request("GET", signed.url, headers, expect=expect))
        except Unavailable as error:
            self._rest.failed()
            raise Declined(Reason.BROKEN, str(error)) from None
        self._rest.answered()
        return await accept(response, span, due, signed)

    def _url(self, key: str) -> Signed:
        path = encode_path(key)
        if any(segment in (".", "..") for segment in f"{self._root}{path}".split("/")):
            # CloudFront takes them out before it compares a path with its behaviours, as RFC 3986, 5.2.4 has it.
            raise Declined(Reason.NAME, "a segment of dots would be another path at the edge")
        signed = self._urls.sign(self._root + path)
        if len(signed.url) > LONGEST_URL:
            raise Declined(Reason.NAME, f"its URL has {len(signed.url)} bytes, an edge takes {LONGEST_URL}")
        return signed
