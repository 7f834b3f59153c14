"""An upload that Redis says is under way at a host that is not the service's: given up, and begun anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from common.config import Google, Settings, StoreOptions
from common.errors import Unavailable
from common.location import Location
from common.storage import gcs
from common.storage.base import MIB
from common.transport.http import Transport
from tests.fakes.gcs import GcsServer
from tests.unit.storage.test_session_addresses import Elsewhere
from tests.unit.worker.conftest import ROUTE, noise
from tests.unit.worker.test_replicate import Faulty

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.objects import Span, Version
    from tests.unit.worker.conftest import World


async def test_a_foreign_session_is_dropped_and_the_object_is_moved_whole(world: World) -> None:
    data = noise(3 * MIB)
    transport = Transport()
    async with Elsewhere() as elsewhere, GcsServer(buckets=["demo"]) as server:
        options, settings = StoreOptions(endpoint=server.url), Settings(google=Google(project="test"))
        world.writer = gcs.writer(Location.parse("gs://demo"), options, settings, transport)
        task = await world.task(await world.put("k", data))

        # Given an upload of which one part has arrived when its source went away
        async def read(plain: Callable[..., object], key: str, span: Span | None, version: Version | None) -> object:
            if span is not None and span.start > 0:
                raise Unavailable("503")
            return await plain(key, span, version)  # type: ignore[misc]

        world.reader = Faulty(world.source_reader, read=read)  # type: ignore[assignment]
        assert (await world.replicate(task)).fate == ["nack"]
        saved = await world.uploads.find(ROUTE, "k")
        assert saved is not None
        assert saved.token.startswith(server.url)

        # And somebody who has written another address into Redis
        await world.uploads.begun(ROUTE, "k", replace(saved, token=f"{elsewhere.url}/upload?upload_id=secret"))
        for receipt in saved.receipts:
            await world.uploads.arrived(ROUTE, "k", receipt)

        # When the delivery comes again
        world.reader = world.source_reader
        again = await world.replicate(task)

        # Then the object is moved, nothing went to the other host, and nothing is left to be gone on with
        assert again.fate == ["ack"]
        found = await world.writer.stat("k")
        assert found is not None
        assert found.size == len(data)
        assert (elsewhere.came, len(elsewhere.connections)) == ([], 0)
        assert await world.uploads.find(ROUTE, "k") is None
    await transport.close()
