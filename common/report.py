"""The report: the message on the error topic that says why a task was given up, and carries the task itself unharmed.

Encode and decode live here together. The original payload is kept as it was sent, so that `brigade errors redrive` can send
exactly the same bytes again; it is only cut off where keeping it could make the report too large for any queue.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import Malformed
from common.message_fields import count, moment, opened

if TYPE_CHECKING:
    from datetime import datetime

SCHEMA = 1
LARGEST_PAYLOAD = 1024 * 1024
"""Bytes. A task has at most 64 KiB; a foreign message may have Pub/Sub's 10 MB, and written as JSON it would grow beyond them."""
LONGEST_MESSAGE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`category` is a value of common.errors.Category, or of a newer one. `route` and `key` are None where there is no task."""

    category: str
    message: str
    attempts: int
    worker: str
    queued: datetime | None
    """When the publisher made the task; None where there is no task."""
    failed: datetime
    route: str | None
    key: str | None
    payload: bytes
    truncated: bool = False
    """The payload was too large to keep and is only its beginning: it cannot be sent again."""


def encode(report: Report) -> bytes:
    """The report as JSON: the payload as text where it is UTF-8, as base64 where it is not."""
    payload = report.payload[:LARGEST_PAYLOAD]
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "category": str(report.category),
        "message": report.message[:LONGEST_MESSAGE],
        "attempts": report.attempts,
        "worker": report.worker,
        "queued": None if report.queued is None else report.queued.isoformat(),
        "failed": report.failed.isoformat(),
        "route": report.route,
        "key": report.key,
    }
    try:
        fields["payload"] = payload.decode("utf-8")
    except UnicodeDecodeError:
        fields["payload_b64"] = base64.b64encode(payload).decode("ascii")
    if report.truncated or len(report.payload) > LARGEST_PAYLOAD:
        fields["truncated"] = True
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def subject(message: bytes) -> bytes:
    """12 bytes for what a report is about: the object of a route, or else the message that was no task. Of two reports about one
    subject the newer says it all.
    """
    try:
        report = decode(message)
    except Malformed:
        about: list[object] = ["not a report", message.decode("latin-1")]
    else:
        known = report.route is not None and report.key is not None
        about = [report.route, report.key] if known else ["no task", report.payload.decode("latin-1")]
    return hashlib.sha1(json.dumps(about).encode("ascii"), usedforsecurity=False).digest()[:12]


def decode(message: bytes) -> Report:
    """The report that `encode` wrote. Raises Malformed, naming the first thing that is wrong, for anything else."""
    fields = opened(message, kind="report", schema=SCHEMA, remedy="upgrade it, then try again")
    return Report(
        category=_text(fields, "category"),
        message=_text(fields, "message"),
        attempts=count(fields, "attempts"),
        worker=_text(fields, "worker"),
        queued=None if fields.get("queued") is None else moment("queued", _text(fields, "queued")),
        failed=moment("failed", _text(fields, "failed")),
        route=None if fields.get("route") is None else _text(fields, "route"),
        key=None if fields.get("key") is None else _text(fields, "key"),
        payload=_payload(fields),
        truncated=fields.get("truncated") is True,
    )


def _payload(fields: dict[str, object]) -> bytes:
    if "payload" in fields:
        try:
            return _text(fields, "payload").encode("utf-8")
        except UnicodeEncodeError as error:
            raise Malformed("field 'payload' is not text that UTF-8 can hold") from error
    try:
        return base64.b64decode(_text(fields, "payload_b64"), validate=True)
    except binascii.Error as error:
        raise Malformed(f"field 'payload_b64' is not base64: {error}") from error


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise Malformed(f"field {name!r} must be a string")
    return value
