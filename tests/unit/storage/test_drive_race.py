"""Ten workers and one new folder: nothing is made twice, whoever comes first, whatever gets lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from common.config import RedisSettings
from common.errors import ObjectError
from common.state.agreements import Agreements
from common.state.store import Store
from common.storage.gdrive.resource import FOLDER
from common.storage.retry import Policy, Retrier, RetryingWriter
from tests.fakes.drive import DriveServer, Fault, Kind
from tests.unit.storage.drive_writing import bring, writing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from common.storage.base import Writer

WORKERS, FILES = 10, 200
KEYS = [f"albums/{number % 7}/photo-{number:03}.jpg" for number in range(FILES)]


@pytest.fixture
async def server() -> AsyncIterator[DriveServer]:
    async with DriveServer() as server:
        yield server


@pytest.fixture
async def workers(server: DriveServer, redis_address: str, fresh: str) -> AsyncIterator[list[Writer]]:
    """Each with connections of its own to Drive and to Redis."""
    async with AsyncExitStack() as stack:
        opened: list[Writer] = []
        for number in range(WORKERS):
            store = await Store.open(RedisSettings(address=redis_address, prefix=fresh))
            stack.push_async_callback(store.close)
            inner = await stack.enter_async_context(writing(server, "root/Amazon Photos Transfer", Agreements(store)))
            retrier = Retrier(Policy(attempts=4), _no_sleep, random.Random(number).random)
            opened.append(RetryingWriter(inner, retrier))
        yield opened


async def _no_sleep(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0) or 0.001)


def data_of(key: str) -> bytes:
    return key.encode() * 20


def check(server: DriveServer, keys: Mapping[str, bytes]) -> None:
    """Every file is there once, with its bytes, and every folder once; none was made and thrown away."""
    files = server.files()
    below = [each for each in files if each["path"].startswith("root/Amazon Photos Transfer")]
    paths = Counter(each["path"] for each in below)
    assert [path for path, times in paths.items() if times != 1] == []
    found = {each["path"].removeprefix("root/Amazon Photos Transfer/"): each for each in below if each["mimeType"] != FOLDER}
    assert set(found) == set(keys)
    assert {each["path"] for each in below if each["mimeType"] == FOLDER} == {
        "root/Amazon Photos Transfer",
        "root/Amazon Photos Transfer/albums",
        *(f"root/Amazon Photos Transfer/albums/{number}" for number in range(7)),
    }
    assert all(server.data(found[key]["id"]) == data for key, data in keys.items())
    assert all(each["creates"] == 1 and not each.get("trashed") for each in below)


async def test_each_file_is_put_twice_and_is_there_once(server: DriveServer, workers: list[Writer]) -> None:
    # Given two deliveries of every object, each with a worker of its own, all at the same moment
    dice = random.Random(20261121)
    keys = KEYS[:60]
    deliveries = [(key, worker) for key in keys for worker in dice.sample(workers, 2)]
    dice.shuffle(deliveries)

    # When all are carried out
    await asyncio.gather(*(bring(worker, key, data_of(key), "v1") for key, worker in deliveries))

    # Then there is one file for each object, and its bytes were sent once
    check(server, {key: data_of(key) for key in keys})
    assert all(each["contents"] == 0 for each in server.files() if each["mimeType"] != FOLDER)


async def test_lost_answers_refusals_and_sudden_ends_make_no_second_file(server: DriveServer, workers: list[Writer]) -> None:
    # Given a service that loses answers after it has done what was asked, and refuses much
    dice = random.Random(4)
    faults = [
        server.faults.add(Fault(kind, operation=operation, nth=dice.randint(1, 3), times=times, reason=reason))
        for kind, operation, times, reason in (
            (Kind.LOSE_REPLY, "files.create", 3, ""),
            (Kind.LOSE_REPLY, "create.multipart", 25, ""),
            (Kind.STATUS, "create.multipart", 25, "backendError"),
            (Kind.STATUS, "files.*", 25, "userRateLimitExceeded"),
            (Kind.LOSE_REPLY, "files.list", 5, ""),
            (Kind.RESET, "create.multipart", 10, ""),
        )
    ]
    queue = [(key, place) for key in KEYS for place in dice.sample(range(WORKERS), 2)]
    dice.shuffle(queue)

    # When every object is delivered twice, and each delivery may be cut off at any moment, or fail, and comes again
    async def deliver(key: str, place: int) -> None:
        while True:
            try:
                async with asyncio.timeout(dice.choice([None, None, 0.01, 0.05, 0.2])):
                    await bring(workers[place], key, data_of(key), "v1")
                    return
            except (TimeoutError, ObjectError):
                place = (place + 1) % WORKERS

    await asyncio.gather(*(deliver(key, place) for key, place in queue))

    # Then there is one file for each object all the same
    check(server, {key: data_of(key) for key in KEYS})
    assert all(fault.fired for fault in faults)


async def test_what_is_there_is_found_when_redis_has_forgotten(
    server: DriveServer, workers: list[Writer], redis_address: str, fresh: str
) -> None:
    # Given objects on Drive, and a Redis that knows nothing of them any more
    keys = KEYS[:20]
    await asyncio.gather(*(bring(workers[0], key, data_of(key), "v1") for key in keys))
    store = await Store.open(RedisSettings(address=redis_address, prefix=f"{fresh}-new"))

    # When another worker brings them, some in a new version
    async with writing(server, "root/Amazon Photos Transfer", Agreements(store)) as writer:
        for number, key in enumerate(keys):
            await bring(writer, key, data_of(key) + b"!" * (number % 2), f"v{1 + number % 2}")
    await store.close()

    # Then they are the same files in the same folders, and what is new is a revision
    now = {key: data_of(key) + b"!" * (number % 2) for number, key in enumerate(keys)}
    check(server, now)
    contents = Counter(each["contents"] for each in server.files() if each["mimeType"] != FOLDER)
    assert contents == {0: 10, 1: 10}
