"""A source and a destination with a publisher and a worker between them, in one process: a `sync` without its processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from common.config import PublisherSettings
from common.state.flight import Flight
from common.state.jobs import Jobs
from common.state.reconciliations import Reconciliations
from common.task import decode
from publisher.jobs import Scanner
from publisher.reconcile import Reconciler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from common.config import Route
    from common.state.jobs import Job
    from common.storage.base import Reader
    from publisher.outlet import Outlet
    from tests.unit.worker.conftest import Delivered, World
    from worker.replicate import Ends


@dataclass
class _Kept:
    """In the place of a queue."""

    messages: list[bytes] = field(default_factory=list)

    async def open_once(self) -> None: ...

    async def send(self, messages: Sequence[bytes]) -> None:
        self.messages += messages


class Pair:
    """`world` has the worker, which knows the route by its `ends`; `open_destination` gives a reader of the destination."""

    def __init__(self, world: World, route: Route, ends: Ends, open_destination: Callable[[], Reader]) -> None:
        self.world = world
        self.route = route
        self.ends = ends
        self.jobs = Jobs(world.redis)
        self.errors = _Kept()
        self.tasks = _Kept()
        world.beside[route.name] = ends
        now = lambda: world.now  # noqa: E731 - of this world
        self.scanner = Scanner(
            lambda _: ends.reader,
            cache=world.cache,
            jobs=self.jobs,
            flight=Flight(world.redis, clock=now),
            outlet=cast("Outlet", self.tasks),
            errors=cast("Outlet", self.errors),
            settings=PublisherSettings(list_shards=1),
            owner="pair",
            clock=now,
            reconciler=Reconciler(lambda _: open_destination(), Reconciliations(world.redis), self.jobs, 0, now),
        )

    async def sync(self, *, reconcile: bool = True) -> Job:
        """List, compare, move what is to be moved; the job, as it has ended."""
        self.world.now += 10
        job = await self.jobs.open(self.route.name, "sync", self.world.now)
        await self.scanner.run(self.route, job, term=1, reconcile=reconcile)
        self.world.now += 1
        for delivery in await self._deliver():
            assert delivery.fate == ["ack"], delivery
        found = await self.jobs.get(job.id)
        assert found is not None
        return found

    async def _deliver(self) -> list[Delivered]:
        sent, self.tasks.messages[:] = [*self.tasks.messages], []
        return [await self.world.replicate(decode(message)) for message in sent]
