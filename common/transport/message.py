"""HTTP/1.1 as it stands on the wire: heads written and read, and the three ways in which a body may end.

https://www.rfc-editor.org/rfc/rfc9112. Strict where leniency would let the end of one answer be taken for the beginning of the
next: whatever llhttp refuses in its strict mode is refused here as well, and tests/unit/transport/test_llhttp.py compares the
two. llhttp itself (the wheel `httptools`) was measured in place of `answer_head`: 3.7 µs for a head of ten headers where this
takes 4.0, too little to depend on it at run time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_HEAD = 64 * 1024
"""Bytes of an answer's status line and headers, and of the trailers behind a body in chunks. Bounds their number as well."""
MOST_INTERIM = 32
"""Answers of the kind 1xx that may come before the answer to one request."""
MOST_CHUNK_LINE = 4096
"""Bytes of a chunk's size with its extensions."""
MOST_EXTENSIONS = 16 * 1024
"""Bytes of all chunk extensions of one answer: nobody reads them, and without a bound a body need never end."""

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TEXT = r"[\t\x20-\x7e\x80-\xff]*"
_STATUS = re.compile(rf"HTTP/1\.([01]) ([1-5][0-9]{{2}})(?: {_TEXT})?\r\n").match
_LINES = re.compile(rf"^({_WORD}):[ \t]*({_TEXT})\r\n", re.MULTILINE).findall
_EXTENSION = rf";{_WORD}(?:=(?:{_WORD}|\"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*\"))?"
_CHUNK = re.compile(rf"([0-9A-Fa-f]{{1,15}})((?:{_EXTENSION})*)".encode("latin-1")).fullmatch
_ONCE = ("content-length", "transfer-encoding")
"""Said twice, even alike, they are refused: of two parties that read them one may take the first and the other the second."""
_NOT_TWO = ("content-range", "etag", "location")
"""Said twice, they must be alike: which of two versions the bytes are of cannot be guessed."""
_AGENT = "User-Agent: bucketbrigade"
_AS_IT_IS = "Accept-Encoding: identity"
"""A compressed body is not the object: an edge or a proxy may only send the bytes as they are."""


class ProtocolError(Exception):
    """What came is not HTTP, or not an answer that can be told whole from cut short. The text says what."""


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's status line and headers: names in lower case, of a repeated header the last value."""

    status: int
    headers: Mapping[str, str]
    reusable: bool
    """The connection stays open behind this answer, as far as the server says."""


def request_head(method: str, target: str, host: str, headers: Sequence[tuple[str, str]], length: int | None) -> bytes:
    """The head of a request with a body of `length` bytes; None: without one. Raises ProtocolError rather than send a header or a
    target that would end its line early. A header whose value is empty is left out.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", _AGENT]
    lines += [f"{name}: {value}" for name, value in headers if value]
    if "Accept-Encoding" not in dict(headers):
        lines.append(_AS_IT_IS)
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines.append("\r\n")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or " " in target:
        raise ProtocolError("a header or the URL of the request holds a line break or a space")
    return text.encode("latin-1")


def answer_head(raw: bytes) -> Head:
    """What stands before the empty line. Raises ProtocolError."""
    text = f"{raw.decode('latin-1')}\r\n"
    status = _STATUS(text)
    if status is None:
        raise ProtocolError("the answer does not begin as HTTP/1.1 does")
    pairs = header_lines(text, status.end())
    headers = {name.lower(): value for name, value in pairs}
    if " \r" in text or "\t\r" in text:
        headers = {name: value.rstrip(" \t") for name, value in headers.items()}
    said = headers.get("connection")
    if len(headers) < len(pairs):
        said = _check_repeated(pairs)
    modern = status[1] == "1"
    if "transfer-encoding" in headers and ("content-length" in headers or not modern):
        raise ProtocolError("the answer has a transfer-encoding, and a content-length or HTTP/1.0 beside it")
    return Head(int(status[2]), headers, modern if said is None else _stays_open(said, modern=modern))


def header_lines(text: str, start: int = 0) -> list[tuple[str, str]]:
    """Names and values of the header lines from `start` on, each with its line end; trailing white space of a value is left.
    Raises ProtocolError where there is anything else: a line that is folded, a name with a space, a control character.
    """
    pairs: list[tuple[str, str]] = _LINES(text, start)
    if len(pairs) != text.count("\n", start):
        raise ProtocolError("the answer has a header that is none")
    return pairs


def _stays_open(connection: str, *, modern: bool) -> bool:
    options = {option.strip(" \t").lower() for option in connection.split(",")}
    return "close" not in options and (modern or "keep-alive" in options)


def _check_repeated(pairs: Sequence[tuple[str, str]]) -> str | None:
    """Refuse what may not be repeated. Returns what Connection says in all its lines, None if there is none."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name.lower(), []).append(value.rstrip(" \t"))
    for name in _ONCE:
        if len(values.get(name, ())) > 1:
            raise ProtocolError(f"the answer has several headers {name}")
    for name in _NOT_TWO:
        if len(set(values.get(name, ()))) > 1:
            raise ProtocolError(f"the answer has several headers {name} that differ")
    return ", ".join(values["connection"]) if "connection" in values else None


