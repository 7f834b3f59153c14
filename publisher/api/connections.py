"""Connections of the HTTP server: what a request must look like, and how long a client may take and keep.

waitress reads requests without a thread, so a slow client costs a connection and no more; but it gives connections only an idle
time, which a byte now and then renews for ever, and it accepts nobody any more when they are used up. Hence the deadlines here, a
cap for each client, and connections that are merely kept open give way when there are too many.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD_SECONDS = 10.0
"""From the first byte of a request, or of the connection, to the end of the headers."""
BODY_SECONDS = 30.0
"""From the first byte of a request to its last. Bodies are small here."""
IDLE_SECONDS = 60.0
"""A connection that is kept open after an answer."""
STALL_SECONDS = 60.0
"""A client that takes less than LEAST_BYTES of its answer in this time gives its thread back."""
LEAST_BYTES = 64 * 1024
MOST_CONNECTIONS = 512
MOST_PER_CLIENT = 128
"""Connections of one address. A proxy in front counts as one client; it keeps a few connections and uses them again."""


class StrictParser(HTTPRequestParser):  # type: ignore[misc]  # waitress is untyped
    """Refuses what two servers might read as two different requests (RFC 9112, sections 3.2, 5 and 6.3)."""

    def parse_header(self, header_plus: bytes) -> None:
        """Raises ParsingError: 400, and the connection is closed."""
        names = [line.partition(b":")[0].strip().lower() for line in header_plus.split(b"\r\n")[1:]]
        if names.count(b"transfer-encoding") and names.count(b"content-length"):
            raise ParsingError("Content-Length and Transfer-Encoding in one request")
        for once in (b"host", b"content-length", b"transfer-encoding", b"authorization"):
            if names.count(once) > 1:
                raise ParsingError(f"{once.decode()} is given more than once")
        super().parse_header(header_plus)
        if self.version == "1.1" and "HOST" not in self.headers:
            raise ParsingError("Host is missing")
        if self.version == "1.0" and b"transfer-encoding" in names:
            raise ParsingError("HTTP/1.0 has no Transfer-Encoding")
        if self.command in ("GET", "HEAD") and (self.content_length or self.chunked):
            raise ParsingError(f"a {self.command} request has no body here")


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress is untyped
    """A connection that knows since when it has been waiting for what."""

    parser_class = StrictParser

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:  # noqa: A002 - waitress's name
        now = time.monotonic()
        self.opened = now
        self.began: float | None = now
        """When the request that is being received began; None between requests."""
        self.idle_since = now
        self.sent_bytes = 0
        self.measured = (now, 0)
        """When the progress of an answer was last measured, and how many bytes had been sent by then."""
        super().__init__(server, sock, addr, adj, map=map)

    def received(self, data: bytes) -> bool:
        if self.began is None:
            self.began = time.monotonic()
        done: bool = super().received(data)
        if self.request is None:
            self.began = None
            self.idle_since = time.monotonic()
        return done

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: FBT001, FBT002 - waitress's signature
        sent: int = super().send(data, do_close)
        self.sent_bytes += sent
        return sent

    @property
    def client(self) -> str:
        return str(self.addr[0]) if isinstance(self.addr, tuple) else str(self.addr)

    def overdue(self, now: float) -> bool:
        """Whether the client has taken longer than it may, for its request or for its answer."""
        if self.requests:
            self.idle_since = now
            return self._stalled(now)
        self.measured = (now, self.sent_bytes)
        if self.began is not None:
            head = self.request is None or not self.request.headers_finished
            return now - self.began > (HEAD_SECONDS if head else BODY_SECONDS)
        if self.total_outbufs_len:
            return False
        return now - self.idle_since > IDLE_SECONDS

    def _stalled(self, now: float) -> bool:
        since, sent = self.measured
        if not self.total_outbufs_len or self.sent_bytes - sent >= LEAST_BYTES:
            self.measured = (now, self.sent_bytes)
            return False
        return now - since > STALL_SECONDS


def too_many(channels: Iterable[Channel]) -> list[Channel]:
    """Those that have to go: of a client with more than MOST_PER_CLIENT the newest, and of all, when there are nearly
    MOST_CONNECTIONS, those that do nothing, the longest idle first.
    """
    ordered = sorted(channels, key=lambda channel: channel.opened)
    held: Counter[str] = Counter()
    gone: list[Channel] = []
    kept: list[Channel] = []
    for channel in ordered:
        held[channel.client] += 1
        (gone if held[channel.client] > MOST_PER_CLIENT else kept).append(channel)
    surplus = len(kept) - (MOST_CONNECTIONS - MOST_CONNECTIONS // 8)
    if surplus > 0:
        idle = sorted((channel for channel in kept if not channel.requests), key=lambda channel: channel.idle_since)
        gone += idle[:surplus]
    return gone
