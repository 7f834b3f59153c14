"""Basic auth, compared so that the time of the answer tells nothing about what was nearly right."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from common.errors import SettingsError

if TYPE_CHECKING:
    from common.config import ApiSettings

CHALLENGE = 'Basic realm="Bucket Brigade", charset="UTF-8"'


class BasicAuth:
    """Holds digests only. Refuses an empty user name or password: it would stand open, or lock everyone out."""

    def __init__(self, settings: ApiSettings) -> None:
        password = settings.password.get_secret_value()
        faults = [
            f"{name} is empty: the HTTP API does not start without it"
            for name, value in (("SYSTEM_ADMIN_USERNAME", settings.username), ("SYSTEM_ADMIN_PASSWORD", password))
            if not value
        ]
        if faults:
            raise SettingsError(faults)
        self._username = _digest(settings.username)
        self._password = _digest(password)

    def admits(self, header: str | None) -> bool:
        """Whether this Authorization header names our user and password. Both are always compared, in constant time."""
        username, password = _parse(header)
        right_username = hmac.compare_digest(_digest(username), self._username)
        right_password = hmac.compare_digest(_digest(password), self._password)
        return right_username & right_password


def _parse(header: str | None) -> tuple[str, str]:
    """User and password as sent; empty ones, which nobody has, for anything that is not Basic auth."""
    scheme, _, rest = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        pair = base64.b64decode(rest.strip(), validate=True)
    except ValueError:
        return "", ""
    username, _, password = _text(pair).partition(":")
    return username, password


def _text(raw: bytes) -> str:
    """UTF-8 as the challenge asks for; Latin-1 is what clients send that do not read the challenge (Python's requests)."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
