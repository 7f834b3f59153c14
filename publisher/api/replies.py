"""What the API answers with: JSON, whatever happens, and errors that tell the caller what to do instead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"


class ApiError(Exception):
    """Ends a request with `status` and {"error": message}. The message is for the caller and holds nothing that is not theirs."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Lone surrogates in keys leave as escapes, so the text is ASCII whatever the keys are."""
    return Response(json.dumps(value) + "\n", status=status, headers=dict(headers or {}), content_type=JSON)


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return reply({"error": message}, status, headers)
