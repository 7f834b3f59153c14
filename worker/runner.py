"""A worker from its settings: one process with its event loop, or several that are watched by a parent.

Peak memory of one process: about 80 MiB for Python and its libraries, plus `buffer_bytes` of object bytes (worker.budget), plus
about 100 KiB for each connection in use; independent of the size of objects.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import os
import random
import signal
import socket
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import uvloop

from common.errors import SettingsError
from common.queues.registry import open_queue
from common.state.cache import Cache
from common.state.store import Store
from common.state.uploads import Uploads
from common.steps import ignore
from common.storage.registry import open_reader, open_writer
from common.telemetry import configure, get_logger
from common.transport.http import Transport
from worker.budget import Budget
from worker.claim import Claims
from worker.consume import Consumer
from worker.failure import Failures
from worker.replicate import Ends, Replicator
from worker.settle import Settler
from worker.tally import Tally

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from common.config import Settings
    from common.queues.base import Queue
    from common.steps import OnStep

log = get_logger(__name__)

CANNOT_START = 2
RESTART_SECONDS = 1.0
"""Before a process that died is replaced, so that one that dies at its start does not keep the machine busy."""


def run(settings: Settings, processes: int, on_step: OnStep = ignore) -> int:
    """Work until SIGTERM or SIGINT; the exit code. With several processes, one that dies is replaced and the others go on."""
    if processes == 1:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work(settings, on_step))
    return _Parent(settings, processes, on_step).run()


async def work(settings: Settings, on_step: OnStep = ignore) -> int:
    """One worker process. Raises SettingsError when queue or Redis refuse us; a service that is away is waited for."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if (parent := multiprocessing.parent_process()) is not None:
        loop.add_reader(parent.sentinel, _orphaned, loop, parent.sentinel, stop)
    name = f"{socket.gethostname()}-{os.getpid()}"
    async with AsyncExitStack() as stack:
        store = await Store.open(settings.redis)
        stack.push_async_callback(store.close)
        await store.check()
        queue = await open_queue(settings)
        stack.push_async_callback(queue.close)
        transport = Transport(most_connections=settings.worker.slots * 2)
        stack.push_async_callback(transport.close)
        ends = {}
        for route in settings.routes:
            ends[route.name] = Ends(open_reader(route, settings, transport), open_writer(route, settings, transport))
            stack.push_async_callback(ends[route.name].reader.close)
            stack.push_async_callback(ends[route.name].writer.close)
        tally = Tally()
        consumer = _assemble(settings, name, store, queue, ends, tally=tally, on_step=on_step)
        log.info("worker started", action="worker_started", worker=name, routes=sorted(ends), slots=settings.worker.slots)
        await consumer.run(stop)
        log.info("worker stopped", action="worker_stopped", worker=name, **tally.counts())
    return 0


def _orphaned(loop: asyncio.AbstractEventLoop, sentinel: int, stop: asyncio.Event) -> None:
    loop.remove_reader(sentinel)
    log.warning("the parent process is gone, stopping", action="worker_orphaned")
    stop.set()


def _assemble(
    settings: Settings, name: str, store: Store, queue: Queue, ends: dict[str, Ends], *, tally: Tally, on_step: OnStep
) -> Consumer:
    cache = Cache(store)
    claims = Claims(cache, name, queue.lease)
    settler = Settler(cache, name, tally, on_step)
    failures = Failures(
        name=name,
        cache=cache,
        claims=claims,
        settler=settler,
        attempts=settings.worker.attempts,
        backoff_seconds=settings.worker.backoff_seconds,
        lease_seconds=queue.lease,
        random=random.random,
        now=time.time,
    )
    replicator = Replicator(
        name=name,
        ends=ends,
        queue=queue,
        claims=claims,
        settler=settler,
        failures=failures,
        uploads=Uploads(store),
        budget=Budget(settings.worker.buffer_bytes),
        part_bytes=settings.worker.part_bytes,
        now=time.time,
        on_step=on_step,
    )
    return Consumer(queue, replicator, claims, tally, slots=settings.worker.slots, grace_seconds=settings.worker.grace_seconds)


def _child(settings: Settings, on_step: OnStep) -> None:
    configure(settings.log)
    try:
        raise SystemExit(run(settings, 1, on_step))
    except SettingsError as error:
        log.error("the settings cannot work", action="settings_refused", error=str(error))  # noqa: TRY400 - for the operator
        raise SystemExit(CANNOT_START) from None


class _Parent:
    """Keeps `processes` children at work. They are spawned, never forked: a forked gRPC or libcurl hangs."""

    def __init__(self, settings: Settings, processes: int, on_step: OnStep) -> None:
        self._settings = settings
        self._count = processes
        self._on_step = on_step
        self._context = multiprocessing.get_context("spawn")
        self._children: list[BaseProcess] = []
        self._stopping = False
        self._exit_code = 0

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        self._children = [self._start() for _ in range(self._count)]
        while not self._stopping:
            multiprocessing.connection.wait([child.sentinel for child in self._children], timeout=1.0)
            self._replace_the_dead()
        for child in self._children:
            child.join(self._settings.worker.grace_seconds + 10)
            if child.is_alive():
                child.kill()
        return self._exit_code

    def _start(self) -> BaseProcess:
        child = self._context.Process(target=_child, args=(self._settings, self._on_step), name="brigade-worker")
        child.start()
        return child

    def _stop(self) -> None:
        self._stopping = True
        for child in self._children:
            if child.pid is not None and child.is_alive():
                os.kill(child.pid, signal.SIGTERM)

    def _replace_the_dead(self) -> None:
        for place, child in enumerate(self._children):
            if child.exitcode == CANNOT_START:
                self._exit_code = CANNOT_START  # a new process would be refused for the same reason
                self._stop()
            if not child.is_alive() and not self._stopping:
                log.error("a worker process died and is replaced", action="worker_died", exit_code=child.exitcode)
                time.sleep(RESTART_SECONDS)
                self._children[place] = self._start()
