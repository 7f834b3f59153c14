"""Which module serves which scheme, and in which order the wrappers lie around a backend."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Protocol

from common.storage import file, gcs, memory, s3
from common.storage.retry import Policy, Retrier, RetryingReader, RetryingWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.config import Route, Settings, StoreOptions, WorkerSettings
    from common.location import Location
    from common.storage.base import Reader, Writer
    from common.storage.retry import Random, Sleep
    from common.transport.http import Transport


REQUEST_ATTEMPTS = 3


class Backend(Protocol):
    """What the module of a backend offers. Whether the location exists is the first call's business, not theirs."""

    def reader(self, location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Reader: ...

    def writer(self, location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Writer: ...


BACKENDS: dict[str, Backend] = {
    "s3": s3,
    "gs": gcs,
    "file": file,
    "memory": memory,
}


def _as_it_is_reader(reader: Reader) -> Reader:
    return reader


def _as_it_is_writer(writer: Writer) -> Writer:
    return writer


def open_reader(
    route: Route,
    settings: Settings,
    transport: Transport,
    *,
    inside: Callable[[Reader], Reader] = _as_it_is_reader,
    outside: Callable[[Reader], Reader] = _as_it_is_reader,
    sleep: Sleep = asyncio.sleep,
    dice: Random = random.random,
) -> Reader:
    """The source of the route: backend, `inside`, retries, `outside`, from the inside out. The caller closes it.

    `inside` and `outside` are for tests: faults that the retries are to meet, and a look at what comes through them.
    """
    backend = BACKENDS[route.source.scheme].reader(route.source, route.source_options, settings, transport)
    return outside(RetryingReader(inside(backend), Retrier(policy(settings.worker), sleep, dice)))


def open_writer(
    route: Route,
    settings: Settings,
    transport: Transport,
    *,
    inside: Callable[[Writer], Writer] = _as_it_is_writer,
    outside: Callable[[Writer], Writer] = _as_it_is_writer,
    sleep: Sleep = asyncio.sleep,
    dice: Random = random.random,
) -> Writer:
    """The destination of the route, stacked as `open_reader` does."""
    backend = BACKENDS[route.destination.scheme].writer(route.destination, route.destination_options, settings, transport)
    return outside(RetryingWriter(inside(backend), Retrier(policy(settings.worker), sleep, dice)))


def policy(worker: WorkerSettings) -> Policy:
    """A few quick ones: RETRY_ATTEMPTS counts the attempts at an object, and each should survive a connection that breaks."""
    return Policy(attempts=min(REQUEST_ATTEMPTS, worker.attempts), first_delay=worker.backoff_seconds)
