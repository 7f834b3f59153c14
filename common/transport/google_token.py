"""The file with a person's consent to use their Drive: what `brigade auth gdrive` writes and every process reads.

It is the JSON of google-auth's `Credentials.to_json`, so that files of other programs can be used. It holds a refresh token,
which is as good as a password: mode 0600, and replaced whole or not at all.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import Unauthenticated

DRIVE_SCOPE = "https://www.googleapis.com/auth/drive"
DRIVE_READ_SCOPE = "https://www.googleapis.com/auth/drive.readonly"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

_NEEDED = ("refresh_token", "client_id", "client_secret")
_LARGEST = 64 * 1024
_REMEDY = "sign in: brigade auth gdrive --credentials credentials.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file holds. `expiry` is naive UTC, as google-auth wants it."""

    refresh_token: str = field(repr=False)
    client_id: str
    client_secret: str = field(repr=False)
    token: str | None = field(repr=False, default=None)
    token_uri: str = TOKEN_URI
    scopes: tuple[str, ...] = ()
    expiry: datetime | None = None


def read(path: Path, *, write: bool) -> Kept:
    """Raises Unauthenticated, saying what to do, for a file that is no token, or one that was not given what is needed.

    With less than the whole Drive (scope drive.file) Google shows only what this program made itself: a source would look empty,
    without any error. So that is refused here.
    """
    content = _content(path)
    lacking = [name for name in _NEEDED if not isinstance(content.get(name), str) or not content[name]]
    if lacking:
        raise Unauthenticated(f"GDRIVE_TOKEN: {path} lacks {', '.join(lacking)}: {_REMEDY}")
    scopes = _scopes(content.get("scopes"))
    if scopes and not scopes & ({DRIVE_SCOPE} if write else {DRIVE_SCOPE, DRIVE_READ_SCOPE}):
        what = "written to" if write else "read"
        raise Unauthenticated(f"GDRIVE_TOKEN: {path} was not given the scope with which all of a Drive can be {what}: {_REMEDY}")
    return Kept(
        refresh_token=content["refresh_token"],
        client_id=content["client_id"],
        client_secret=content["client_secret"],
        token=content.get("token"),
        token_uri=str(content.get("token_uri") or TOKEN_URI),
        scopes=tuple(sorted(scopes)),
        expiry=_moment(content.get("expiry")),
    )


def write(path: Path, text: str) -> None:
    """Replace the file, whole, readable by its owner alone. Raises OSError."""
    path = path.resolve()  # what a link leads to, not the link
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _content(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_LARGEST))
    except OSError as error:
        raise Unauthenticated(f"GDRIVE_TOKEN: {path} cannot be read ({error.strerror}): {_REMEDY}") from None
    except ValueError:
        raise Unauthenticated(f"GDRIVE_TOKEN: {path} is not JSON: {_REMEDY}") from None
    if not isinstance(content, dict):
        raise Unauthenticated(f"GDRIVE_TOKEN: {path} is not a token file: {_REMEDY}")
    return content


def _scopes(value: Any) -> set[str]:
    words = value.split() if isinstance(value, str) else value
    return {str(word) for word in words} if isinstance(words, list) else set()


def _moment(value: Any) -> datetime | None:
    """When the access token runs out; one that nobody can read has run out."""
    try:
        moment = datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        moment = None
    if moment is None:
        return datetime(1970, 1, 1)  # noqa: DTZ001 - google-auth compares naive times
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
