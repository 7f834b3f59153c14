"""An HTTP API on a real port over a real Redis, and a client that asks it."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import SecretStr

from common.cancelling import cancel
from common.config import ApiSettings, RedisSettings
from common.state.cache import Cache, Receipt, Settled, Settlement
from common.state.jobs import Jobs
from common.state.reconciliations import Reconciliations
from common.state.store import Store
from publisher.api.app import create_app
from publisher.api.bridge import Bridge
from publisher.api.desk import Desk
from publisher.api.server import ApiServer
from publisher.health import Health
from tests.published import publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from common.state.jobs import Job

USER, PASSWORD = "admin", "s3cret:ö"
TOKEN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
AT = 1_800_000_000


class Answer:
    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """A served API, its surroundings, and a client."""

    def __init__(self, port: int, store: Store, cache: Cache, jobs: Jobs, trouble: dict[str, Exception]) -> None:
        self.port = port
        self.store = store
        self.cache = cache
        self.jobs = jobs
        self.trouble = trouble

    async def ask(
        self, method: str, path: str, *, auth: str | None = f"{USER}:{PASSWORD}", body: bytes | None = None, **headers: str
    ) -> Answer:
        return await asyncio.to_thread(self.ask_now, method, path, auth, body, headers)

    def ask_now(self, method: str, path: str, auth: str | None, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if auth is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(auth.encode()).decode()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    async def ready(self, expected: dict[str, Any]) -> Answer:
        """What /readyz answers, once it answers that: it tells what was found a moment ago."""
        give_up = time.monotonic() + 20
        while (answer := await self.ask("GET", "/readyz", auth=None)).json != expected:
            assert time.monotonic() < give_up, answer.json
            await asyncio.sleep(0.02)
        return answer

    async def fill(self, *keys: str, route: str = "one", consumed: bool = True) -> None:
        """Records of both kinds, or only published ones."""
        job = await self.jobs.open(route, "sweep", AT)
        await publish(self.store, route, job.id, [(key, "e1") for key in keys], at=AT, after="x")
        if consumed:
            receipts = [Receipt("e1", 3, 7, "g1", AT, "worker-1") for _ in keys]
            await self.cache.settle(
                [
                    Settlement(route, key, "e1", "w", Settled.MOVED, receipt, 3)
                    for key, receipt in zip(keys, receipts, strict=True)
                ]
            )


class JustOpens:
    """Scans that are asked for and never run."""

    def __init__(self, jobs: Jobs, notes: Reconciliations) -> None:
        self.jobs = jobs
        self.notes = notes

    async def request(self, routes: Sequence[str], *, reconcile: bool = False) -> list[Job]:
        for route in routes if reconcile else ():
            await self.notes.want(route)
        return [await self.jobs.open(route, "demand", AT) for route in routes]


@asynccontextmanager
async def served(redis: RedisSettings, *routes: str) -> AsyncIterator[Api]:
    store = await Store.open(redis)
    cache, jobs = Cache(store), Jobs(store)
    trouble: dict[str, Exception] = {}

    async def ping() -> None:
        await store.send([("PING",)])

    async def queue() -> None:
        if "queue" in trouble:
            raise trouble["queue"]

    settings = ApiSettings(port=0, username=USER, password=SecretStr(PASSWORD))
    health = Health({"redis": ping, "queue": queue}, every=0.02)
    await health.ask()
    watching = asyncio.create_task(health.watch())
    desk = Desk(Bridge(asyncio.get_running_loop()), routes, cache, jobs, JustOpens(jobs, Reconciliations(store)), health)
    server = ApiServer(create_app(settings, desk), settings.host, settings.port)
    server.start()
    try:
        yield Api(server.port, store, cache, jobs, trouble)
    finally:
        await server.stop()
        await cancel(watching)
        await store.close()


async def fill_many(api: Api, count: int) -> None:
    job = await api.jobs.open("one", "sweep", AT)
    for start in range(0, count, 5000):
        entries = [(f"folder/{number:080}", f"{number:032x}") for number in range(start, start + 5000)]
        await publish(api.store, "one", job.id, entries, at=AT, after=str(start))


def resident() -> float:
    """This process's resident memory in MiB."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - a file of the kernel
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def name(key: str, kind: str = "published") -> str:
    return f"/cache/name?value={quote(f'{kind}:{key}', safe='')}"
