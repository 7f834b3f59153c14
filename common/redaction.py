"""Nothing secret and nothing that could forge a line gets into a log, whoever wrote the call.

Secrets arrive in texts that others made: a signed URL in an error message, a connection string in a traceback, a header in
a dump. Object keys arrive from strangers: they may hold line breaks, terminal escapes and right-to-left marks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretBytes, SecretStr

if TYPE_CHECKING:
    from collections.abc import MutableMapping

MASK = "***"
LONGEST_TEXT = 2000
"""Characters. A key has at most 1,024; what is longer was not meant for a line."""
LONGEST_TRACEBACK = 20_000
DEEPEST = 4

_SECRET_FIELDS = re.compile(
    r"(?:.*[_-])?(?:authorization|password|passwd|secret|secret_access_key|session_token|security[_-]token|access_token"
    r"|refresh_token|private_key|sa_key_b64|upload_token|signature|credentials?)",
    re.IGNORECASE,
)
_SECRETS = re.compile(
    r"(?P<policy>[?&]Policy=)[^\s&\"'<>,;]+"
    r"|(?P<query>\b(?:X-Amz-(?:Signature|Credential|Security-Token)|X-Goog-(?:Signature|Credential)|Signature|Key-Pair-Id"
    r"|upload_id|access_token|id_token|refresh_token|assertion|client_secret)=)[^\s&\"'<>,;]+"
    r"|(?P<header>\b(?:Proxy-)?Authorization\b['\"]?\s*[:=,]\s*['\"]?)(?:(?:Basic|Bearer|AWS4-HMAC-SHA256)\s+)?[^\s'\",]+"
    r"(?:(?<=Credential)[^'\"\r\n]*)?"
    r"|(?P<token>\bX-(?:Amz|Goog)-(?:Security-Token|Signature|Credential)\b['\"]?\s*:\s*['\"]?)[^\s'\",]+"
    r"|(?P<bearer>\bBearer\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<address>\b[a-z][a-z0-9+.-]*://)[^\s/@\"']*:[^\s/@\"']*(?=@)"
    r"|(?P<json>\"(?:private_key|access_token|refresh_token|client_secret)\"\s*:\s*)\"(?:[^\"\\]|\\.)*\""
    r"|(?P<pem>-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.IGNORECASE,
)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_UNPRINTABLE_IN_TRACEBACK = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def redact(text: str) -> str:
    """The text with every secret that is recognised in it replaced by asterisks."""
    return _SECRETS.sub(_masked, text)


def printable(text: str) -> str:
    """One line that a terminal shows as it is: control and direction characters escaped, the end cut off where it is too long."""
    if text.isascii() and text.isprintable() and len(text) <= LONGEST_TEXT:
        return text
    return _cut(_UNPRINTABLE.sub(_escaped, text[: LONGEST_TEXT + 1]), len(text), LONGEST_TEXT)


def clean(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor: every field of a log line, redacted and printable."""
    for name, value in event.items():
        event[name] = _field(name, value, 0, traceback=name in ("exception", "stack"))
    return event


def _field(name: str, value: Any, depth: int, *, traceback: bool = False) -> Any:
    """A number is a count, whatever its name; anything else below the name of a secret is one."""
    if isinstance(value, (bool, int, float)) or not _SECRET_FIELDS.fullmatch(name):
        return _value(value, depth, traceback=traceback)
    return MASK


def _value(value: Any, depth: int, *, traceback: bool = False) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (SecretStr, SecretBytes)):
        return MASK
    if isinstance(value, bytes):
        value = value[: LONGEST_TEXT + 1].decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping) and depth < DEEPEST:
        return {printable(str(name)): _field(str(name), item, depth + 1) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < DEEPEST:
        return [_value(item, depth + 1) for item in value]
    text = redact(str(value))
    if traceback:
        return _cut(_UNPRINTABLE_IN_TRACEBACK.sub(_escaped, text[:LONGEST_TRACEBACK]), len(text), LONGEST_TRACEBACK)
    return printable(text)


def _cut(text: str, length: int, longest: int) -> str:
    return text if length <= longest else f"{text[:longest]}… ({length} characters)"


def _escaped(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def _masked(match: re.Match[str]) -> str:
    return next((text for text in match.groupdict().values() if text is not None), "") + MASK
