"""The way to Redis, the same for the state and for the queue in Redis Streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from common.config import RedisSettings

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


def connect(settings: RedisSettings, *, answer_seconds: float) -> Redis:
    """A client; nothing is contacted yet. RESP2, because its answers have one shape in every version; no retries in the client,
    because its users know better what may be repeated. Raises SettingsError for an address that is none.
    """
    address = settings.address if "://" in settings.address else f"redis://{settings.address}"
    try:
        pool = BlockingConnectionPool.from_url(
            address,
            max_connections=MOST_CONNECTIONS,
            timeout=None,
            password=settings.password.get_secret_value() if settings.password else None,
            decode_responses=False,
            protocol=2,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=answer_seconds,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise SettingsError(
            [f"REDIS_ADDRESS: {error}; write host:port, redis://host:port, rediss://host:port or unix:///path"]
        ) from error
    pool.connection_class = type("Connection", (_PacksInC, pool.connection_class), {})
    return Redis.from_pool(pool)
