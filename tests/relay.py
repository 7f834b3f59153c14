"""A TCP relay between a client and a server, for what happens between them: another server behind the same address, and TLS."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.cancelling import cancel
from tests.child import LOOPBACK

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator


@dataclass
class Relay:
    """New connections go to `target` (host:port); those that are open stay where they lead, as they do in a failover."""

    target: str
    address: str = ""
    taken: int = 0
    """Connections so far."""
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        self.taken += 1
        host, port = self.target.rsplit(":", 1)
        writers = [writer]
        try:
            there, back = await asyncio.open_connection(host, int(port))
            writers.append(back)
            async with asyncio.TaskGroup() as group:
                for way in (_pump(reader, back), _pump(there, writer)):
                    group.create_task(way)
        except OSError:
            return  # nobody listens there: the client sees its connection closed
        finally:
            for each in writers:
                each.close()

    async def close(self) -> None:
        await cancel(*self._under_way)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends; then the other is told."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        return  # a side is gone, and so is the connection
    finally:
        writer.close()


@asynccontextmanager
async def relay(target: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Relay]:
    """A relay on a free port, on the event loop of the test."""
    found = Relay(target)
    server = await asyncio.start_server(found.serve, LOOPBACK, 0, ssl=tls)
    found.address = f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        await found.close()
        await asyncio.sleep(0)  # what was closed is let go in the next turn of the loop
