"""What Redis says is understood in the words of every release that is supported, in a command and in a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, MasterDownError, RedisError, ResponseError

from common.config import RedisSettings
from common.queues import redis_streams
from common.state.connection import connect
from common.state.trouble import ELSEWHERE, PASSING, REFUSED, Asked, Trouble, explained, trouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from tests.servers import Server

WRITE = "\nredis.call('HSET', KEYS[1], 'a', ARGV[1]) return 1"
SOFTLY = "return redis.pcall('HSET', KEYS[1], 'a', ARGV[1])"
ELSEWHERE_KEY = "return redis.call('HSET', 'other:key', 'a', ARGV[1])"


@pytest.fixture
async def redis(redis_own: Server) -> AsyncIterator[Any]:
    async with Redis(host="127.0.0.1", port=redis_own.port, protocol=2) as redis:
        yield redis


async def refused(call: Awaitable[Any]) -> RedisError:
    with pytest.raises(RedisError) as error:
        await call
    return error.value


async def writes(redis: Any) -> list[Trouble]:
    """What comes of a write: by itself, in a script, and in a script that hands the error on."""
    calls = redis.hset("bb:k", "a", "v"), redis.eval(WRITE, 1, "bb:k", "v"), redis.eval(SOFTLY, 1, "bb:k", "v")
    return [trouble(await refused(call)) for call in calls]


async def test_a_server_that_refuses_to_write_is_understood(redis: Any) -> None:
    # Given a server that is full
    await redis.config_set("maxmemory", 1)
    assert await writes(redis) == [Trouble.FULL] * 3
    await redis.config_set("maxmemory", 0)
    # Then one without enough replicas
    await redis.config_set("min-replicas-to-write", 1)
    assert await writes(redis) == [Trouble.REPLICAS] * 3
    await redis.config_set("min-replicas-to-write", 0)
    # Then one that has become a replica
    await redis.replicaof("127.0.0.1", 1)
    assert await writes(redis) == [Trouble.READ_ONLY] * 3


async def test_a_full_disk_is_understood(redis: Any, redis_own: Server) -> None:
    # Given a server that could not write its files when it last tried
    await redis.config_set("save", "3600 1")
    (redis_own.log.parent / "dump.rdb" / "inside").mkdir(parents=True)  # a file cannot take the place of a directory
    await redis.set("bb:k", "v")
    await redis.bgsave()
    while (await redis.info("persistence"))["rdb_last_bgsave_status"] != "err":
        pass
    assert (await writes(redis))[:2] == [Trouble.DISK] * 2
    await redis.config_set("save", "")


async def test_missing_rights_are_understood_and_named(redis: Any, redis_own: Server) -> None:
    # Given a user with few rights
    rights = ["~bb:*", "+eval", "+evalsha", "+ping", "+select"]
    await redis.execute_command("ACL", "SETUSER", "brigade", "on", ">secret", *rights)
    async with Redis(host="127.0.0.1", port=redis_own.port, username="brigade", password="secret", protocol=2) as theirs:
        # Then each refusal is one of rights, and says the command and the key, also where the server does not
        command = await refused(theirs.hset("bb:k", "a", "b"))
        inside = await refused(theirs.eval(WRITE, 1, "bb:k", "v"))
        key = await refused(theirs.eval(WRITE, 1, "other:key", "v"))
        await redis.execute_command("ACL", "SETUSER", "brigade", "+hset")
        inner_key = await refused(theirs.eval(ELSEWHERE_KEY, 1, "bb:k", "v"))
    assert [trouble(error) for error in (command, inside, key, inner_key)] == [Trouble.RIGHTS] * 4
    asked = Asked("settle", ["bb:k"], WRITE)
    assert explained(command, Asked("hset", ["bb:k"])).startswith("hset on bb:k: ")
    assert explained(inside, asked).startswith("the script settle (HSET) on bb:k: ")
    assert explained(key, asked).startswith("the script settle")
    assert explained(command).endswith("; grant the user what docs/settings.md lists")


async def test_a_refused_identity_and_a_missing_database_are_understood(redis: Any, redis_own: Server) -> None:
    # Given an address with a database that is not there, a user that is not there, and a password that is not given
    async def ping(database: int = 0, **options: Any) -> RedisError:
        settings = RedisSettings(address=f"redis://{redis_own.address}/{database}", **options)
        async with connect(settings, answer_seconds=5) as theirs:
            return await refused(theirs.ping())

    nowhere, nobody = await ping(99), await ping(username="nobody", password=SecretStr("x"))
    await redis.config_set("requirepass", "x")
    nameless = await ping()
    # Then each is told from the others, and says which setting it is about
    assert [trouble(error) for error in (nowhere, nobody, nameless)] == [Trouble.DATABASE, Trouble.IDENTITY, Trouble.IDENTITY]
    assert "REDIS_ADDRESS must end with a database" in explained(nowhere)
    assert "REDIS_PASSWORD" in explained(nameless)
    await redis.auth("x")
    assert trouble(await refused(redis.evalsha("0" * 40, 0))) is Trouble.FORGOTTEN


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (BusyLoadingError("Redis is loading the dataset in memory"), Trouble.STARTING),
        (MasterDownError("Link with MASTER is down"), Trouble.READ_ONLY),
        (ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"), Trouble.READ_ONLY),
        (ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), Trouble.DISK),
        (ResponseError("BUSY Redis is busy running a script."), Trouble.BUSY),
        (ResponseError("wrong number of arguments for 'hset' command"), Trouble.OTHER),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), Trouble.OTHER),
        (AuthenticationError("invalid password"), Trouble.IDENTITY),
        (ConnectionResetError("Connection reset by peer"), Trouble.UNREACHABLE),
        (TimeoutError(), Trouble.UNREACHABLE),
        (ZeroDivisionError(), Trouble.OTHER),
    ],
)
def test_what_is_hard_to_bring_about_is_understood_too(error: Exception, meaning: Trouble) -> None:
    assert trouble(error) is meaning
    assert explained(error)


def test_every_kind_has_one_consequence() -> None:
    assert PASSING | REFUSED | {Trouble.FORGOTTEN, Trouble.OTHER} == frozenset(Trouble)
    assert not PASSING & REFUSED
    assert ELSEWHERE < PASSING
    assert redis_streams.passes(TimeoutError())


def test_an_untrusted_certificate_says_what_to_set() -> None:
    error = ConnectionError("Error 1 connecting to r:1. [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    assert "REDIS_CA_FILE" in explained(error)
