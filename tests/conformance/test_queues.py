"""What every queue promises (common/queues/base.py), on each of them with a real server."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.queues.base import LARGEST_MESSAGE
from common.queues.registry import open_queue
from tests.conformance.queues import BRIEF, LONG, ODD_PAYLOADS, Place, collect, is_empty, numbered, one, payloads, settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from common.queues.base import Delivery, Queue
    from tests.servers import Server

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["redis", "pubsub"])
async def place(request: pytest.FixtureRequest, fresh: str) -> AsyncIterator[Place]:
    address = request.getfixturevalue({"redis": "redis_address", "pubsub": "pubsub_host"}[request.param])
    async with contextlib.AsyncExitStack() as stack:
        yield Place(request.param, address, fresh, stack)


@pytest.fixture
async def queue(place: Place) -> Queue:
    return await place.queue()


@pytest.fixture
async def brief(place: Place) -> Queue:
    return await place.queue(BRIEF)


async def test_what_is_sent_arrives_once_and_is_gone_when_acknowledged(brief: Queue) -> None:
    queue = brief
    # Given three messages, received for the first time
    await queue.send(numbered(3))
    got = await collect(queue, 3, 5, ack=False)
    assert payloads(got) == Counter(numbered(3))
    assert [delivery.attempt for delivery in got] == [1, 1, 1]
    # When they are acknowledged
    await asyncio.gather(*(delivery.ack() for delivery in got))
    # Then none of them comes again, although the lease runs out
    assert await is_empty(queue)


async def test_nothing_sent_is_nothing_received(queue: Queue) -> None:
    # Given an empty queue, to which nothing is sent
    await queue.send([])
    # When somebody waits for a message
    begin = time.monotonic()
    got = await queue.receive(10, 0.7)
    # Then the wait ends empty, and in time
    assert not got
    assert 0.4 < time.monotonic() - begin < 30
    assert not await queue.receive(10, 0)


async def test_more_messages_than_fit_into_one_request(queue: Queue) -> None:
    # Given more messages than one request may carry, and some too heavy to travel together
    messages = [*numbered(1500), *(b"%d" % number + b"y" * 3_000_000 for number in range(5))]
    # When they are sent in one go
    await queue.send(messages)
    # Then each arrives once
    got = await collect(queue, len(messages), 20, most=1000)
    assert payloads(got) == Counter(messages)


async def test_a_message_that_is_too_large_is_refused_before_anything_is_sent(queue: Queue) -> None:
    # When one of two messages is larger than any queue takes
    with pytest.raises(ValueError, match="larger than a queue takes"):
        await queue.send([b"fits", b"x" * (LARGEST_MESSAGE + 1)])
    # Then the other was not sent either
    assert not await queue.receive(10, 0.3)


async def test_receive_leaves_to_others_what_it_does_not_return(place: Place) -> None:
    # Given ten messages and two workers
    first, second = await place.queue(), await place.queue()
    await first.send(numbered(10))
    # When one takes at most three
    some = await first.receive(3, 5)
    assert 1 <= len(some) <= 3
    # Then the other gets all the rest, without waiting for a lease to run out
    begin = time.monotonic()
    rest = await collect(second, 10 - len(some), LONG)
    assert time.monotonic() - begin < LONG / 2
    assert payloads([*some, *rest]) == Counter(numbered(10))


async def test_two_workers_share_the_messages(place: Place) -> None:
    # Given two workers that take ten at a time
    workers = [await place.queue(), await place.queue()]
    taken: list[list[Delivery]] = [[], []]
    await workers[0].send(numbered(300))

    async def work(number: int) -> None:
        while sum(map(len, taken)) < 300:
            more = await workers[number].receive(10, 0.5)
            taken[number] += more
            await asyncio.gather(*(delivery.ack() for delivery in more))

    # When both work
    await asyncio.wait_for(asyncio.gather(work(0), work(1)), 20)
    # Then each message went to one of them, and both had some
    assert payloads([*taken[0], *taken[1]]) == Counter(numbered(300))
    assert min(map(len, taken)) > 20


async def test_a_lease_runs_out_unless_it_is_extended(place: Place) -> None:
    # Given a worker that holds two messages and extends the lease of one
    lease = 2 * BRIEF
    holder, other = await place.queue(lease), await place.queue(lease)
    await holder.send([b"extended", b"forgotten"])
    held = {delivery.payload: delivery for delivery in await collect(holder, 2, 5, ack=False)}
    begin = time.monotonic()

    async def heartbeat() -> None:
        while True:
            await held[b"extended"].extend()
            await asyncio.sleep(lease / 4)

    beat = asyncio.create_task(heartbeat())
    # When another worker waits for more than two leases
    came: list[tuple[float, Delivery]] = []
    while (left := begin + 2.2 * lease - time.monotonic()) > 0:
        for delivery in await other.receive(10, left):
            came.append((time.monotonic() - begin, delivery))
            await delivery.ack()
    beat.cancel()
    # Then it gets the forgotten one after about a lease, and the extended one never
    assert [delivery.payload for _, delivery in came] == [b"forgotten"]
    assert 0.7 * lease < came[0][0]
    if place.kind == "redis":
        assert came[0][1].attempt == 2
    # And the holder can still end what it extended
    await held[b"extended"].ack()
    assert await is_empty(other)


async def test_what_is_handed_back_comes_again_at_once_or_after_the_delay(place: Place, queue: Queue) -> None:
    # Given three messages
    delays = {b"now": 0.0, b"later": 1.5, b"much later": 600.0}
    await queue.send(list(delays))
    got = await collect(queue, 3, 5, ack=False)
    # When each is handed back with its delay
    begin = time.monotonic()
    await asyncio.gather(*(delivery.nack(delays[delivery.payload]) for delivery in got))
    first = await one(queue)
    first_at = time.monotonic() - begin
    second = await one(queue)
    second_at = time.monotonic() - begin
    # Then they come in that order, none before its time, counted where the queue counts
    assert (first.payload, second.payload) == (b"now", b"later")
    assert first_at < 1.5 <= second_at < 4.5
    attempts = 2 if place.kind == "redis" else 1
    assert (first.attempt, second.attempt) == (attempts, attempts)
    # And what is delayed is neither lost nor early, and counts as not done
    await asyncio.gather(first.ack(), second.ack())
    assert not await queue.receive(10, 0.5)
    assert await queue.backlog() == (1 if place.kind == "redis" else None)


async def test_what_is_rejected_is_on_the_errors_queue_and_nowhere_else(place: Place, brief: Queue) -> None:
    queue, errors = brief, await place.errors(BRIEF)
    # Given a message that cannot be read
    await queue.send([b"\xffnot a task"])
    delivery = await one(queue)
    # When it is rejected with a report
    await delivery.reject(b'{"report": "\xff"}')
    # Then the report is on the errors queue, to be taken like any message
    report = await one(errors)
    assert report.payload == b'{"report": "\xff"}'
    # And a report that is rejected there goes to its end instead of away
    await report.reject(b"again")
    again = await one(errors)
    assert again.payload == b"again"
    await again.ack()
    # And the message itself is gone, as the report is
    assert await is_empty(queue, errors)


async def test_every_payload_survives_byte_for_byte(queue: Queue) -> None:
    # Given payloads that no one should send
    await queue.send(ODD_PAYLOADS)
    # When they are received, handed back in either way, and received again
    first = await collect(queue, len(ODD_PAYLOADS), 5, ack=False)
    assert payloads(first) == Counter(ODD_PAYLOADS)
    await asyncio.gather(*(delivery.nack(number % 2) for number, delivery in enumerate(first)))
    second = await collect(queue, len(ODD_PAYLOADS), 8, ack=False)
    # Then they are what they were
    assert payloads(second) == Counter(ODD_PAYLOADS)
    await asyncio.gather(*(delivery.reject(delivery.payload) for delivery in second))


async def test_a_late_worker_does_no_harm(place: Place) -> None:
    # Given a worker that slept through its lease, and another that took the message over
    late, other = await place.queue(BRIEF), await place.queue(BRIEF)
    await late.send([b"contested"])
    stale = await one(late)
    current = await one(other)
    assert (stale.payload, current.payload) == (b"contested", b"contested")
    # When the first one wakes up and extends its lease, after which the other one ends the delivery
    await stale.extend()
    await current.ack()
    # Then the message is gone, and ending it late is no error
    await stale.nack()
    await stale.ack()
    assert await is_empty(late)


async def test_a_cancelled_receive_loses_nothing(queue: Queue) -> None:
    # Given messages that trickle in while a receiver is cancelled again and again
    chance = random.Random(7)
    got: list[Delivery] = []

    async def trickle() -> None:
        for message in numbered(60):
            await queue.send([message])
            await asyncio.sleep(0.01)

    sending = asyncio.create_task(trickle())
    while not sending.done():
        receiving = asyncio.create_task(queue.receive(5, 10))
        await asyncio.sleep(chance.uniform(0, 0.05))
        begin = time.monotonic()
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            got += await receiving
        assert time.monotonic() - begin < 1, "a receive must end promptly when the worker stops"
    await sending
    await asyncio.gather(*(delivery.ack() for delivery in got))
    # When the receiver is left alone
    seen = payloads(got)
    end = time.monotonic() + LONG
    while len(seen) < 60 and time.monotonic() < end:
        seen += payloads(await collect(queue, 100, 0.5))
    # Then every message has come
    assert set(seen) == set(numbered(60))


async def test_closing_confirms_what_is_under_way_and_gives_back_the_rest(place: Place) -> None:
    # Given a worker with two messages, one of which it is just acknowledging
    leaving, staying = await place.queue(BRIEF), await place.queue(BRIEF)
    await leaving.send([b"one", b"two"])
    got = await collect(leaving, 2, 5, ack=False)
    acknowledging = asyncio.create_task(got[0].ack())
    await asyncio.sleep(0)
    # When it closes, twice
    await leaving.close()
    await leaving.close()
    await acknowledging
    # Then only the other message comes back, to somebody else
    back = await collect(staying, 2, 2.5 * BRIEF)
    assert payloads(back) == Counter([got[1].payload])


async def test_what_a_killed_worker_held_comes_back(place: Place, brief: Queue) -> None:
    # Given a worker process that holds twenty messages
    queue = brief
    await queue.send(numbered(20))
    command = [sys.executable, "-m", "tests.conformance.queues", place.kind, place.address, place.name]
    with subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond
        command, cwd=ROOT, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout
        assert await asyncio.to_thread(worker.stdout.readline) == b"20\n"
        # When it is killed
        worker.kill()
        await asyncio.to_thread(worker.wait)
    # Then another worker gets all of them, after about a lease
    begin = time.monotonic()
    got = await collect(queue, 20, LONG)
    assert payloads(got) == Counter(numbered(20))
    assert time.monotonic() - begin < BRIEF + 4


async def test_redis_killed_in_mid_run_loses_nothing_that_was_confirmed(redis_own: Server, fresh: str) -> None:
    # Given a publisher and a worker on a Redis that writes its log
    settings = settings_for("redis", redis_own.address, fresh, 2 * BRIEF)
    sender, worker = await open_queue(settings), await open_queue(settings)
    confirmed: set[bytes] = set()
    done: set[bytes] = set()
    halfway = asyncio.Event()

    async def publish() -> None:
        for start in range(0, 2000, 50):
            batch = [b"%d" % number for number in range(start, start + 50)]
            await sender.send(batch)
            confirmed.update(batch)
            if start >= 1000:
                halfway.set()
            await asyncio.sleep(0.01)

    async def work() -> None:
        while len(done) < 2000:
            more = await worker.receive(20, 1)
            await asyncio.gather(*(delivery.ack() for delivery in more))
            done.update(delivery.payload for delivery in more)

    working, publishing = asyncio.create_task(work()), asyncio.create_task(publish())
    # When Redis is killed and starts again
    await asyncio.wait_for(halfway.wait(), 20)
    await asyncio.to_thread(redis_own.kill)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(redis_own.start)
    # Then both go on by themselves, and all that was confirmed arrives
    await asyncio.wait_for(asyncio.gather(publishing, working), 40)
    assert done == confirmed
    assert await sender.backlog() == 0
    await asyncio.gather(sender.close(), worker.close())


async def test_many_deliveries_are_settled_together_in_any_mixture(place: Place, queue: Queue) -> None:
    # Given four hundred messages in the hands of one worker
    await queue.send(numbered(400))
    got = await collect(queue, 400, 10, most=400, ack=False)
    endings: list[Callable[[Delivery], Awaitable[None]]] = [
        lambda delivery: delivery.ack(),
        lambda delivery: delivery.nack(),
        lambda delivery: delivery.reject(b"report on " + delivery.payload),
        lambda delivery: delivery.nack(1),
    ]
    # When each is ended in one of four ways, all at once, while leases are extended
    await asyncio.gather(*(delivery.extend() for delivery in got))
    await asyncio.gather(*(endings[number % 4](delivery) for number, delivery in enumerate(got)))
    # Then what was handed back comes again, what was rejected is reported, and nothing else comes
    errors = await place.errors()
    again, reports = await asyncio.gather(collect(queue, 200, LONG), collect(errors, 100, LONG))
    assert payloads(again) == payloads(got[1::2])
    assert payloads(reports) == Counter(b"report on " + delivery.payload for delivery in got[2::4])
    assert not any(await asyncio.gather(queue.receive(10, 0.5), errors.receive(10, 0.5)))
