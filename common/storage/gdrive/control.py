"""Requests to the Drive API: built and read by google-api-python-client, sent by our own transport.

The library knows the API (names, paths, parameters, from the discovery document that it ships), and its way of sending
blocks a thread for each request (httplib2, not thread-safe). So it makes the requests, and the event loop that moves the
bytes sends these too.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from common.errors import ObjectError, Unavailable
from common.storage.gdrive import errors
from common.storage.gdrive.quota import UNITS_GET, Quota
from common.storage.shared import Alone
from common.transport.aws import encode_query
from common.transport.google import Anonymous, drive_tokens, send
from common.transport.http import Request, retry_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from common.config import Settings, StoreOptions
    from common.storage.shared import Shared
    from common.transport.google import TokenSource
    from common.transport.http import Response, Transport

PUBLIC_ENDPOINT = "https://www.googleapis.com"
ANSWER_BYTES = 16 * 1024 * 1024
"""A page of 1,000 files, each with all the properties that it may have, and then some."""
LONGEST_URL = 2048
"""Above it the library sends a GET as a POST that says so; queries with long names are."""


@dataclass(frozen=True, slots=True)
class User:
    """Whose files these are; `storage_limit` is None where there is none, and 0 for a service account."""

    id: str
    email: str
    storage_limit: int | None


class Drive:
    """The API as one user sees it. Calls are built with `files`, `changes`, `drives`, `about`; `call` sends them.

    Raises Unauthenticated when it is made and no identity can be had: that is better known at the start than for each object.
    """

    def __init__(
        self,
        options: StoreOptions,
        settings: Settings,
        transport: Transport,
        shared: Shared | None = None,
        *,
        write: bool,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        google = settings.google
        endpoint = options.endpoint or google.drive_endpoint
        self.origin = (endpoint or PUBLIC_ENDPOINT).rstrip("/")
        self.shared = shared or Alone()
        self.files, self.changes, self.drives, self.about = _library(self.origin)
        self._transport = transport
        # A stand-in has no identities; a real token must not be sent to one.
        self._tokens: TokenSource = Anonymous() if endpoint else drive_tokens(google, write=write)
        self._quota = Quota(self.shared, google.drive_units, sleep)
        self._now = now
        self._user: User | None = None
        self._asking = asyncio.Lock()

    async def call(self, request: Any, doing: str, name: str, units: int = UNITS_GET) -> dict[str, Any]:
        """The answer to a call that the library built. `doing` and `name` are for the error: "list", "gdrive://…"."""
        await self._quota.spend((await self.user()).id, units)
        return await self._call(request, doing, name)

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        expect: int = ANSWER_BYTES,
        units: int,
    ) -> Response:
        """The answer to a request of our own, for bytes. Never raises for a status: `failure` turns one into our error."""
        if units:
            await self._quota.spend((await self.user()).id, units)
        return await self._send(method, url, headers, body, expect)

    def failure(self, response: Response, doing: str, name: str) -> ObjectError:
        return errors.failure(response, doing, name, self._now, retry_after(response))

    async def user(self) -> User:
        """Who we are at Drive; asked once. The fleet's budget is by this id, so that workers find each other."""
        if self._user is None:
            async with self._asking:
                if self._user is None:
                    self._user = await self._ask_user()
        return self._user

    def media_url(self, file_id: str) -> str:
        """Where the bytes of a file are."""
        return f"{self.origin}/drive/v3/files/{quote(file_id, safe='')}?alt=media&supportsAllDrives=true"

    def upload_url(self, file_id: str | None, query: Sequence[tuple[str, str]]) -> str:
        """Where bytes for a new file, or for a new revision of this one, are sent to."""
        path = "/upload/drive/v3/files" + (f"/{quote(file_id, safe='')}" if file_id else "")
        return f"{self.origin}{path}?{encode_query([('supportsAllDrives', 'true'), *query])}"

    async def _ask_user(self) -> User:
        request = self.about.get(fields="user(permissionId,emailAddress),storageQuota(limit)")
        answer = await self._call(request, "use", "Google Drive")
        user, limit = answer.get("user", {}), answer.get("storageQuota", {}).get("limit")
        return User(str(user.get("permissionId", "")), str(user.get("emailAddress", "")), None if limit is None else int(limit))

    async def _call(self, request: Any, doing: str, name: str) -> dict[str, Any]:
        headers = [(key, value) for key, value in request.headers.items() if key in ("content-type", "x-goog-api-client")]
        method, url, body = request.method, request.uri, (request.body or "").encode()
        if method == "GET" and len(url) > LONGEST_URL:
            parts = urlsplit(url)
            method, url, body = "POST", f"{parts.scheme}://{parts.netloc}{parts.path}", parts.query.encode()
            headers += [("x-http-method-override", "GET"), ("content-type", "application/x-www-form-urlencoded")]
        response = await self._send(method, url, headers, body, ANSWER_BYTES)
        if response.status >= 300:
            raise self.failure(response, doing, name)
        answer = request.postproc(response, response.body)
        if not isinstance(answer, dict):
            raise Unavailable(f"cannot {doing} {name!r}: the answer is not Drive's JSON")
        return answer

    async def _send(self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes, expect: int) -> Response:
        # The address of a session comes from an answer, and is a key by itself: our token goes to Drive and nowhere else.
        tokens = self._tokens if url.startswith(f"{self.origin}/") else Anonymous()
        return await send(self._transport, tokens, Request(method, url, headers, body, expect))


@cache
def _library(origin: str) -> tuple[Any, Any, Any, Any]:
    """The library's files, changes, drives and about. Importing it takes a third of a second: only those who use Drive pay.

    Its own way to another endpoint (`api_endpoint`) moves only half of the calls: the document is changed instead.
    """
    from googleapiclient.discovery import build_from_document  # noqa: PLC0415

    text = (resources.files("googleapiclient.discovery_cache") / "documents" / "drive.v3.json").read_text("utf-8")
    document = json.loads(text) | {"rootUrl": f"{origin}/", "baseUrl": f"{origin}/drive/v3/"}
    document.pop("mtlsRootUrl", None)
    service = build_from_document(document, http=_Unsent())
    return service.files(), service.changes(), service.drives(), service.about()


class _Unsent:
    """In place of the library's HTTP client: whoever lets the library send something has made a mistake."""

    def request(self, *_: object, **__: object) -> None:
        raise RuntimeError("Drive's requests are sent by our transport")
