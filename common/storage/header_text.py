"""Text in the headers of HTTP, which carry ASCII: how S3 has metadata in other scripts, and how a file's name is told.

- Metadata: RFC 2047 (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html). S3 shows what it was given, so a
  value may look like that form and be none: an unknown charset, broken base64, bytes that are no text. It is then what it says.
- Content-Disposition: RFC 6266, with the name of a file as RFC 8187 writes it. Browsers do not decode RFC 2047 there.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from urllib.parse import quote

_WORDS = re.compile(r"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=(?:\s+=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=)*").fullmatch
_WORD = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?\s]*)\?=")
_PARAMETER = re.compile(r'\s*;\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)')
_TYPE = re.compile(r"\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNENCODED = "!#$&+-.^_`|~"
"""Beside letters and digits: https://www.rfc-editor.org/rfc/rfc8187#section-3.2.1"""
CONTROL = re.compile(r"[\x00-\x1f\x7f]").search
_CHUNKED = "aws-chunked"


def is_plain(value: str) -> bool:
    """Whether a header carries the value as it is."""
    return value.isascii() and value.isprintable()


def is_unicode(text: str) -> bool:
    """Whether the text has an encoding at all: half a surrogate pair, as JSON can say it, has none."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encoded(value: str) -> str:
    """The value of an entry of metadata as a header carries it: what `decoded` gives back."""
    if value and is_plain(value) and value == value.strip() and not (value.startswith("=?") and decoded(value) != value):
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def decoded(value: str) -> str:
    """The text that a header carries; the header itself where it is in no form that can be decoded cleanly."""
    if not value.startswith("=?") or not _WORDS(value):
        return value if value.isascii() else _as_utf8(value)
    try:
        return _joined(_WORD.findall(value))
    except (binascii.Error, UnicodeError, LookupError, ValueError):
        return value


def disposition(value: str) -> str | None:
    """The value of a Content-Disposition as a header carries it: parameters in other scripts as RFC 8187 writes them, and for old
    clients without the letters that are not ASCII. None for what cannot be carried.
    """
    if is_plain(value):
        return value
    kind = _TYPE.match(value)
    if CONTROL(value) or not is_unicode(value) or kind is None:
        return None
    place, parameters = kind.end(), []
    while found := _PARAMETER.match(value, place):
        parameters.append((found[1], found[2]))
        place = found.end()
    if value[place:].strip(" ;"):
        return None
    extended = {name.lower() for name, _ in parameters if name.endswith("*")}
    said = [kind[0].strip()]
    for name, text in parameters:
        if name.endswith("*") and not is_plain(text):
            return None
        said += _parameter(name, text, told=f"{name.lower()}*" in extended)
    return "; ".join(said)


def encoding(value: str) -> str | None:
    """A Content-Encoding without `aws-chunked`, which is how an upload was framed that is long over; None where nothing is left
    (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html: S3 takes it away, others keep it).
    """
    if _CHUNKED not in value.lower():
        return value
    left = [token.strip() for token in value.split(",") if token.strip().lower() not in ("", _CHUNKED)]
    return ", ".join(left) or None


def _parameter(name: str, text: str, *, told: bool) -> list[str]:
    if is_plain(text):
        return [f"{name}={text}"]
    bare = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text.strip()
    fallback = "".join(letter if letter.isascii() else "_" for letter in bare).replace("\\", "\\\\").replace('"', '\\"')
    plain = f'{name}="{fallback}"'
    return [plain] if told else [plain, f"{name}*=UTF-8''{quote(bare, safe=_UNENCODED)}"]


def _joined(words: list[tuple[str, str, str]]) -> str:
    """A letter may be cut between two words of one charset. Raises UnicodeError, LookupError or ValueError unless it is text."""
    pieces: list[tuple[str, bytes]] = []
    for charset, form, text in words:
        name = charset.partition("*")[0].lower()
        raw = base64.b64decode(text, validate=True) if form in "bB" else quopri.decodestring(text.replace("_", " "), header=False)
        if pieces and pieces[-1][0] == name:
            pieces[-1] = name, pieces[-1][1] + raw
        else:
            pieces.append((name, raw))
    return "".join(raw.decode(charset) for charset, raw in pieces)


def _as_utf8(value: str) -> str:
    """Some services send UTF-8 as it is, which the transport has read as Latin-1."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