def counted(head: Head) -> int | None:
    """The length that the head announces; None if it announces none. Raises ProtocolError."""
    length = head.headers.get("content-length")
    if length is None:
        return None
    if not (length.isascii() and length.isdecimal() and len(length) < 19):
        raise ProtocolError("the answer's content-length is not a number")
    return int(length)


def chunked(head: Head) -> bool:
    """Whether the body comes in chunks. Raises ProtocolError when it comes in a coding that was not asked for."""
    coding = head.headers.get("transfer-encoding")
    if coding is None:
        return False
    if coding.lower() != "chunked":
        raise ProtocolError("the answer has a transfer coding that was not asked for")
    return True


class Chunks:
    """A body in chunks, put together as it comes. Extensions and trailers are read past, once they are known to be such."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.rest = b""
        """What came behind the end."""
        self._pending = b""
        self._left = 0
        self._trailers = False
        self._extensions = 0
        self._trailing = 0

    def feed(self, data: bytes) -> bool:
        """Whether the body is whole now. Raises ProtocolError."""
        data = self._pending + data
        at = 0
        while True:
            if self._left:
                taken = min(self._left, len(data) - at)
                self._take(data[at : at + taken])
                at += taken
                if self._left:
                    self._pending = b""
                    return False
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep(data[at:])
                return False
            line, at = data[at:end], end + 2
            if not self._trailers:
                self._begin(line)
            elif line:
                self._trailer(line)
            else:
                self.rest = data[at:]
                return True

    def _keep(self, line: bytes) -> None:
        """A line of which the end is still to come."""
        if len(line) > (MOST_HEAD - self._trailing if self._trailers else MOST_CHUNK_LINE):
            raise ProtocolError(f"the answer has {'trailers' if self._trailers else 'a chunk line'} without an end")
        self._pending = line

    def _begin(self, line: bytes) -> None:
        chunk = _CHUNK(line) if len(line) <= MOST_CHUNK_LINE else None
        if chunk is None:
            raise ProtocolError("the answer has a chunk without a size, or with more than a size and extensions")
        self._extensions += len(chunk[2])
        if self._extensions > MOST_EXTENSIONS:
            raise ProtocolError(f"the answer has more than {MOST_EXTENSIONS} bytes of chunk extensions")
        size = int(chunk[1], 16)
        self._left = size + 2 if size else 0
        self._trailers = not size

    def _trailer(self, line: bytes) -> None:
        self._trailing += len(line) + 2
        if self._trailing > MOST_HEAD:
            raise ProtocolError("the answer has trailers without an end")
        ((name, _),) = header_lines(f"{line.decode('latin-1')}\r\n")
        if name.lower() in _ONCE:
            raise ProtocolError(f"the answer has a {name.lower()} among its trailers")  # RFC 9110, 6.5.1

    def _take(self, piece: bytes) -> None:
        """Bytes of a chunk, or of the line end behind it."""
        content = max(0, self._left - 2)
        self.body += piece[:content]
        if piece[content:] != b"\r\n"[max(0, 2 - self._left) :][: len(piece[content:])]:
            raise ProtocolError("the answer has a chunk that is longer than it says")
        self._left -= len(piece)
