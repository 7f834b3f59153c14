"""Which operation a request asks for. The names are those that faults, counters and tests use.

buckets.list  buckets.insert  buckets.get  buckets.delete  buckets.testIamPermissions
list  get  get.media  patch  update  delete  compose  rewrite  copy  move
insert.media  insert.multipart  insert.resumable.begin  insert.resumable.chunk  insert.resumable.query  insert.resumable.cancel
xml.begin  xml.part  xml.complete  xml.abort
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.gcs import names
from tests.fakes.gcs.errors import GcsError, no_page
from tests.fakes.google.json_body import json_object

if TYPE_CHECKING:
    from tests.fakes.http import Request

_PATH = re.compile(r"/(?P<service>upload|download|resumable/upload)?/?storage/v1/(?P<rest>.*)")
_XML_PATH = re.compile(r"/(?P<bucket>[^/]+)/(?P<name>.+)")
_ON_XML_UPLOAD = {"PUT": "xml.part", "POST": "xml.complete", "DELETE": "xml.abort"}
_ON_BUCKETS = {"GET": "buckets.list", "POST": "buckets.insert"}
_ON_BUCKET = {"GET": "buckets.get", "DELETE": "buckets.delete"}
_ON_OBJECT = {"GET": "get", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_UPLOADS = {"media": "insert.media", "multipart": "insert.multipart", "resumable": "insert.resumable.begin"}


@dataclass(slots=True)
class Call:
    """A request with its meaning. `key` is None where the body alone says it; `source` is the other object of a copy."""

    request: Request
    operation: str
    query: dict[str, str]
    bucket: str = ""
    key: str | None = None
    source: tuple[str, str] = ("", "")
    keep_bytes: int | None = None
    """A planned fault: of this chunk, commit at most so many bytes."""
    notes: list[str] = field(default_factory=list)
    """What a fault wants to hear of: 'committed less'."""

    @property
    def upload_id(self) -> str:
        return self.query.get("upload_id", "")

    async def json(self) -> dict[str, Any]:
        return json_object(await self.request.body.read(), GcsError)


def understand(request: Request) -> Call:
    """Raises GcsError 404 for a path or method that the API does not have."""
    query = request.query
    match = _PATH.fullmatch(request.path)
    if match is None:
        return _xml(request, query)
    parts = match["rest"].split("/")
    call = Call(request, "", query)
    if len(parts) > 1:
        call.bucket = names.decode(parts[1])
    call.operation = _operation(call, parts, match["service"] or "")
    return call


def _xml(request: Request, query: dict[str, str]) -> Call:
    """Of the XML API only the multipart uploads are here."""
    match = _XML_PATH.fullmatch(request.path)
    if match is None:
        raise no_page()
    call = Call(request, "", query, names.decode(match["bucket"]), names.decode(match["name"]))
    if "uploads" in query and request.method == "POST":
        call.operation = "xml.begin"
    elif "uploadId" in query:
        call.operation = _choose(_ON_XML_UPLOAD, request.method)
    else:
        raise no_page()
    return call


def _operation(call: Call, parts: list[str], service: str) -> str:
    method = call.request.method
    match parts:
        case ["b"]:
            return _choose(_ON_BUCKETS, method)
        case ["b", _]:
            return _choose(_ON_BUCKET, method)
        case ["b", _, "o"]:
            return _on_objects(call, method, service)
        case ["b", _, "iam", "testPermissions"] if method == "GET":
            return "buckets.testIamPermissions"
        case ["b", _, "o", name]:
            call.key = names.decode(name)
            media = method == "GET" and (service == "download" or call.query.get("alt") == "media")
            return "get.media" if media else _choose(_ON_OBJECT, method)
        case ["b", _, "o", name, "compose"] if method == "POST":
            call.key = names.decode(name)
            return "compose"
        case ["b", _, "o", name, "moveTo", "o", target] if method == "POST":
            call.source = (call.bucket, names.decode(name))
            call.key = names.decode(target)
            return "move"
        case ["b", _, "o", name, ("rewriteTo" | "copyTo") as verb, "b", bucket, "o", target] if method == "POST":
            call.source = (call.bucket, names.decode(name))
            call.bucket, call.key = names.decode(bucket), names.decode(target)
            return "rewrite" if verb == "rewriteTo" else "copy"
    raise no_page()


def _on_objects(call: Call, method: str, service: str) -> str:
    if method == "GET" and not service:
        return "list"
    if not service.endswith("upload"):
        raise GcsError(400, "wrongUrlForUpload", "Upload requests must be uploaded to */upload/*. Re-send the upload request.")
    if call.upload_id:
        return _on_session(call, method)
    call.key = call.query.get("name")
    if method != "POST":
        raise no_page()
    try:
        return _UPLOADS[call.query.get("uploadType", "")]
    except KeyError:
        raise GcsError(400, "invalidParameter", "Invalid upload type.") from None


def _on_session(call: Call, method: str) -> str:
    if method == "DELETE":
        return "insert.resumable.cancel"
    if method not in {"PUT", "POST"}:  # some clients send chunks with POST
        raise no_page()
    query = call.request.headers.get("content-range", "").startswith("bytes */")
    return "insert.resumable.query" if query else "insert.resumable.chunk"


def _choose(operations: dict[str, str], method: str) -> str:
    try:
        return operations[method]
    except KeyError:
        raise no_page() from None
