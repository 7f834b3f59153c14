"""The stand-in for Google Cloud Storage: the JSON API and the XML API's multipart uploads over HTTP, in memory.

    async with GcsServer(buckets=["demo"]) as server: ...     # in the event loop of the test
    with GcsServer(buckets=["demo"]) as server: ...           # in a thread of its own

Beside the API it answers GET|POST|DELETE /_faults and GET|DELETE /_stats, for tests that run it as a program.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.fakes.gcs import changes, listing, names, reads, uploads
from tests.fakes.gcs.call import understand
from tests.fakes.gcs.errors import JSON, GcsError, no_page, unauthorized
from tests.fakes.gcs.faults import Faults, meet
from tests.fakes.gcs.fields import select
from tests.fakes.gcs.multipart import Multiparts
from tests.fakes.gcs.preconditions import Preconditions
from tests.fakes.gcs.resources import blob_resource, bucket_resource, writable
from tests.fakes.gcs.sessions import Sessions
from tests.fakes.gcs.store import Blob, Content, Hashes, Store
from tests.fakes.http import HttpServer, Response
from tests.fakes.http.control import NoPageError, control

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tests.fakes.gcs.call import Call
    from tests.fakes.gcs.sessions import Session
    from tests.fakes.http import Request

_PLAIN = frozenset({"get.media"})


class GcsServer(HttpServer):
    """`require_token`: a bearer token without which every call but those on upload sessions gets 401. `delay_ms`: the time that
    every request takes at least. `permissions`: what everybody may do, as far as it is asked; None: everything.
    `md5=False` leaves md5Hash out, which costs more than all the rest for large objects."""

    def __init__(
        self,
        *,
        buckets: Sequence[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        require_token: str | None = None,
        delay_ms: float = 0,
        rate_limit: bool = False,
        data_limit: int | None = None,
        md5: bool = True,
        permissions: Collection[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(host=host, port=port)
        self.require_token = require_token
        self.delay_ms = delay_ms
        self.md5 = md5
        self.permissions = permissions
        self.store = Store(clock=clock, rate_limit=rate_limit, data_limit=data_limit)
        self.sessions = Sessions(self.store, md5=md5)
        self.multiparts = Multiparts(self.store)
        self.faults = Faults()
        self.requests: Counter[str] = Counter()
        for bucket in buckets:
            self.store.create_bucket(names.check_bucket(bucket))

    @property
    def writes(self) -> list[tuple[str, str, int]]:
        """(bucket, key, generation) of every object that was written, in order."""
        return self.store.writes

    def put(self, bucket: str, key: str, data: bytes, **fields: Any) -> Blob:
        """Write an object without going over the wire; `fields` as in the JSON resource (contentType, metadata, ...)."""
        hashes = Hashes.start(md5=self.md5)
        hashes.add(data)
        content = Content(data, hashes.crc32c, hashes.md5, writable(fields))
        return self.store.put(bucket, names.check_object(key), content, Preconditions())

    def data(self, bucket: str, key: str) -> bytes:
        return self.store.get(bucket, key).data

    def resource(self, bucket: str, key: str) -> dict[str, Any]:
        return blob_resource(self.store.get(bucket, key), self.url)

    def keys(self, bucket: str) -> list[str]:
        return list(self.store.bucket(bucket).names())

    async def handle(self, request: Request) -> Response:
        if request.path.startswith("/_"):
            return await self._control(request)
        try:
            call = understand(request)
        except GcsError as error:
            return error.response()
        self.requests[call.operation] += 1
        if self.delay_ms:
            await asyncio.sleep(self.delay_ms / 1000)
        fault = await self.faults.take(call, self.sessions)
        if fault is not None:
            return await meet(fault, call, self.sessions, self._perform)
        return await self._perform(call)

    async def _perform(self, call: Call) -> Response:
        try:
            self._authorize(call)
            return await self._operate(call)
        except GcsError as error:
            if call.operation.startswith("xml."):
                return error.xml_response()
            return error.response(plain=call.operation in _PLAIN)

    def _authorize(self, call: Call) -> None:
        """A session URI is its own authorization."""
        if self.require_token is None or call.upload_id:
            return
        if call.request.headers.get("authorization", "") != f"Bearer {self.require_token}":
            raise unauthorized()

    async def _operate(self, call: Call) -> Response:
        store, md5 = self.store, self.md5
        match call.operation:
            case "get.media":
                return reads.media(store, call)
            case "get":
                return self._object(call, reads.find(store, call))
            case "insert.media":
                return self._object(call, await uploads.insert_media(store, call, md5=md5))
            case "insert.multipart":
                return self._object(call, await uploads.insert_multipart(store, call, md5=md5))
            case "insert.resumable.begin":
                return self._begun(call, await self.sessions.begin(call))
            case "insert.resumable.chunk":
                return self._progress(call, await self.sessions.chunk(call))
            case "insert.resumable.query":
                return self._progress(call, self.sessions.query(call))
            case "insert.resumable.cancel":
                self.sessions.cancel(call.upload_id)
                return Response(499)
            case "list":
                return self._list(call)
            case "patch":
                return self._object(call, await changes.patch(store, call))
            case "update":
                return self._object(call, await changes.update(store, call))
            case "delete":
                changes.delete(store, call)
                return Response(204)
            case "compose":
                return self._object(call, await changes.compose(store, call))
            case "copy":
                return self._object(call, await changes.copy(store, call))
            case "rewrite":
                blob = await changes.copy(store, call)
                return _json(call, changes.rewritten(blob, blob_resource(blob, self._base(call))))
            case "move":
                return self._object(call, changes.move(store, call))
        if call.operation.startswith("xml."):
            return await self._operate_on_parts(call)
        return await self._operate_on_buckets(call)

    async def _operate_on_parts(self, call: Call) -> Response:
        match call.operation:
            case "xml.begin":
                return self.multiparts.begin(call)
            case "xml.part":
                return await self.multiparts.part(call)
            case "xml.complete":
                return await self.multiparts.complete(call)
            case _:
                return self.multiparts.abort(call)

    async def _operate_on_buckets(self, call: Call) -> Response:
        match call.operation:
            case "buckets.insert":
                name = names.check_bucket((await call.json()).get("name"))
                return _json(call, bucket_resource(self.store.create_bucket(name), self._base(call)))
            case "buckets.get":
                return _json(call, bucket_resource(self.store.bucket(call.bucket), self._base(call)))
            case "buckets.testIamPermissions":
                self.store.bucket(call.bucket)
                asked = urllib.parse.parse_qs(call.request.query_string).get("permissions", [])
                granted = [permission for permission in asked if self.permissions is None or permission in self.permissions]
                return _json(
                    call, {"kind": "storage#testIamPermissionsResponse", **({"permissions": granted} if granted else {})}
                )
            case "buckets.delete":
                self.store.delete_bucket(call.bucket)
                return Response(204)
            case _:
                prefix = call.query.get("prefix", "")
                found = [bucket for name, bucket in sorted(self.store.buckets.items()) if name.startswith(prefix)]
                items = [bucket_resource(bucket, self._base(call)) for bucket in found]
                return _json(call, {"kind": "storage#buckets", "items": items})

    def _base(self, call: Call) -> str:
        """The address under which the client knows us, for the links that it will follow."""
        host = call.request.headers.get("host")
        return f"http://{host}" if host else self.url

    def _object(self, call: Call, blob: Blob) -> Response:
        resource = blob_resource(blob, self._base(call))
        return _json(call, resource, ("ETag", resource["etag"]))

    def _list(self, call: Call) -> Response:
        listed = listing.page(self.store.bucket(call.bucket), listing.Question.of(call.query))
        base = self._base(call)
        body: dict[str, Any] = {"kind": "storage#objects"}
        if listed.next_token is not None:
            body["nextPageToken"] = listed.next_token
        if listed.prefixes:
            body["prefixes"] = listed.prefixes
        if listed.blobs:  # an empty page has no items at all
            body["items"] = [blob_resource(blob, base) for blob in listed.blobs]
        return _json(call, body)

    def _begun(self, call: Call, upload_id: str) -> Response:
        location = f"{self._base(call)}{call.request.path}?{call.request.query_string}&upload_id={upload_id}"
        return Response(200, [("Location", location), ("X-GUploader-UploadID", upload_id)])

    def _progress(self, call: Call, session: Session) -> Response:
        if session.done is not None:
            return self._object(call, session.done)
        headers = [("Range", f"bytes=0-{session.committed - 1}")] if session.committed else []
        if call.request.headers.get("x-guploader-no-308", "").lower() == "yes":
            return Response(200, [*headers, ("X-HTTP-Status-Code-Override", "308")])
        return Response(308, headers)

    async def _control(self, request: Request) -> Response:
        try:
            return _control_json(await control(self, request))
        except NoPageError:
            return no_page().response()
        except (TypeError, ValueError) as error:
            return GcsError(400, "invalid", f"Not a fault: {error}").response()

    def stats(self) -> dict[str, Any]:
        """Requests per operation, writes per object, and what is there now."""
        writes: dict[str, Counter[str]] = {}
        for bucket, key, _ in self.writes:
            writes.setdefault(bucket, Counter())[key] += 1
        return {
            "requests": dict(self.requests),
            "writes": writes,
            "objects": {name: len(bucket.blobs) for name, bucket in self.store.buckets.items()},
            "bytes": self.store.stored_bytes,
            "sessions": len(self.sessions),
            "multiparts": len(self.multiparts),
            "failures": [repr(error) for error in self.failures],
        }


def _json(call: Call, body: dict[str, Any], *headers: tuple[str, str]) -> Response:
    return Response(200, [JSON, *headers], json.dumps(select(body, call.query.get("fields"))).encode())


def _control_json(body: dict[str, Any]) -> Response:
    return Response(200, [JSON], json.dumps(body).encode())
