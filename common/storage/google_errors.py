"""How Google's services say that something failed: what Cloud Storage and Drive have in common."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from common.errors import (
    Forbidden,
    PreconditionFailed,
    RateLimited,
    SourceMissing,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UploadLost,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.errors import ObjectError

STATUSES: Mapping[int, type[ObjectError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: SourceMissing,
    408: Unavailable,
    410: UploadLost,
    412: PreconditionFailed,
    413: TooLarge,
    429: RateLimited,
    499: UploadLost,
}
"""Where the answer gives no reason that says more."""


def explanation(body: bytes) -> tuple[str, str]:
    """(reason, message) of an error body; a body that is not Google's JSON gives its first words."""
    try:
        error = json.loads(body)["error"]
        details = error.get("errors") or [{}]
        return str(details[0].get("reason", "")), str(error.get("message", ""))[:300]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "", body[:100].decode("utf-8", "replace").strip()
