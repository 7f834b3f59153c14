"""From a server's name to a socket that is connected to one of its addresses.

RFC 8305 (happy eyeballs), by aiohappyeyeballs: an address that swallows packets costs a quarter of a second and not the time that
is allowed for connecting, and is left for last for a while. S3 answers with several addresses, and others every few seconds:
connections are spread over them.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from time import monotonic as _now
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES_KEPT_SECONDS = 30.0
"""How long the addresses of a server are kept before its name is looked up again."""
NEXT_ADDRESS_SECONDS = 0.25
"""How long one address is tried alone (RFC 8305, 5)."""
AVOIDED_SECONDS = 300.0
"""How long an address that did not answer is tried after all others."""

Address = tuple[Any, ...]
"""As getpeername gives it."""
_Found = tuple[int, int, int, str, Address]
"""As getaddrinfo gives it, with the address behind family, kind, protocol and name."""
_OPTIONS = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_NODELAY))


class Server:
    """The addresses of one server. Not thread-safe."""

    def __init__(self, name: str, port: int) -> None:
        self._name = name
        self._port = port
        self._addresses: list[_Found] = []
        self._asked = float("-inf")
        self._asking = asyncio.Lock()
        self._turn = 0
        self._avoided: dict[_Found, float] = {}

    async def connect(self) -> tuple[socket.socket, Address]:
        """A socket, which the caller closes, and where it leads to. Raises OSError when no address takes the connection. Sets no
        limit of time: the caller does.
        """
        addresses = await self._in_turn()
        try:
            found = await _race(addresses)
        except OSError:
            self._asked = float("-inf")  # the name may lead somewhere else by now
            raise
        try:
            peer = found.getpeername()
            for level, option in _OPTIONS:
                found.setsockopt(level, option, 1)
        except OSError:
            found.close()
            raise
        self._remember(addresses, peer)
        return found, peer

    def avoid(self, address: Address) -> bool:
        """Tell that the connection to an address came to nothing after all. Whether there is another to try."""
        until = _now() + AVOIDED_SECONDS
        self._avoided.update({found: until for found in self._addresses if found[4] == address})
        return any(found not in self._avoided for found in self._addresses)

    async def _in_turn(self) -> list[_Found]:
        """The addresses, beginning with another each time; those that did not answer lately come last."""
        await self._look_up()
        now = _now()
        self._avoided = {found: until for found, until in self._avoided.items() if until > now}
        good = [found for found in self._addresses if found not in self._avoided]
        self._turn += 1
        start = self._turn % len(good) if good else 0
        in_turn = _by_families([*good[start:], *good[:start]])
        return [*in_turn, *(found for found in self._addresses if found in self._avoided)]

    async def _look_up(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._asking:
            if not self._addresses or _now() - self._asked > NAMES_KEPT_SECONDS:
                found = await loop.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
                self._addresses = list(dict.fromkeys(found))
                self._asked = _now()

    def _remember(self, tried: Sequence[_Found], peer: Address) -> None:
        """Those that were tried before the one that answered have failed, or been too slow."""
        addresses = [found[4] for found in tried]
        if peer not in addresses:  # an address with a scope may be written differently
            return
        until = _now() + AVOIDED_SECONDS
        winner = addresses.index(peer)
        self._avoided.update(dict.fromkeys(tried[:winner], until))
        self._avoided.pop(tried[winner], None)


async def _race(addresses: Sequence[_Found]) -> socket.socket:
    if not addresses:
        raise OSError("its name has no address")
    try:
        return await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=0)
    except RuntimeError as error:  # how uvloop reports some failures
        raise OSError(str(error)) from None


def _by_families(addresses: Sequence[_Found]) -> list[_Found]:
    """IPv6 and IPv4 by turns, beginning with that of the first (RFC 8305, 4): often one of the two leads nowhere at all."""
    families: dict[int, list[_Found]] = {}
    for found in addresses:
        families.setdefault(found[0], []).append(found)
    return [found for row in itertools.zip_longest(*families.values()) for found in row if found is not None]
