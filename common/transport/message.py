"""HTTP/1.1 as it stands on the wire: heads written and read, and the three ways in which a body may end.

https://www.rfc-editor.org/rfc/rfc9112. Strict where leniency would let the end of one answer be taken for the beginning of the
next: an answer that says its length twice and differently, or in a way that this module does not know, is no answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_HEAD = 64 * 1024
"""Bytes of an answer's status line and headers, and of a chunk's own line or the trailers."""

_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?").fullmatch
_LINES = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)\r\n").findall
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}").match
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
    first, _, lines = f"{raw.decode('latin-1')}\r\n".partition("\r\n")
    status = _STATUS(first)
    if status is None:
        raise ProtocolError("the answer does not begin as HTTP/1.1 does")
    pairs = _LINES(lines)
    if len(pairs) != lines.count("\n"):
        raise ProtocolError("the answer has a header that is none")
    headers = {name.lower(): value.rstrip(" \t") for name, value in pairs}
    if len(headers) < len(pairs):
        _no_two_lengths(pairs)
    connection = headers.get("connection", "keep-alive" if status[1] == "1" else "close").lower()
    return Head(int(status[2]), headers, "close" not in connection and (status[1] == "1" or "keep-alive" in connection))


def _no_two_lengths(pairs: Sequence[tuple[str, str]]) -> None:
    for name in ("content-length", "transfer-encoding"):
        if len({value.strip() for key, value in pairs if key.lower() == name}) > 1:
            raise ProtocolError(f"the answer has several headers {name} that differ")


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
        raise ProtocolError(f"the answer has the transfer coding {coding[:40]!r}")
    return True


class Chunks:
    """A body in chunks, put together as it comes. Extensions and trailers are read past."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.rest = b""
        """What came behind the end."""
        self._pending = b""
        self._left = 0
        self._trailers = False

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
                self._pending = data[at:]
                if len(self._pending) > MOST_HEAD:
                    raise ProtocolError("the answer has a chunk line without an end")
                return False
            line, at = data[at:end], end + 2
            if self._trailers:
                if not line:
                    self.rest = data[at:]
                    return True
                continue
            size = _SIZE(line)
            if size is None:
                raise ProtocolError("the answer has a chunk without a size")
            self._left = int(size[0], 16)
            self._trailers = self._left == 0
            self._left += 2 if self._left else 0

    def _take(self, piece: bytes) -> None:
        """Bytes of a chunk, or of the line end behind it."""
        content = max(0, self._left - 2)
        self.body += piece[:content]
        if piece[content:] != b"\r\n"[max(0, 2 - self._left) :][: len(piece[content:])]:
            raise ProtocolError("the answer has a chunk that is longer than it says")
        self._left -= len(piece)
