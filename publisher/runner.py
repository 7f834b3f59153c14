"""The publisher as a process: opens what it needs, runs the schedule and the API, and stops in order.

`run` is what `brigade publish` does until it is told to stop; `run_once` is one scan of one route, for `brigade sync`.

At start the API is opened first and Redis and the queue are waited for, so that /readyz can say what is missing meanwhile.
At the end: no new page, the pages under way are confirmed and recorded, the lead is given up; API, queue and Redis are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import socket
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from common.background import Background
from common.cancelling import cancel, unless
from common.ends import ends_of
from common.errors import Inconsistent, RateLimited, SettingsError, Unavailable
from common.heartbeat import Heartbeat, directory
from common.queues.registry import open_errors, open_queue
from common.state.agreements import Agreements
from common.state.cache import Cache
from common.state.feeds import Feeds
from common.state.flight import Flight
from common.state.jobs import Jobs
from common.state.locks import Leader
from common.state.reconciliations import Reconciliations
from common.state.route_ends import RouteEnds
from common.state.store import Store
from common.steps import OnStep, ignore
from common.storage.registry import open_destination, open_reader
from common.telemetry import get_logger
from common.transport.http import Transport
from publisher.api.app import create_app
from publisher.api.bridge import Bridge
from publisher.api.desk import Desk
from publisher.api.health import create_health_app
from publisher.api.server import ApiServer
from publisher.health import Health
from publisher.increments import Increments
from publisher.jobs import Scanner
from publisher.leadership import LEASE_SECONDS, Leadership
from publisher.moved import Moved
from publisher.outlet import Outlet
from publisher.reconcile import Reconciler
from publisher.room import Room
from publisher.schedule import FINISH_SECONDS, GIVE_UP_SECONDS, Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.config import ApiSettings, Settings
    from common.state.jobs import Job, JobKind

log = get_logger(__name__)

STOP_SECONDS = FINISH_SECONDS + GIVE_UP_SECONDS + 10.0
"""From SIGTERM to the end, whatever hangs. Below the 30 s after which Kubernetes kills."""
LEADERSHIP = "publisher"
HEALTH_THREADS = 2
PATIENCE = 120.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Of a listing that cannot go on, in seconds (`run_once`)."""
LAST_PORT = 65535
CONTAINERS_BETWEEN_COLLECTIONS = 50_000
"""A page makes thousands of objects that are gone with it, hardly one of them in a cycle. To look for cycles after every 700, as
Python does unless told otherwise, took a sixth of the time of publishing."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What both ways of publishing are made of. Nothing is connected before `connect`."""

    store: Store
    room: Room
    outlet: Outlet
    jobs: Jobs
    cache: Cache
    scanner: Scanner
    notes: Reconciliations
    moved: Moved
    owner: str

    @classmethod
    async def make(cls, settings: Settings, stack: AsyncExitStack, on_step: OnStep) -> Self:
        """Closed by `stack`."""
        gc.set_threshold(CONTAINERS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
        store = await Store.open(settings.redis)
        stack.push_async_callback(store.close)
        room = Room(store)
        outlet = Outlet(partial(open_queue, settings), room=room)
        errors = Outlet(partial(open_errors, settings), room=room)
        for each in (outlet, errors):
            stack.push_async_callback(each.close)
        transport = Transport()
        stack.push_async_callback(transport.close)
        owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        jobs, cache, notes = Jobs(store), Cache(store), Reconciliations(store)
        scanner = Scanner(
            lambda route: open_reader(route, settings, transport, shared=Agreements(store)),
            cache=cache,
            jobs=jobs,
            flight=Flight(store),
            outlet=outlet,
            errors=errors,
            settings=settings.publisher,
            owner=owner,
            clock=time.time,
            on_step=on_step,
            increments=Increments(Feeds(store), settings.publisher.full_sweep_seconds, time.time),
            reconciler=Reconciler(
                lambda route: open_destination(route, settings, transport, Agreements(store)),
                notes,
                jobs,
                settings.publisher.reconcile_seconds,
                time.time,
            ),
        )
        moved = Moved(RouteEnds(store), cache, lambda route: ends_of(route, settings))
        return cls(store, room, outlet, jobs, cache, scanner, notes, moved, owner)

    async def connect(self) -> None:
        """Wait for Redis and the queue. Raises SettingsError when one of them cannot work as it is set up."""
        await self.store.check()
        await self.outlet.open()

    async def redis(self) -> None:
        """Raises StateUnavailable while Redis takes no writes, or has so little room left that publishing waits."""
        await self.store.probe()
        await self.room.check()

    async def ping(self) -> None:
        await self.store.send([("PING",)])


async def run(settings: Settings, on_step: OnStep = ignore) -> int:
    """Publish until SIGTERM or SIGINT; the answer is the exit code. Raises SettingsError when it cannot start."""
    if not settings.routes:
        raise SettingsError(["routes: there is none; write one in brigade.toml, or set AWS_S3_BUCKET and GCP_BUCKET_NAME"])
    stop = asyncio.Event()
    with _signals(stop):
        work = asyncio.create_task(_work(settings, stop, on_step))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.info("stopping", action="publisher_stopping")
                await asyncio.wait([work], timeout=STOP_SECONDS)
        finally:
            await cancel(work, stopped)
    if not work.cancelled():
        work.result()
    log.info("stopped", action="publisher_stopped")
    return 0


async def run_once(
    settings: Settings,
    *,
    kind: JobKind,
    on_step: OnStep = ignore,
    again: bool = False,
    only_here: bool = False,
    reconcile: bool | None = None,
) -> Job:
    """Scan the only route to the end, going on with a job whose scan was interrupted; the job, as it is when its scan has ended.

    With `again` the job does not end with this scan, but is to be scanned once more. `only_here`, `reconcile`: see `Scanner.run`.

    Takes a term and does not keep it: whoever calls it has the Redis to itself. A source that is away is asked again from where
    the listing stands, for PATIENCE seconds without a step forward: as long as the attempts at an object take. One that answers
    what does not fit together is not waited for.

    Raises ObjectError when the source cannot be listed, SettingsError when something cannot work as it is set up. Cancelled, or
    failed in a way that may pass, the job is resumed by the next call.
    """
    (route,) = settings.routes
    async with AsyncExitStack() as stack:
        parts = await _Parts.make(settings, stack, on_step)
        await parts.connect()
        leader = Leader(parts.store, LEADERSHIP, parts.owner, LEASE_SECONDS)
        stack.push_async_callback(leader.give_up)
        term = await leader.take_over()
        await parts.moved.look(route)
        waiting = _Patience()
        while True:
            job = await parts.jobs.open(route.name, kind, time.time())
            try:
                await parts.scanner.run(route, job, term=term, again=again, only_here=only_here, reconcile=reconcile)
            except (Unavailable, RateLimited) as error:
                now = await parts.jobs.get(job.id)
                pause = waiting.pause(now.checkpoint.after if now is not None else None)
                if pause is None or isinstance(error, Inconsistent):
                    raise
                log.warning(
                    "the source cannot be listed just now; it is asked again from there",
                    action="listing_waits",
                    route=route.name,
                    error=str(error),
                    next_try_seconds=pause,
                )
                await asyncio.sleep(pause)
            else:
                return await parts.jobs.get(job.id) or job


class _Patience:
    """How long a listing that cannot go on waits. It begins anew whenever the listing has come further."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._place: str | None = None
        self._since = clock()
        self._pause = FIRST_PAUSE

    def pause(self, place: str | None) -> float | None:
        """Seconds until the next try; None when it has had its time. `place` is how far the listing has come."""
        if place != self._place:
            self._place, self._since, self._pause = place, self._clock(), FIRST_PAUSE
        if self._clock() - self._since >= PATIENCE:
            return None
        pause = self._pause
        self._pause = min(pause * 2, LONGEST_PAUSE)
        return pause


async def _work(settings: Settings, stop: asyncio.Event, on_step: OnStep) -> None:
    async with AsyncExitStack() as stack:
        parts = await _Parts.make(settings, stack, on_step)
        scheduler = Scheduler(
            settings.routes,
            jobs=parts.jobs,
            scanner=parts.scanner,
            reconciliations=parts.notes,
            moved=parts.moved,
            leadership=Leadership(Leader(parts.store, LEADERSHIP, parts.owner, LEASE_SECONDS)),
            sweep_seconds=settings.publisher.sweep_seconds,
        )
        heartbeat = Heartbeat(directory(settings.health.heartbeat_dir), "publisher", [parts.ping, parts.outlet.check])
        stack.callback(heartbeat.close)
        background = Background()
        stack.push_async_callback(background.close)
        background.keep("heartbeat", heartbeat.keep)
        _serve(settings, parts, scheduler, stack, background)
        await unless(stop, parts.connect())
        if not stop.is_set():
            await scheduler.run(stop)


def _serve(settings: Settings, parts: _Parts, scheduler: Scheduler, stack: AsyncExitStack, background: Background) -> None:
    if settings.api is None:
        return
    health = Health({"redis": parts.redis, "queue": parts.outlet.check})
    background.keep("health", health.watch)
    desk = Desk(
        bridge=Bridge(asyncio.get_running_loop()),
        routes=[route.name for route in settings.routes],
        cache=parts.cache,
        jobs=parts.jobs,
        scans=scheduler,
        health=health,
    )
    server = ApiServer(create_app(settings.api, desk), settings.api.host, settings.api.port)
    stack.push_async_callback(server.stop)
    server.start()
    ports = {"port": server.port, "health_port": _serve_health(settings.api, health, stack)}
    log.info("the HTTP API listens", action="api_listening", host=settings.api.host, **ports)


def _serve_health(api: ApiSettings, health: Health, stack: AsyncExitStack) -> int | None:
    """The port of the health listener: a server and threads of its own, so that it answers whatever the API's clients do. None
    where no port was asked for and the next one is taken; the API's own port answers, too.
    """
    port = api.health_port
    try:
        server = ApiServer(
            create_health_app(health),
            api.host,
            _beside(api.port) if port is None else port,
            name="health",
            threads=HEALTH_THREADS,
        )
    except SettingsError as error:
        if port is not None:
            raise
        log.info("no health listener of its own; /healthz is on the port of the API", action="health_unserved", reason=str(error))
        return None
    stack.push_async_callback(server.stop)
    server.start()
    return server.port


def _beside(port: int) -> int:
    return port + 1 if 0 < port < LAST_PORT else 0


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
