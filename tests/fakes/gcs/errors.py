"""The errors of the JSON API, with the words and reasons that the real service uses: clients and people read both.

Shape and texts: https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from tests.fakes.http import Response

_XML_CODES = {"notFound": "NoSuchBucket", "authError": "AuthenticationRequired", "rateLimitExceeded": "SlowDown"}
JSON = ("Content-Type", "application/json; charset=UTF-8")
TEXT = ("Content-Type", "text/plain; charset=utf-8")


class GcsError(Exception):
    """An answer that is not a success. `messages` are several where several checks failed; the first is the headline."""

    def __init__(self, status: int, reason: str, *messages: str, plain: bool = False) -> None:
        super().__init__(status, reason, *messages)
        self.status = status
        self.reason = reason
        self.messages = messages
        self.plain = plain
        self.headers: list[tuple[str, str]] = []

    def response(self, *, plain: bool = False) -> Response:
        """`plain`: media requests and upload sessions answer in plain text, not JSON."""
        if self.status == 304:
            return Response(304, self.headers)
        if plain or self.plain:
            return Response(self.status, [TEXT, *self.headers], "\n".join(self.messages).encode())
        errors = [{"message": message, "domain": "global", "reason": self.reason} for message in self.messages]
        body = {"error": {"code": self.status, "message": self.messages[0], "errors": errors}}
        return Response(self.status, [JSON, *self.headers], json.dumps(body).encode())

    def xml_response(self) -> Response:
        """As the XML API says it: https://cloud.google.com/storage/docs/xml-api/reference-status"""
        code = _XML_CODES.get(self.reason, self.reason)
        error = f"<Error><Code>{code}</Code><Message>{escape(self.messages[0])}</Message></Error>"
        text = f"<?xml version='1.0' encoding='UTF-8'?>{error}"
        return Response(self.status, [("Content-Type", "application/xml; charset=UTF-8"), *self.headers], text.encode())


def no_object(bucket: str, name: str) -> GcsError:
    return GcsError(404, "notFound", f"No such object: {bucket}/{name}")


def no_bucket() -> GcsError:
    return GcsError(404, "notFound", "The specified bucket does not exist.")


def no_page() -> GcsError:
    return GcsError(404, "notFound", "Not Found", plain=True)


def precondition_failed() -> GcsError:
    return GcsError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")


def not_modified() -> GcsError:
    return GcsError(304, "notModified", "Not Modified")


def invalid(*messages: str) -> GcsError:
    return GcsError(400, "invalid", *messages)


def unauthorized() -> GcsError:
    error = GcsError(401, "authError", "Invalid Credentials")
    error.headers.append(("WWW-Authenticate", 'Bearer realm="https://accounts.google.com/", error="invalid_token"'))
    return error


def rate_limited(bucket: str, name: str) -> GcsError:
    message = (
        f"The object {bucket}/{name} exceeded the rate limit for object mutation operations (create, update, and delete). "
        "Please reduce your request rate."
    )
    return GcsError(429, "rateLimitExceeded", message)
