"""Keys and the names of files: a bijection between the segments of a key and what Drive calls a file.

A name on Drive is any text: it may hold "/" and line breaks, be "..", and be there twice in one folder. A segment of a key is any
text without "/", and may be empty, which no file's name can be. What is an ordinary name on both sides is itself on both
sides. For the rest there is ESCAPE, a character that hardly anybody uses:

name on Drive      segment of the key      because
a/b                a␛2Fb                   "/" separates segments; likewise control characters, as two hexadecimal digits
..  and  .         ␛2E␛2E  and  ␛2E        they would lead out of a directory
␛                  ␛␛                      it is the escape character
(nothing)          ␛_
␛=..               ..                      a key from elsewhere that no name on Drive is written as; likewise ".", "" and those
␛=                 (nothing)               with control characters or a stray ESCAPE: the name is "␛=" and the segment, escaped

The second half makes it a bijection: whatever key arrives from S3 is listed under exactly that key, and whatever name Drive
has comes back as exactly that name when the key is written to another Drive.

Of several files of one name in one folder, the oldest keeps the plain segment; the others get "␛~" and their id behind it, which
no name is written as. So a second photo of the same name disturbs the key of neither, until the oldest is taken away.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from common.errors import InvalidName

if TYPE_CHECKING:
    from collections.abc import Iterable

ESCAPE = "\u241b"
LONGEST_KEY = 1024
"""Bytes, as of S3 and GCS: tasks, records and the API are made for keys of that length."""

_FOREIGN = ESCAPE + "="
_TWIN = ESCAPE + "~"
_NOTHING = ESCAPE + "_"
_SPECIAL = re.compile(f"[/\\x00-\\x1f\\x7f{ESCAPE}]")
_ESCAPED = re.compile(f"{ESCAPE}(?:{ESCAPE}|2F|7F|[01][0-9A-F])")
_DOTS = {".": ESCAPE + "2E", "..": (ESCAPE + "2E") * 2}
_WHOLE = {**_DOTS, "": _NOTHING}
_UNWHOLE = {segment: name for name, segment in _WHOLE.items()}


def segment(name: str) -> str:
    """The segment of a key that stands for a file or folder of this name."""
    foreign = _foreign(name)
    return _plain(name) if foreign is None else foreign


def name(segment: str) -> str:
    """The name of the file or folder that a segment of a key stands for: what `segment` makes this segment of."""
    if _is_foreign(segment):
        return _FOREIGN + _escaped(segment)
    return _regular(segment) or ""


def apart(segment: str) -> tuple[str, str | None]:
    """The plain segment, and the id of the file that is meant where `told_apart` added it; None where the oldest is meant."""
    plain, mark, file_id = segment.rpartition(_TWIN)
    escapes = len(plain) - len(plain.rstrip(ESCAPE))  # an odd number: the mark's own one is the second half of an escaped ESCAPE
    return (plain, file_id) if mark and file_id and escapes % 2 == 0 else (segment, None)


def told_apart(entries: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """The segment of each file of one folder by its id. `entries` are (name, createdTime, id). Folders and files do not get in
    each other's way: give them apart.
    """
    segments: dict[str, str] = {}
    taken: set[str] = set()
    for called, _, file_id in sorted(entries, key=lambda entry: (entry[1], entry[2])):
        segments[file_id] = f"{_plain(called)}{_TWIN}{file_id}" if called in taken else segment(called)
        taken.add(called)
    return segments


def check(key: str, shown: str) -> None:
    """Raises InvalidName for a key that no file can have; `shown` is how the error calls it."""
    reason = ""
    if any("\ud800" <= character <= "\udfff" for character in key):
        reason = "names are UTF-8"
    elif not 0 < len(key.encode()) <= LONGEST_KEY:
        reason = f"keys have 1 to {LONGEST_KEY} bytes"
    if reason:
        raise InvalidName(f"Drive cannot hold {shown!r}: {reason}")


def _is_foreign(segment: str) -> bool:
    """Whether no name is written as this segment, so that one has to be made for it."""
    regular = _regular(segment)
    # A name that stands for a foreign segment is not written as itself, so its escaped form is foreign in its turn.
    return regular is None or _foreign(regular) is not None


def _foreign(name: str) -> str | None:
    """The foreign segment that this name was made for; None if it is a name like others."""
    if not name.startswith(_FOREIGN):
        return None
    rest = name[len(_FOREIGN) :]
    segment = _unescaped(rest)
    if segment is None or "/" in segment or _escaped(segment) != rest:
        return None
    return segment if _is_foreign(segment) else None


def _regular(segment: str) -> str | None:
    """The name that is escaped to this segment; None if there is none."""
    if segment in _UNWHOLE:
        return _UNWHOLE[segment]
    if segment in ("", *_DOTS):
        return None
    found = _unescaped(segment)
    return found if found is not None and found not in _WHOLE and _escaped(found) == segment else None


def _plain(name: str) -> str:
    return _WHOLE.get(name) or _escaped(name)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: ESCAPE + (ESCAPE if found[0] == ESCAPE else f"{ord(found[0]):02X}"), text)


def _unescaped(text: str) -> str | None:
    """None if an ESCAPE in it is not followed by what `_escaped` puts there."""
    if ESCAPE in _ESCAPED.sub("", text):
        return None
    return _ESCAPED.sub(lambda found: ESCAPE if found[0] == ESCAPE * 2 else chr(int(found[0][1:], 16)), text)
