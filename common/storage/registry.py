"""Which module serves which scheme, and in which order the wrappers lie around a backend."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from common.storage import cdn, file, gcs, gdrive, memory, s3
from common.storage.retry import Policy, Retrier, RetryingReader, RetryingWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.config import Route, Settings, StoreOptions, WorkerSettings
    from common.location import Location
    from common.storage.base import Reader, Writer
    from common.storage.retry import Random, Sleep
    from common.storage.shared import Shared
    from common.transport.http import Transport


REQUEST_ATTEMPTS = 3
LISTING_ATTEMPTS = 7
"""At each page of a destination's listing."""


class Backend(Protocol):
    """What the module of a backend offers. Whether the location exists is the first call's business, not theirs."""

    def reader(self, location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Reader: ...

    def writer(self, location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> Writer: ...

    async def ready(self, location: Location, options: StoreOptions, settings: Settings, transport: Transport) -> None:
        """Raises ObjectError where nothing could be written, for certain. A look that is forbidden itself proves nothing."""
        ...


class SharingBackend(Protocol):
    """The module of a backend whose workers tell each other what they do, because the service cannot keep them apart, or what
    they have found out of it.
    """

    def reader(
        self, location: Location, options: StoreOptions, settings: Settings, transport: Transport, shared: Shared | None = None
    ) -> Reader: ...

    def writer(
        self, location: Location, options: StoreOptions, settings: Settings, transport: Transport, shared: Shared | None = None
    ) -> Writer: ...

    async def ready(
        self, location: Location, options: StoreOptions, settings: Settings, transport: Transport, shared: Shared | None = None
    ) -> None: ...


BACKENDS: dict[str, Backend] = {
    "s3": s3,
    "gs": gcs,
    "gdrive": gdrive,
    "file": file,
    "memory": memory,
}


SHARING: dict[str, SharingBackend] = {"gdrive": gdrive, "s3": s3}


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
    shared: Shared | None = None,
    sleep: Sleep = asyncio.sleep,
    dice: Random = random.random,
) -> Reader:
    """The source of the route: backend, CDN, `inside`, retries, `outside`, from the inside out. The caller closes it.

    `inside` and `outside` are for tests: faults that the retries are to meet, and a look at what comes through them.
    """
    ends = route.source, route.source_options, settings, transport
    sharing = SHARING.get(route.source.scheme)
    backend = sharing.reader(*ends, shared) if sharing else BACKENDS[route.source.scheme].reader(*ends)
    backend = cdn.reader(backend, route, transport)
    return outside(RetryingReader(inside(backend), Retrier(policy(settings.worker), sleep, dice, at_source=True)))


def open_destination(
    route: Route, settings: Settings, transport: Transport, shared: Shared | None = None, sleep: Sleep = asyncio.sleep
) -> Reader:
    """A reader of the route's destination, to list what is there. It outlasts half a minute without the service, because a
    listing that fails says nothing of all that follows. The caller closes it.
    """
    ends = route.destination, route.destination_options, settings, transport
    sharing = SHARING.get(route.destination.scheme)
    backend = sharing.reader(*ends, shared) if sharing else BACKENDS[route.destination.scheme].reader(*ends)
    patient = replace(policy(settings.worker), attempts=LISTING_ATTEMPTS)
    return RetryingReader(backend, Retrier(patient, sleep, random.random, at_source=False))


def open_writer(
    route: Route,
    settings: Settings,
    transport: Transport,
    *,
    inside: Callable[[Writer], Writer] = _as_it_is_writer,
    outside: Callable[[Writer], Writer] = _as_it_is_writer,
    shared: Shared | None = None,
    sleep: Sleep = asyncio.sleep,
    dice: Random = random.random,
) -> Writer:
    """The destination of the route, stacked as `open_reader` does."""
    ends = route.destination, route.destination_options, settings, transport
    sharing = SHARING.get(route.destination.scheme)
    backend = sharing.writer(*ends, shared) if sharing else BACKENDS[route.destination.scheme].writer(*ends)
    return outside(RetryingWriter(inside(backend), Retrier(policy(settings.worker), sleep, dice, at_source=False)))


async def ready(
    route: Route,
    settings: Settings,
    transport: Transport,
    shared: Shared | None = None,
    *,
    sleep: Sleep = asyncio.sleep,
    dice: Random = random.random,
) -> None:
    """Raises ObjectError where it is known beforehand that nothing could be written to the route's destination: no such bucket or
    directory, no credentials, no room, nobody who answers after a few tries.
    """
    ends = route.destination, route.destination_options, settings, transport
    sharing = SHARING.get(route.destination.scheme)

    async def look() -> None:
        await (sharing.ready(*ends, shared) if sharing else BACKENDS[route.destination.scheme].ready(*ends))

    await Retrier(policy(settings.worker), sleep, dice, at_source=False).call("ready", "", look)


def policy(worker: WorkerSettings) -> Policy:
    """A few quick ones: RETRY_ATTEMPTS counts the attempts at an object, and each should survive a connection that breaks."""
    return Policy(attempts=min(REQUEST_ATTEMPTS, worker.attempts), first_delay=worker.backoff_seconds)
