from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisConnectionError

from common.config import RedisSettings
from common.errors import SettingsError
from common.state.connection import MOST_CONNECTIONS, connect
from common.state.store import Store
from common.state.trouble import explained
from tests import servers
from tests.bench.serve import certify
from tests.relay import relay

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.serve import Certificate


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("host:7000", {"host": "host", "port": 7000, "db": 0, "username": None}),
        ("redis://host:7000/3", {"host": "host", "port": 7000, "db": 3}),
        ("redis://brigade@host", {"host": "host", "port": 6379, "username": "brigade"}),
        ("unix:///run/redis.sock?db=2", {"path": "/run/redis.sock", "db": 2}),
    ],
)
def test_each_kind_of_address_is_understood(address: str, expected: dict[str, object]) -> None:
    client = connect(RedisSettings(address=address, password=SecretStr("pw")), answer_seconds=5)
    options = client.connection_pool.connection_kwargs
    assert expected.items() <= options.items()
    assert options["password"] == "pw"


async def test_the_database_that_is_named_is_used(redis_address: str, fresh: str) -> None:
    # Given two clients of the same server, with different databases
    here, there = (connect(RedisSettings(address=f"redis://{redis_address}/{number}"), answer_seconds=5) for number in (3, 4))
    # Then what is written in one is not in the other
    await here.set(fresh, "v")
    assert (await here.get(fresh), await there.get(fresh)) == (b"v", None)
    await here.delete(fresh)
    await here.aclose()
    await there.aclose()


async def test_a_database_that_redis_does_not_have_is_a_fault_of_the_setting(redis_address: str) -> None:
    store = await Store.open(RedisSettings(address=f"redis://{redis_address}/99"))
    with pytest.raises(SettingsError, match="REDIS_ADDRESS must end with a database that this Redis has"):
        await store.check()
    await store.close()


def serves(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


async def test_an_authority_that_is_replaced_is_trusted_without_a_restart(
    redis_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.trust.LOOK_SECONDS", 0)
    # Given a Redis behind TLS, and the file with the authority of its certificate
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    before, after = certify(old), certify(new)
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(before.ca.read_bytes())
    context = serves(before)
    async with relay(redis_address, tls=context) as front:
        client = connect(RedisSettings(address=f"rediss://{front.address}", ca_file=trusted), answer_seconds=5)
        assert await client.ping()
        # When the server has a certificate of another authority, and the connection is lost
        context.load_cert_chain(after.chain, after.key)
        await client.connection_pool.disconnect()
        with pytest.raises(RedisConnectionError) as refused:
            await client.ping()
        # Then it is refused with the setting to look at, until the file holds the other authority
        assert "name the file of the authority that signed its certificate in REDIS_CA_FILE" in explained(refused.value)
        trusted.write_bytes(after.ca.read_bytes())
        assert await client.ping()
        await client.aclose()


async def test_without_a_file_the_authorities_of_all_other_traffic_are_trusted(
    redis_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a Redis behind TLS whose authority is in SSL_CERT_FILE
    certificate = certify(tmp_path)
    async with relay(redis_address, tls=serves(certificate)) as front:
        settings = RedisSettings(address=f"rediss://{front.address}")
        strangers = connect(settings, answer_seconds=5)
        with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await strangers.ping()
        await strangers.aclose()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca))
        client = connect(settings, answer_seconds=5)
        assert await client.ping()
        await client.aclose()


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
