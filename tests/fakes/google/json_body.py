"""What Google's services take for JSON in a request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def json_object(data: bytes, error: Callable[[int, str, str], Exception]) -> dict[str, Any]:
    """An object; an empty body is an empty object. `error`: the service's, which says status, reason and message."""
    try:
        body = json.loads(data) if data.strip() else {}
    except ValueError:
        raise error(400, "parseError", "Parse Error") from None
    if not isinstance(body, dict):
        raise error(400, "parseError", "Parse Error")
    return body
