from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from common.config import RedisSettings
from common.state.connection import MOST_CONNECTIONS, connect
from tests import servers


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("host:7000", {"host": "host", "port": 7000}),
        ("redis://host:7000/3", {"host": "host", "port": 7000, "db": 3}),
        ("unix:///run/redis.sock", {"path": "/run/redis.sock"}),
    ],
)
def test_each_kind_of_address_is_understood(address: str, expected: dict[str, object]) -> None:
    client = connect(RedisSettings(address=address, password=SecretStr("pw")), answer_seconds=5)
    options = client.connection_pool.connection_kwargs
    assert expected.items() <= options.items()
    assert options["password"] == "pw"


async def test_more_calls_than_connections_wait_their_turn(redis_address: str, fresh: str) -> None:
    # Given far more calls at once than there may be connections: no fault of Redis, and not to be taken for one
    client = connect(RedisSettings(address=redis_address), answer_seconds=5)
    # When
    counts = await asyncio.gather(*(client.incr(fresh) for _ in range(10 * MOST_CONNECTIONS)))
    # Then all are answered
    assert sorted(counts) == list(range(1, 10 * MOST_CONNECTIONS + 1))
    await client.delete(fresh)
    await client.aclose()


async def test_a_unix_socket_works(tmp_path_factory: pytest.TempPathFactory) -> None:
    # Given a Redis that listens on nothing but a socket, as the embedded one does
    directory = tmp_path_factory.mktemp("s")
    socket = directory / "r.sock"
    try:
        manager = servers.redis_server(directory, arguments=["--unixsocket", str(socket)])
        manager.__enter__()
    except servers.ServerMissing as error:
        servers.missing(error.server, error.how)
    # When and then
    client = connect(RedisSettings(address=f"unix://{socket}"), answer_seconds=5)
    assert await client.ping() is True
    await client.aclose()
    manager.__exit__(None, None, None)
