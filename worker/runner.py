"""A worker process from its settings: everything it is made of, put together.

Peak memory of one process: about 80 MiB for Python and its libraries, plus `buffer_bytes` of object bytes (worker.budget), plus
about 100 KiB for each connection in use; independent of the size of objects.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import secrets
import signal
import socket
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from common import loop
from common.background import Background
from common.cancelling import unless
from common.ends import ends_of
from common.errors import ObjectError, QueueUnavailable, SettingsError
from common.heartbeat import Heartbeat, directory
from common.queues.registry import open_large, open_queue
from common.state.agreements import Agreements
from common.state.cache import Cache
from common.state.flight import Flight
from common.state.holds import Holds
from common.state.reported import Reported
from common.state.store import Store
from common.state.uploads import Uploads
from common.steps import ignore
from common.storage.registry import open_reader, open_writer, ready
from common.telemetry import get_logger
from common.transport.http import Transport
from worker.allocator import collect_rarely, keep_buffers
from worker.budget import Budget
from worker.carry import Rules
from worker.claim import Claims
from worker.consume import Consumer
from worker.failure import Failures
from worker.faults import Faults
from worker.holding import Holding
from worker.newcomers import Newcomers
from worker.parking import ParkedRoutes
from worker.replicate import Ends, Replicator
from worker.settle import Settler
from worker.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from common.config import Route, Settings
    from common.queues.base import Queue
    from common.steps import OnStep
    from common.storage.shared import Shared

log = get_logger(__name__)

LONGEST_PAUSE = 30.0


def run(settings: Settings, on_step: OnStep = ignore) -> int:
    """Work until SIGTERM or SIGINT, or until the parent is gone; the exit code."""
    # More passes through than the budget counts: answers in pieces, requests made of them. With less than twice it, half of
    # the pages come back as faults (docs/performance.md).
    keep_buffers(3 * settings.worker.buffer_bytes)
    collect_rarely()
    return loop.run(work(settings, on_step))


async def work(settings: Settings, on_step: OnStep = ignore) -> int:
    """One worker process. Raises SettingsError when queue or Redis refuse us; a service that is away is waited for."""
    stop = asyncio.Event()
    events = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        events.add_signal_handler(number, stop.set)
    if (parent := multiprocessing.parent_process()) is not None:
        events.add_reader(parent.sentinel, _orphaned, events, parent.sentinel, stop)
    name = f"{socket.gethostname()}-{os.getpid()}"
    async with AsyncExitStack() as stack:
        store = await Store.open(settings.redis)
        stack.push_async_callback(store.close)
        await unless(stop, store.check())
        queues = []
        for open_one in (open_queue, open_large):
            queue = await unless(stop, _patiently(partial(open_one, settings)))
            if queue is None:
                return 0
            stack.push_async_callback(queue.close)
            queues.append(queue)
        transport = Transport(most_connections=(settings.worker.slots + settings.worker.large_slots) * 2)
        stack.push_async_callback(transport.close)
        shared = Agreements(store)
        ends = {}
        for route in settings.routes:
            try:
                ends[route.name] = Ends(
                    open_reader(route, settings, transport, shared=shared),
                    open_writer(route, settings, transport, shared=shared),
                    Rules.of(route),
                )
            except ObjectError as error:
                raise SettingsError([f"route {route.name}: {error}"]) from error
            stack.push_async_callback(ends[route.name].reader.close)
            stack.push_async_callback(ends[route.name].writer.close)
            await unless(stop, _look_ahead(route, settings, transport, shared))
        tally = Tally()
        consumer = _assemble(settings, name, store, queues, ends, tally=tally, on_step=on_step)
        log.info("worker started", action="worker_started", worker=name, routes=sorted(ends), slots=settings.worker.slots)
        heartbeat = Heartbeat(
            directory(settings.health.heartbeat_dir), "worker", [partial(store.send, [("PING",)]), queues[0].backlog]
        )
        stack.callback(heartbeat.close)
        background = Background()
        stack.push_async_callback(background.close)
        background.keep("heartbeat", heartbeat.keep)
        await consumer.run(stop)
        log.info("worker stopped", action="worker_stopped", worker=name, **tally.counts())
    return 0


async def _look_ahead(route: Route, settings: Settings, transport: Transport, shared: Shared) -> None:
    """Say what would refuse every object of the route. It does not keep the worker from its other routes, and the route itself is
    held after a few objects, and tried again by itself (worker.holding).
    """
    try:
        await ready(route, settings, transport, shared)
    except ObjectError as error:
        fields = {"action": "destination_unready", "route": route.name, "category": error.category.value, "error": str(error)}
        log.error("a destination takes nothing as it stands", **fields)  # noqa: TRY400 - expected: the text says it all


async def _patiently(open_one: Callable[[], Awaitable[Queue]]) -> Queue:
    """The queue, as soon as it answers."""
    pause = 1.0
    while True:
        try:
            return await open_one()
        except QueueUnavailable as error:
            log.warning("the queue is away", action="queue_away", error=str(error), next_try_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def _orphaned(loop: asyncio.AbstractEventLoop, sentinel: int, stop: asyncio.Event) -> None:
    loop.remove_reader(sentinel)
    log.warning("the parent process is gone, stopping", action="worker_orphaned")
    stop.set()


def _assemble(
    settings: Settings, name: str, store: Store, queues: Sequence[Queue], ends: dict[str, Ends], *, tally: Tally, on_step: OnStep
) -> Consumer:
    queue, large = queues
    digests = {route.name: ends_of(route, settings).digest for route in settings.routes}
    cache = Cache(store, ends=digests)
    # In a container the name outlives the process, and whoever comes back under it must not be taken for the one that died.
    owner = f"{name}-{secrets.token_hex(4)}"
    claims = Claims(cache, owner, queue.lease)
    settler = Settler(cache, Flight(store), owner, tally, on_step)
    shared = Agreements(store)
    holding = Holding(
        Holds(store),
        after=settings.worker.hold_after,
        pauses=(settings.worker.hold_seconds, max(settings.worker.hold_seconds, settings.worker.hold_longest_seconds)),
        trial_seconds=queue.lease,
        now=time.time,
    )
    failures = Failures(
        name=name,
        cache=cache,
        claims=claims,
        settler=settler,
        parking=ParkedRoutes(shared, time.time, holding),
        attempts=settings.worker.attempts,
        backoff_seconds=settings.worker.backoff_seconds,
        lease_seconds=queue.lease,
        random=random.random,
        now=time.time,
        newcomers=Newcomers(shared, settings.worker.unknown_seconds, random=random.random, now=time.time),
        reported=Reported(store) if settings.queue.kind == "pubsub" else None,
    )
    replicator = Replicator(
        name=name,
        ends=ends,
        queue=queue,
        claims=claims,
        settler=settler,
        failures=failures,
        uploads=Uploads(store, digests),
        budget=Budget(settings.worker.buffer_bytes),
        part_bytes=settings.worker.part_bytes,
        now=time.time,
        on_step=on_step,
        deaths=settings.worker.deaths,
    )
    return Consumer(
        queue,
        large,
        replicator,
        claims,
        tally,
        slots=settings.worker.slots,
        large_slots=settings.worker.large_slots,
        large_bytes=settings.worker.part_bytes,
        grace_seconds=settings.worker.grace_seconds,
        on_step=on_step,
        faults=Faults(name),
    )
