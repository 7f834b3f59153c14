"""What a worker's log calls the beginning of an object and the two ways in which it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.errors import Forbidden, Unavailable
from common.storage.retry import Policy, Retrier, RetryingReader, RetryingWriter
from tests.unit.worker.conftest import ATTEMPTS, ROUTE
from tests.unit.worker.test_replicate import Faulty, always

if TYPE_CHECKING:
    from tests.unit.worker.conftest import World


def once(*, at_source: bool) -> Retrier:
    async def sleep(_: float) -> None: ...

    return Retrier(Policy(attempts=1), sleep, lambda: 1.0, at_source=at_source)


async def test_an_object_that_is_begun_is_initiated(world: World, lines) -> None:
    # Given a task
    task = await world.task(await world.put("k", b"bytes"))

    # When it is delivered twice
    await world.replicate(task)
    await world.replicate(task)

    # Then the object was begun once
    begun = [line for line in lines() if line.get("message") == "OBJECT_INITIATED"]
    assert [(line["route"], line["key"], line["size"], line["level"]) for line in begun] == [(ROUTE, "k", 5, "debug")]


@pytest.mark.parametrize(("at_source", "name"), [(True, "OBJECT_DOWNLOAD_ERROR"), (False, "OBJECT_UPLOAD_ERROR")])
async def test_each_failed_attempt_says_which_end_failed(world: World, lines, at_source: bool, name: str) -> None:
    # Given an end that is away
    if at_source:
        inner = Faulty(world.source_reader, read=always(Unavailable("away")))
        world.reader = RetryingReader(inner, once(at_source=True))  # type: ignore[arg-type]
    else:
        inner = Faulty(world.destination_writer, put=always(Unavailable("away")))
        world.writer = RetryingWriter(inner, once(at_source=False))  # type: ignore[arg-type]
    task = await world.task(await world.put("k", b"bytes"))

    # When an object is tried as often as it may be
    for _ in range(ATTEMPTS):
        await world.replicate(task)

    # Then every attempt has the name of the end, and only the last is an error
    said = [(line["action"], line["message"], line["level"]) for line in lines() if "ERROR" in line.get("message", "")]
    assert said == [("object_retried", name, "warning")] * (ATTEMPTS - 1) + [("object_failed", name, "error")]


async def test_what_cannot_pass_has_the_name_at_once(world: World, lines) -> None:
    # Given a destination that refuses
    inner = Faulty(world.destination_writer, put=always(Forbidden("no")))
    world.writer = RetryingWriter(inner, once(at_source=False))  # type: ignore[arg-type]

    # When an object is to go there
    await world.replicate(await world.task(await world.put("k", b"bytes")))

    # Then the first failure is the last
    (line,) = [line for line in lines() if "ERROR" in line.get("message", "")]
    assert (line["action"], line["message"], line["key"], line["error"]) == ("object_failed", "OBJECT_UPLOAD_ERROR", "k", "no")
