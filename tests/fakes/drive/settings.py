"""What a test may turn: the limits that the service has, and the clock by which days and minutes are counted.

The numbers: https://developers.google.com/workspace/drive/api/guides/limits and https://support.google.com/a/answer/172541.
Limits that depend on time are off unless asked for, so that no test fails because its machine is fast.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 24 * 3600
ME = "me@example.com"


class Clock:
    """Seconds since 1970, which a test can move."""

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._offset = 0.0

    def __call__(self) -> float:
        return self._source() + self._offset

    def advance(self, seconds: float) -> None:
        self._offset += seconds

    def set(self, now: float) -> None:
        """It goes on from here."""
        self._offset = now - self._source()


@dataclass(slots=True)
class Settings:
    upload_limit: int | None = None
    """Bytes that a user may upload in 24 hours; the service has 750 GB. What is under way when it is reached still ends well."""
    user_units: int | None = None
    """Quota units a minute for one user; the service has 325,000."""
    project_units: int | None = None
    """Quota units a minute for all; the service has 1,000,000."""
    storage_limit: int | None = None
    """Bytes that one user's My Drive holds."""
    export_limit: int = 10 * 1024 * 1024
    children_limit: int = 500_000
    """Items directly in one folder."""
    items_limit: int = 500_000
    """Items in one shared drive."""
    depth_limit: int = 100
    page_limit: int | None = None
    """At most so many items on a page, whatever the client asked for: the service may return fewer too."""
    incomplete_search: bool = False
    """Say in every listing that it may lack files."""
    search_lag: float = 0
    """Seconds in which a new file is not found by searches yet, though it can be read by its id."""
    groups_answered: int | None = None
    """A search in several folders finds something in the first so many of them only, and calls itself complete all the same. The
    service has done so on and off since 2019 (https://issuetracker.google.com/issues/149522397)."""
    require_token: str | None = None
    """Without this bearer token, or one from /token or /_users, every call gets 401."""
    token_seconds: float = 3599
    delay_ms: float = 0
    """Time that every request takes at least."""
    discard_above: int | None = None
    """Bytes of files larger than this are counted and hashed, but not kept: for very large uploads."""
    spool_above: int | None = None
    """Bytes of uploads larger than this are kept in a temporary file: for very large ones that are to be read back."""

    def change(self, body: dict[str, Any]) -> None:
        known = {field.name for field in fields(self)}
        for name, value in body.items():
            if name not in known:
                raise ValueError(f"no such setting: {name}")
            setattr(self, name, value)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
