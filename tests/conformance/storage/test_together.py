"""Many callers at once, callers that go away, locations that are not there."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from common.errors import (
    LocationMissing,
    ObjectError,
)
from common.objects import StoredObject
from common.storage.base import Absent, Matches
from common.storage.retry import Policy, Retrier, RetryingWriter
from tests.conformance.storage.backends import where
from tests.conformance.storage.moves import NOISE, PLAIN, body, listed

if TYPE_CHECKING:
    from common.storage.base import Reader, Writer
    from common.transport.http import Transport
    from tests.conformance.storage.backends import Backend


async def test_many_at_once(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given fifty objects
    if backend.name == "s3-strict":  # rclone may answer one of them with 500, which a worker would try again
        writer = RetryingWriter(writer, Retrier(Policy(first_delay=0.01), asyncio.sleep, random.random))
    bodies = {f"many/{number:02}": body(NOISE[number : number + 100 * number]) for number in range(50)}

    # When all are written at once, and all are read at once
    await asyncio.gather(*(writer.put(key, each, Absent()) for key, each in bodies.items()))
    contents = await asyncio.gather(*(reader.read(key, None, None) for key in bodies))

    # Then nobody got somebody else's bytes
    assert {content.object.key: content.data for content in contents} == {key: each.data for key, each in bodies.items()}


@where(lambda traits: traits.checks_preconditions)
async def test_of_many_who_write_one_object_one_wins(backend: Backend, writer: Writer, reader: Reader) -> None:
    # Given an object that ten have seen
    first = await writer.put("key", body(b"first"), Absent())

    # When all of them replace it
    bodies = [body(b"writer %d" % number * (number + 1)) for number in range(10)]
    answers = await asyncio.gather(*(writer.put("key", each, Matches(first.version)) for each in bodies), return_exceptions=True)

    # Then one did, and the others know that they did not
    won = [each for each, answer in zip(bodies, answers, strict=True) if isinstance(answer, StoredObject)]
    lost = [answer for answer in answers if not isinstance(answer, StoredObject)]
    assert len(won) == 1
    assert all(isinstance(answer, ObjectError) for answer in lost)
    assert (await reader.read("key", None, None)).data == won[0].data


async def test_a_missing_location_is_named(backend: Backend, transport: Transport) -> None:
    # Given a location that does not exist
    nowhere = replace(backend, location=backend.missing)
    reader, writer = nowhere.reader(transport), nowhere.writer(transport)
    name = backend.missing.bucket or backend.missing.prefix.rstrip("/")

    # When it is listed or written to
    # Then the error says which it is
    with pytest.raises(LocationMissing, match=name):
        await listed(reader)
    with pytest.raises(LocationMissing, match=name):
        await writer.put("key", body(b"bytes"), Absent())
    with pytest.raises(LocationMissing, match=name):
        await writer.begin("key", 5, PLAIN, Absent())
    await reader.close()
    await writer.close()


async def test_a_cancelled_call_leaves_the_backend_usable(writer: Writer, reader: Reader) -> None:
    # Given twenty puts under way
    data = NOISE[: 256 * 1024]
    puts = [asyncio.create_task(writer.put(f"key-{number}", body(data), Absent())) for number in range(20)]
    done, _ = await asyncio.wait(puts, return_when=asyncio.FIRST_COMPLETED)
    assert done

    # When the rest is cancelled
    for put in puts:
        put.cancel()
    await asyncio.gather(*puts, return_exceptions=True)

    # Then what is there is whole, and the next call works
    for stored in await listed(reader):
        assert stored.size == len(data)
    await writer.put("next", body(b"next"), Absent())
    assert (await reader.read("next", None, None)).data == b"next"


async def test_closing_twice_is_closing(backend: Backend, transport: Transport) -> None:
    # Given a reader and a writer that have been used
    reader, writer = backend.reader(transport), backend.writer(transport)
    await writer.put("key", body(b"bytes"), Absent())
    await listed(reader)

    # When they are closed twice
    # Then nothing happens
    for end in (reader, writer, reader, writer):
        await end.close()


async def test_limits_fit_together(writer: Writer, reader: Reader) -> None:
    # Given what a backend says about itself
    # When a plan is made from it
    # Then there is one for every object that it takes
    for limits in (writer.limits, reader.limits):
        assert 0 < limits.largest_put <= limits.largest_object
        assert limits.smallest_part % limits.part_multiple == 0
        assert limits.smallest_part <= limits.largest_put
