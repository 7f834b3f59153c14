"""libcurl's multi interface on an asyncio event loop: many transfers in one thread, nothing per transfer but a future.

pycurl has an AsyncCurlMulti, which registers every socket with the event loop and wakes it for every event. This one keeps the
sockets in an epoll of its own and lets the loop watch that alone: whatever is ready is handled in one turn, and what has ended
is collected once. A small request costs a third less (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from typing import Any

import pycurl

_EVENTS_AT_ONCE = 512
_INTEREST = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
_BROKEN = select.EPOLLERR | select.EPOLLHUP


class Engine:
    """One CurlMulti. Belongs to the event loop that runs when it is made; not thread-safe. `close` may be called twice."""

    def __init__(self, *, most_connections: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, most_connections)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, most_connections)
        self._epoll = select.epoll()
        self._loop.add_reader(self._epoll.fileno(), self._on_ready)
        self._watched: set[int] = set()
        self._under_way: dict[Any, asyncio.Future[None]] = {}
        self._timer: asyncio.Handle | None = None
        self._kick: asyncio.Handle | None = None
        self._closed = False

    async def perform(self, handle: Any) -> None:
        """Return when the handle's transfer has ended; raises pycurl.error when it failed. The handle is free again afterwards,
        also after a cancellation.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self._under_way[handle] = future
        self._multi.add_handle(handle)
        try:
            await future
        finally:
            if self._under_way.pop(handle, None) is not None:  # cancelled
                self._multi.remove_handle(handle)

    def close(self) -> None:
        """Give up what is under way: it ends with CancelledError."""
        if self._closed:
            return
        self._closed = True
        for handle, future in list(self._under_way.items()):
            del self._under_way[handle]
            self._multi.remove_handle(handle)
            future.cancel()
        for waiting in (self._timer, self._kick):
            if waiting is not None:
                waiting.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._multi.close()
        self._epoll.close()

    def _on_socket(self, what: int, fd: int, _multi: Any, _attached: Any) -> None:
        """Libcurl tells what it waits for. A socket that it closed has left the epoll by itself, and its number may be another's
        by now.
        """
        if what == pycurl.POLL_REMOVE:
            self._watched.discard(fd)
            with suppress(OSError):
                self._epoll.unregister(fd)
        elif fd in self._watched:
            try:
                self._epoll.modify(fd, _INTEREST[what])
            except FileNotFoundError:
                self._epoll.register(fd, _INTEREST[what])
        else:
            self._watched.add(fd)
            try:
                self._epoll.register(fd, _INTEREST[what])
            except FileExistsError:
                self._epoll.modify(fd, _INTEREST[what])

    def _on_timer(self, milliseconds: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if milliseconds == 0:
            # Not from within libcurl, which has called us; once for all handles that are added in this turn of the loop.
            if self._kick is None:
                self._kick = self._loop.call_soon(self._on_kick)
        elif milliseconds > 0:
            self._timer = self._loop.call_later(milliseconds / 1000, self._on_timeout)

    def _on_kick(self) -> None:
        self._kick = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()

    def _on_timeout(self) -> None:
        self._timer = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()

    def _on_ready(self) -> None:
        for fd, events in self._epoll.poll(0, _EVENTS_AT_ONCE):
            mask = 0
            if events & (select.EPOLLIN | _BROKEN):
                mask |= pycurl.CSELECT_IN
            if events & select.EPOLLOUT:
                mask |= pycurl.CSELECT_OUT
            if events & select.EPOLLERR:
                mask |= pycurl.CSELECT_ERR
            self._act(fd, mask)
        self._collect()

    def _act(self, fd: int, mask: int) -> None:
        if not self._closed:
            self._multi.socket_action(fd, mask)

    def _collect(self) -> None:
        """Settle the futures of the transfers that have ended."""
        left = 1
        while left and not self._closed:
            left, done, failed = self._multi.info_read()
            for handle in done:
                self._settle(handle, None)
            for handle, code, message in failed:
                self._settle(handle, pycurl.error(code, message))

    def _settle(self, handle: Any, error: Exception | None) -> None:
        future = self._under_way.pop(handle, None)
        if future is None:
            return
        self._multi.remove_handle(handle)
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
