"""What the harness asks of the line itself: scan and publish, wait for a job, fill the cache, put one task on the queue.

A program of its own, started in the tree under test (`make bench-compare` runs it in two), so that tasks and records are made by
the same code that reads them. It obeys lines of JSON on standard input and answers each with one on standard output:

    {"do": "publish"}                      scan the only route and publish; the job's id, seconds, CPU
    {"do": "wait", "job": …, "seconds": …} until the job is done and the queue empty; when that was, and the counters
    {"do": "progress", "job": …}           how far the job is, and when that was
    {"do": "prefill"}                      both records for everything the source lists, nothing is moved
    {"do": "send", "key": …, …}            one task, as the publisher makes it; when it was put
    {"do": "backlog"}                      how many tasks are on the queue
    {"do": "open"}                         connect Redis and the queue, so that the first `send` measures no handshake
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from common.objects import Version
from common.queues.registry import open_queue
from common.settings import load
from common.state.cache import Cache, Receipt, Settled, Settlement
from common.state.jobs import Jobs
from common.state.store import Store
from common.storage.registry import open_reader
from common.task import Task, encode
from common.telemetry import configure
from common.transport.http import Transport
from publisher.runner import run_once
from tests.published import publish

if TYPE_CHECKING:
    from common.config import Settings
    from common.objects import StoredObject
    from common.queues.base import Queue
    from common.state.jobs import Job

SETTLED_AT_ONCE = 1000
SHORTEST_PAUSE, LONGEST_PAUSE = 0.003, 0.1


def used() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


class Conductor:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: Store | None = None
        self._queue: Queue | None = None
        self._number = 0
        self._job: Job | None = None

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        calls = (self.publish, self.wait, self.progress, self.prefill, self.send, self.backlog, self.open)
        return await {call.__name__: call for call in calls}[order.pop("do")](**order)

    async def open(self) -> dict[str, Any]:
        self._store = self._store or await Store.open(self._settings.redis)
        self._queue = self._queue or await open_queue(self._settings)
        await self._store.send([("PING",)])
        return {}

    async def close(self) -> None:
        if self._queue:
            await self._queue.close()
        if self._store:
            await self._store.close()

    async def publish(self, *, reconcile: bool = False) -> dict[str, Any]:
        """A whole scan, measured from the first call to the last record, connections included; with `reconcile` of both sides."""
        cpu, began = used(), time.monotonic()
        job = await run_once(self._settings, kind="sync", reconcile=reconcile)
        seconds = time.monotonic() - began
        return {"seconds": seconds, "cpu": used() - cpu, **described(job)}

    async def wait(self, *, job: str, seconds: float) -> dict[str, Any]:
        """Looks often when the end is near, and seldom before, so that looking costs the line nothing."""
        await self.open()
        assert self._store
        assert self._queue
        jobs, began = Jobs(self._store), time.monotonic()
        while time.monotonic() < began + seconds:
            found = await jobs.get(job)
            if found is None or found.state == "failed":
                raise RuntimeError(f"job {job} is {found.message if found else 'gone'}")
            if found.state == "done" and not await self._queue.backlog():
                return {"at": time.monotonic(), **described(found)}
            gone = time.monotonic() - began
            share = found.in_flight / max(1, found.listed)
            await asyncio.sleep(min(max(gone * share / 4, SHORTEST_PAUSE), LONGEST_PAUSE))
        found = await jobs.get(job)
        raise RuntimeError(f"after {seconds:.0f} s the job was not done: {found and described(found)}")

    async def progress(self, *, job: str) -> dict[str, Any]:
        await self.open()
        assert self._store
        found = await Jobs(self._store).get(job)
        if found is None or found.state == "failed":
            raise RuntimeError(f"job {job} is {found.message if found else 'gone'}")
        return {"at": time.monotonic(), **described(found)}

    async def prefill(self, *, alike: bool = False) -> dict[str, Any]:
        """What a finished copy of the whole source leaves behind; `alike`: to a destination that lists the same versions."""
        await self.open()
        assert self._store
        cache, jobs = Cache(self._store), Jobs(self._store)
        (route,) = self._settings.routes
        job, number, began = await jobs.open(route.name, "sync", time.time()), 0, time.monotonic()
        transport = Transport()
        reader = open_reader(route, self._settings, transport)
        async for page in reader.list(None):
            now, count = int(time.time()), len(page.objects)
            entries = [(item.key, item.version.token) for item in page.objects]
            await publish(self._store, route.name, job.id, entries, at=now, after=page.after)
            for first in range(0, count, SETTLED_AT_ONCE):
                batch = page.objects[first : first + SETTLED_AT_ONCE]
                await cache.settle([_consumed(route.name, number + first + at, it, alike) for at, it in enumerate(batch)])
            number += count
        await jobs.scanned(job, 0)
        await reader.close()
        await transport.close()
        return {"seconds": time.monotonic() - began, "objects": number}

    async def backlog(self) -> dict[str, Any]:
        await self.open()
        assert self._queue
        return {"backlog": await self._queue.backlog()}

    async def send(self, *, key: str, token: str, size: int) -> dict[str, Any]:
        await self.open()
        assert self._store
        assert self._queue
        (route,) = self._settings.routes
        self._job = self._job or await Jobs(self._store).open(route.name, "demand", time.time())
        await publish(self._store, route.name, self._job.id, [(key, token)], at=time.time())
        task = Task(
            route=route.name,
            key=key,
            version=Version(token),
            size=size,
            modified=None,
            destination=route.destination.url(key),
            job=self._job.id,
            number=self._number,
            queued=datetime.now(UTC),
        )
        self._number += 1
        at = time.monotonic()
        await self._queue.send([encode(task)])
        return {"at": at, "job": self._job.id}


def described(job: Job) -> dict[str, Any]:
    numbers = ("published", "listed", "moved", "proven", "in_flight", "failed", "bytes")
    return {"job": job.id, "state": job.state, **{name: getattr(job, name) for name in numbers}}


def _consumed(route: str, number: int, item: StoredObject, alike: bool) -> Settlement:
    now = int(time.time())
    generation = item.version.token if alike else str(now * 1_000_000 + number % 1_000_000)
    receipt = Receipt(item.version.token, item.size, number * 2654435761 % 2**32, generation, now, "prefill")
    return Settlement(route, item.key, receipt.etag, "prefill", Settled.MOVED, receipt, item.size)


async def main() -> None:
    settings = load(os.environ, Path(os.environ["BRIGADE_CONFIG"]), needs={"routes", "queue", "redis"})
    configure(settings.log)
    conductor = Conductor(settings)
    loop = asyncio.get_running_loop()
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 - the answer
    try:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            try:
                answer = await conductor.obey(json.loads(line))
            except Exception as error:  # noqa: BLE001 - the harness shows it and fails the run
                answer = {"error": "".join(traceback.format_exception(error)[-4:])}
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({**answer, "memory": memory}), flush=True)  # noqa: T201
    finally:
        await conductor.close()


if __name__ == "__main__":
    uvloop.run(main())  # as the publisher does
