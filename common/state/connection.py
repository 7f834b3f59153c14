"""The way to Redis, the same for the state and for the queue in Redis Streams."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from common.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from common.config import RedisSettings
    from common.redis_address import RedisAddress

CONNECT_SECONDS = 5
MOST_CONNECTIONS = 32
"""Per pool. Work comes in batches, so few are used; whoever comes when all are in use waits, it is no fault of Redis."""


class _PacksInC:
    """Puts commands into wire format with hiredis, as the blocking client does and the asynchronous one does not: a call with a
    thousand arguments takes a millisecond less.
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        # The library's own commands may have two words in the first argument.
        words = args[0].encode().split() if isinstance(args[0], str) else [args[0]]
        return [hiredis.pack_command((*words, *args[1:]))]

    def pack_commands(self, commands: Iterable[Sequence[Any]]) -> list[bytes]:
        return [packed for command in commands for packed in self.pack_command(*command)]


class _Tls(SSLConnection):
    """Trusts whom `trusted` says when it connects: an authority may be replaced under a process that runs for months."""

    def __init__(self, *, trusted: Trust, **options: Any) -> None:
        super().__init__(**options)
        self._trusted = trusted

    def _connection_arguments(self) -> Any:
        context = self._trusted.context()
        context.set_alpn_protocols([])  # it is not HTTP that is spoken
        self.ssl_context.context = context
        return super()._connection_arguments()


def connect(settings: RedisSettings, *, answer_seconds: float) -> Redis:
    """A client; nothing is contacted yet. RESP2, because its answers have one shape in every version; no retries in the client,
    because its users know better what may be repeated. A name is looked up again with each connection that is made.
    """
    place = settings.place
    pool = BlockingConnectionPool(
        max_connections=MOST_CONNECTIONS,
        timeout=None,
        db=place.database,
        username=settings.username or place.username,
        password=settings.password.get_secret_value() if settings.password else None,
        decode_responses=False,
        protocol=2,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=answer_seconds,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 0),
        **_way(place, settings.ca_file),
    )
    return Redis.from_pool(pool)


async def leave_server(client: Redis) -> None:
    """Close the connections that nobody uses at this moment: they lead to a server that is no master any more, which keeps them
    open and answers every read. Those in use say so themselves when they are next used.
    """
    with suppress(RedisError, OSError):  # of a connection that is closed in any case
        await client.connection_pool.disconnect(inuse_connections=False)


def _way(place: RedisAddress, ca_file: Path | None) -> dict[str, Any]:
    """The kind of connection, and where to."""
    kind: type
    where: dict[str, Any]
    if place.path is not None:
        kind, where = UnixDomainSocketConnection, {"path": place.path}
    elif place.tls:
        authorities = os.environ if ca_file is None else {"SSL_CERT_FILE": str(ca_file)}
        kind, where = _Tls, {"host": place.host, "port": place.port, "trusted": Trust(authorities)}
    else:
        kind, where = Connection, {"host": place.host, "port": place.port}
    return {"connection_class": type("Connection", (_PacksInC, kind), {}), **where}
