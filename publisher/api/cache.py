"""The cache over HTTP: what is recorded as published and as consumed, to be looked at and to be forgotten.

A listing is streamed: one page of records is in memory at a time, so a million records cost no more than a thousand.
"""

from __future__ import annotations

import itertools
import json
from threading import BoundedSemaphore
from typing import TYPE_CHECKING
from urllib.parse import quote

from flask import Response, request

from common.errors import StateUnavailable
from common.telemetry import get_logger
from publisher.api.query import Query
from publisher.api.replies import JSON, ApiError, reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from common.state.cache import Kind
    from publisher.api.desk import Desk

log = get_logger(__name__)

PAGE = 1000
CHUNK_BYTES = 64 * 1024
STATE_SECONDS = 10.0
DELETE_SECONDS = 300.0
MOST_STREAMS = 4
"""A stream holds a thread of the server for as long as its reader takes; the other threads stay free for everything else."""
MOST_DELETIONS = 2
"""A deletion of many records may take minutes, and holds a thread as well."""

Records = list[tuple[str, dict[str, object]]]


class StreamBroken(Exception):  # noqa: N818 - named after the situation
    """The records could not be read to the end. Raised into the server, which closes the connection without ending the answer."""


class CacheViews:
    """The views of /cache…; called by many threads at once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._streams = BoundedSemaphore(MOST_STREAMS)
        self._deletions = BoundedSemaphore(MOST_DELETIONS)

    def show_all(self) -> Response:
        query = Query(request.query_string, {"route", "limit", "cursor"})
        return self._listing(query, None)

    def show_kind(self) -> Response:
        query = Query(request.query_string, {"value", "route", "limit", "cursor"})
        return self._listing(query, query.kind())

    def show_name(self) -> Response:
        query = Query(request.query_string, {"value", "route"})
        kind, key = query.name()
        record = self._desk.bridge.call(self._desk.cache.get(self._route(query), kind, key), STATE_SECONDS)
        if record is None:
            raise _unknown(kind, key)
        return reply({f"{kind.value}:{key}": record})

    def forget_all(self) -> Response:
        query = Query(request.query_string, {"route"})
        return self._forget(query, None)

    def forget_kind(self) -> Response:
        query = Query(request.query_string, {"value", "route"})
        return self._forget(query, query.kind())

    def forget_name(self) -> Response:
        query = Query(request.query_string, {"value", "route"})
        kind, key = query.name()
        if not self._desk.bridge.call(self._desk.cache.delete_one(self._route(query), kind, key), STATE_SECONDS):
            raise _unknown(kind, key)
        return reply({"deleted": 1})

    def _route(self, query: Query) -> str:
        return query.route(self._desk.routes)

    def _forget(self, query: Query, kind: Kind | None) -> Response:
        route = self._route(query)
        if not self._deletions.acquire(blocking=False):
            raise ApiError(
                503, f"{MOST_DELETIONS} deletions are under way already; try again when one has ended", {"Retry-After": "10"}
            )
        try:
            deleted = self._desk.bridge.call(self._desk.cache.delete(route, kind), DELETE_SECONDS)
        finally:
            self._deletions.release()
        log.info(
            "records deleted through the API", action="cache_deleted", route=route, kind=kind and kind.value, deleted=deleted
        )
        return reply({"deleted": deleted})

    def _listing(self, query: Query, kind: Kind | None) -> Response:
        route, limit, cursor = self._route(query), query.limit(), query.text("cursor")
        if limit is not None:
            return self._part(route, kind, cursor, limit)
        return self._stream(route, kind, cursor)

    def _part(self, route: str, kind: Kind | None, cursor: str | None, limit: int) -> Response:
        """At most `limit` records, and in the header where the next ones begin."""
        records: Records = []
        while True:
            page, cursor = self._page(route, kind, cursor, min(PAGE, limit - len(records)))
            records += page
            if cursor is None or len(records) >= limit:
                break
        headers = {} if cursor is None else {"X-Next-Cursor": cursor, "Link": _link(cursor)}
        return Response(b"".join(_chunks([records])), headers=headers, content_type=JSON)

    def _stream(self, route: str, kind: Kind | None, cursor: str | None) -> Response:
        if not self._streams.acquire(blocking=False):  # to wait here would hold a thread of the server, and with it everybody
            raise ApiError(503, f"{MOST_STREAMS} listings are being sent already; use limit, or try again", {"Retry-After": "10"})
        try:
            # The first page is read before the answer begins: a bad cursor or an absent Redis can still be said with a status.
            first, following = self._page(route, kind, cursor, PAGE)
            pages = itertools.chain([first], self._following(route, kind, following))
            response = Response(_chunks(pages), content_type=JSON)
        except BaseException:
            self._streams.release()
            raise
        response.call_on_close(self._streams.release)
        return response

    def _following(self, route: str, kind: Kind | None, cursor: str | None) -> Iterator[Records]:
        while cursor is not None:
            try:
                page, cursor = self._page(route, kind, cursor, PAGE)
            except StateUnavailable as error:
                log.warning("a listing of the cache was cut short", action="cache_stream_broken", route=route, error=str(error))
                raise StreamBroken(str(error)) from error
            yield page

    def _page(self, route: str, kind: Kind | None, cursor: str | None, limit: int) -> tuple[Records, str | None]:
        try:
            return self._desk.bridge.call(self._desk.cache.page(route, kind, cursor, limit), STATE_SECONDS)
        except ValueError as error:
            raise ApiError(400, "that cursor is not one of ours: leave it out to begin at the beginning") from error


def _unknown(kind: Kind, key: str) -> ApiError:
    return ApiError(404, f"no {kind.value} record of {key[:200]!r}")


def _link(cursor: str) -> str:
    query = request.query_string.decode("latin-1")
    kept = [part for part in query.split("&") if part and not part.startswith("cursor=")]
    return f'<{request.path}?{"&".join([*kept, "cursor=" + quote(cursor, safe="")])}>; rel="next"'


def _chunks(pages: Iterable[Records]) -> Iterator[bytes]:
    """One JSON object in chunks of about CHUNK_BYTES. The closing brace comes last: what is cut short is not JSON."""
    buffer = bytearray(b"{")
    comma = ""
    for name, fields in itertools.chain.from_iterable(pages):
        buffer += f"{comma}{json.dumps(name)}: {json.dumps(fields)}".encode("ascii")
        comma = ",\n"
        if len(buffer) >= CHUNK_BYTES:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer) + b"}\n"
