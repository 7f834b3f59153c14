"""A failover as managed services make one: the old master is demoted, keeps its connections open and answers every read, and
new connections lead to the new master.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from common.config import QueueSettings, RedisSettings, Settings
from common.errors import StateUnavailable
from common.queues.redis_streams import RedisQueue
from common.state.cache import Cache
from common.state.store import Store
from tests.redis_releases import program_of
from tests.relay import relay
from tests.servers import redis_server
from tests.unit.state.samples import ROUTE, publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.relay import Relay
    from tests.servers import Server
    from tests.unit.state.conftest import Recorder


class Pair:
    """A master and its replica behind one address."""

    def __init__(self, one: Server, other: Server, address: Relay) -> None:
        self.one, self.other, self.relay = one, other, address
        self.relay.target = one.address

    async def begin(self) -> None:
        async with self.client(self.one) as master, self.client(self.other) as replica:
            await master.config_set("repl-diskless-sync-delay", 0)
            await replica.replicaof("127.0.0.1", self.one.port)
            async with asyncio.timeout(30):
                while (await replica.info("replication"))["master_link_status"] != "up":
                    await replica.ping()

    async def demote(self) -> None:
        """The replica gets everything and is promoted, the master becomes its replica; the address still leads to the old one."""
        async with self.client(self.one) as master, self.client(self.other) as replica:
            assert await master.wait(1, 10_000) == 1
            await replica.replicaof("NO", "ONE")
            await master.replicaof("127.0.0.1", self.other.port)

    def move(self) -> None:
        """From now on the address leads new connections to the new master."""
        self.relay.target = self.other.address

    @staticmethod
    @asynccontextmanager
    async def client(server: Server) -> AsyncIterator[Any]:
        async with Redis(host="127.0.0.1", port=server.port, protocol=2) as client:
            yield client


@pytest.fixture
def redis_other(redis_release: str, tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path / "other", program=program_of(redis_release)) as server:
        yield server


@pytest.fixture
async def pair(redis_own: Server, redis_other: Server) -> AsyncIterator[Pair]:
    async with relay(redis_own.address) as address:
        pair = Pair(redis_own, redis_other, address)
        await pair.begin()
        yield pair
    for server in (redis_own, redis_other):
        server.kill()  # asked to stop, each would wait for the other


async def test_the_state_follows_the_master_although_the_old_one_keeps_the_connection(pair: Pair, said: Recorder) -> None:
    # Given a store that has written, and a failover
    paused = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        paused.set()
        pair.move()

    store = await Store.open(RedisSettings(address=pair.relay.address), sleep=sleep)
    cache = Cache(store)
    await store.check()
    await publish(cache, ["before"])
    await pair.demote()
    # Then readiness says what is wrong, where a PING would not
    assert await store.client.ping()
    with pytest.raises(StateUnavailable, match="a failover is under way") as away:
        await store.probe()
    assert away.value.reason == "read_only"
    # When something is written: first the address still leads to the old one, then to the new
    await publish(cache, ["after"])
    # Then it is with the new master, and the log says what happened
    assert paused.is_set()
    assert [it.published is not None for it in await cache.lookup(ROUTE, ["before", "after"])] == [True, True]
    async with pair.client(pair.other) as master:
        assert (await master.info("replication"))["role"] == "master"
        assert await master.exists(store.keys.route(ROUTE))
    await store.probe()
    assert [action for action in said.actions() if action != "redis_limit_raised"] == ["redis_away", "redis_back"]
    assert "failover" in next(fields["reason"] for _, _, fields in said.lines if fields["action"] == "redis_away")
    await store.close()


async def test_the_queue_follows_the_master_although_the_old_one_keeps_the_connection(pair: Pair, fresh: str) -> None:
    # Given a queue with a message in hand and one waiting, a receive that waits at the old master, and a failover
    settings = Settings(
        queue=QueueSettings(kind="redis", topic="tasks"), redis=RedisSettings(address=pair.relay.address, prefix=fresh)
    )
    queue = await RedisQueue.open(settings)
    await queue.send([b"held"])
    (held,) = await queue.receive(1, 5)
    waiting = asyncio.create_task(queue.receive(1, 20))
    await asyncio.sleep(0)
    await pair.demote()
    pair.move()
    # When it is used
    await asyncio.wait_for(queue.send([b"after"]), 20)
    await asyncio.wait_for(held.ack(), 20)
    # Then everything is done at the new master, and the receive that waited brings what came since
    (after,) = await asyncio.wait_for(waiting, 30) or await queue.receive(1, 20)
    assert after.payload == b"after"
    await after.ack()
    async with pair.client(pair.other) as master:
        assert await master.xlen(queue._keys.stream) == 0
    assert await queue.backlog() == 0
    await queue.close()


async def test_a_name_that_leads_elsewhere_is_looked_up_again(
    redis_own: Server, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a name, as managed services have it, that leads to one address and then to another
    asked: list[str] = []
    genuine = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "redis.internal":
            asked.append(host)
            host = "127.0.0.1"
        return genuine(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    store = await Store.open(RedisSettings(address=f"redis.internal:{redis_own.port}", prefix=fresh))
    await store.check()
    before = len(asked)
    # When the server turns into a replica, which is what tells that there was a failover
    await store.client.replicaof("127.0.0.1", 1)
    with pytest.raises(StateUnavailable, match="a failover is under way"):
        await store.probe()
    with pytest.raises(StateUnavailable):
        await store.probe()
    # Then the name was looked up again for the next try
    assert len(asked) > before > 0
    await store.close()


async def test_readiness_names_what_it_sees(redis_own: Server) -> None:
    # Given a store that works
    store = await Store.open(RedisSettings(address=redis_own.address))
    await store.probe()
    # When Redis is full
    await store.client.config_set("maxmemory", 1)
    with pytest.raises(StateUnavailable, match="raise its maxmemory") as full:
        await store.probe()
    await store.client.config_set("maxmemory", 0)
    # And when our user loses a right, and then Redis is away
    await store.client.execute_command("ACL", "SETUSER", "default", "-evalsha")
    with pytest.raises(StateUnavailable, match=r"the script probe on bb:probe: .*grant the user what docs") as forbidden:
        await store.probe()
    redis_own.stop()
    with pytest.raises(StateUnavailable) as away:
        await store.probe()
    # Then each has its word
    assert [it.value.reason for it in (full, forbidden, away)] == ["out_of_memory", "forbidden", "unreachable"]
    await store.close()


async def test_what_is_refused_after_it_has_worked_is_waited_for(redis_own: Server, said: Recorder) -> None:
    # Given a store that has worked, and rights that are taken away for a while
    async def sleep(_seconds: float) -> None:
        async with Pair.client(redis_own) as admin:
            await admin.execute_command("ACL", "SETUSER", "brigade", "+evalsha")

    async with Pair.client(redis_own) as admin:
        rights = ["on", "nopass", "~*", "+@all"]
        await admin.execute_command("ACL", "SETUSER", "brigade", *rights)
        store = await Store.open(RedisSettings(address=redis_own.address, username="brigade"), sleep=sleep)
        await store.check()
        await admin.execute_command("ACL", "SETUSER", "brigade", "-evalsha")
    # When something is written
    await publish(Cache(store), ["a"])
    # Then it was waited for, and the log says which right was missing
    reason = next(fields["reason"] for _, _, fields in said.lines if fields["action"] == "redis_away")
    assert reason.startswith("the script ")
    assert "evalsha" in reason
    assert said.actions()[-1] in ("redis_back", "redis_limit_raised")
    await store.close()
