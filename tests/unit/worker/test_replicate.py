"""What becomes of one delivery, in every case that the design names."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest

from common import report
from common.checksums import crc32c, crc64nvme
from common.errors import ChecksumMismatch, Forbidden, PreconditionFailed, RateLimited, SourceChanged, Unavailable, UploadLost
from common.objects import Headers
from common.state.cache import Claim, Kind
from common.steps import Step
from common.storage.base import MIB, Absent, Body
from common.storage.names import SOURCE_MODIFIED, SOURCE_SIZE, SOURCE_VERSION
from common.task import encode
from tests.unit.worker.conftest import ATTEMPTS, ROUTE, Delivered, World, noise
from worker.transfer import PARALLEL_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.objects import Span, StoredObject, Version
    from common.storage.base import Content, Precondition, Reader, Upload, Writer


class Faulty:
    """A reader, writer or upload that does something else first, or afterwards, as often as the test says."""

    def __init__(self, inner: Reader | Writer | Upload, **faults: Callable[..., object]) -> None:
        self._inner = inner
        self._faults = faults
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        plain = getattr(self._inner, name)
        if not callable(plain):
            return plain

        async def call(*args: object) -> object:
            self.calls.append(name)
            fault = self._faults.get(name)
            return await (fault(plain, *args) if fault else plain(*args))  # type: ignore[misc]

        return call


def once(error: Exception) -> Callable[..., object]:
    """Fail the first call, before it takes effect."""
    left = [error]

    async def fault(plain: Callable[..., object], *args: object) -> object:
        if not left:
            return await plain(*args)  # type: ignore[misc]
        raise left.pop()

    return fault


def always(error: Exception) -> Callable[..., object]:
    async def fault(plain: Callable[..., object], *args: object) -> object:
        raise error

    return fault


@pytest.mark.parametrize("size", [0, 1, 4096, MIB, MIB + 1, 3 * MIB + 77])
async def test_an_object_arrives_whole_with_receipt_and_provenance(world: World, size: int) -> None:
    # Given an object of this size with headers
    data = noise(size)
    found = await world.put("a b/ü", data, Headers(content_type="text/x", cache_control="no-cache", metadata={"who": "me"}))
    task = await world.task(found)
    # When
    delivery = await world.replicate(task)
    # Then the bytes and headers are there, and say where they came from
    assert delivery.fate == ["ack"]
    there = await world.destination_writer.stat("a b/ü")
    assert there is not None
    assert await world.arrived("a b/ü") == data if size <= MIB else (there.size, there.crc32c) == (size, found.crc32c)
    assert (there.headers.content_type, there.headers.cache_control) == ("text/x", "no-cache")
    assert there.headers.metadata["who"] == "me"
    assert there.headers.metadata[SOURCE_VERSION] == found.version.token
    assert there.headers.metadata[SOURCE_SIZE] == str(size)
    assert found.modified is not None
    assert there.headers.metadata[SOURCE_MODIFIED] == found.modified.isoformat()
    # And the cache has the proof
    record = await world.cache.get(ROUTE, Kind.CONSUMED, "a b/ü")
    assert record is not None
    assert (record["etag"], record["size"], record["destination_version"]) == (found.version.token, size, there.version.token)
    # And the job is counted, and nothing is held any more
    job = await world.job()
    assert (job.moved, job.bytes) == (1, size)
    assert world.budget.held == 0


async def test_effect_then_record_then_acknowledge(world: World) -> None:
    await world.replicate(await world.task(await world.put("k", b"x")))
    order = [Step.RECEIVED, Step.CLAIMED, Step.SOURCE_READ, Step.WRITTEN, Step.VERIFIED, Step.RECORDED, Step.ACKNOWLEDGED]
    assert world.steps == order


async def test_a_second_delivery_of_a_consumed_task_moves_nothing_and_counts_once(world: World) -> None:
    # Given a task that has been carried out
    task = await world.task(await world.put("k", b"x"))
    await world.replicate(task)
    # When the queue delivers it again
    delivery = await world.replicate(task)
    # Then
    assert delivery.fate == ["ack"]
    assert world.destination_store.writes == 1
    assert (await world.job()).moved == 1


@pytest.mark.parametrize("size", [100, 2 * MIB])
async def test_without_the_cache_the_destination_is_proof_enough(world: World, size: int) -> None:
    # Given a replicated object and a cache that has been lost
    task = await world.task(await world.put("k", noise(size)))
    await world.replicate(task)
    await world.cache.delete(ROUTE, None)
    # When the object is published and delivered again
    again = replace(task, job="another")
    delivery = await world.replicate(again)
    # Then nothing is written, and the cache knows again
    assert delivery.fate == ["ack"]
    assert world.destination_store.writes == 1
    assert await world.cache.get(ROUTE, Kind.CONSUMED, "k") is not None


async def test_after_one_such_find_the_worker_looks_before_it_reads(world: World) -> None:
    # Given two replicated objects and a lost cache
    tasks = [await world.task(await world.put(key, b"x")) for key in ("one", "two")]
    for task in tasks:
        await world.replicate(task)
    await world.cache.delete(ROUTE, None)
    reader = Faulty(world.source_reader)
    world.reader = reader  # type: ignore[assignment]
    replicator = world.replicator()
    # When one worker gets both
    for task in tasks:
        await replicator.replicate(Delivered(encode(task)))
    # Then it has read the first one's bytes in vain, and not the second one's
    assert reader.calls.count("read") == 1


async def test_a_changed_object_replaces_the_version_that_was_written_before(world: World) -> None:
    # Given an object that was replicated, and has changed since
    await world.replicate(await world.task(await world.put("k", b"old")))
    task = await world.task(await world.put("k", b"newer"))
    # When
    writer = Faulty(world.destination_writer)
    world.writer = writer  # type: ignore[assignment]
    await world.replicate(task)
    # Then one write did it, without a look: the receipt knew what to expect
    assert await world.arrived("k") == b"newer"
    assert "stat" not in writer.calls


@pytest.mark.parametrize("size", [10, 2 * MIB])
async def test_a_source_that_changed_meanwhile_is_published_anew(world: World, size: int) -> None:
    # Given a task, and a source that changes before it is delivered
    task = await world.task(await world.put("k", noise(size)))
    newer = await world.put("k", noise(size + 1))
    # When
    delivery = await world.replicate(task)
    # Then the old task ends, its successor names the new version, and nothing was written
    assert delivery.fate == ["ack"]
    (successor,) = world.sent()
    assert (successor.version, successor.size, successor.job, successor.number) == (
        newer.version,
        size + 1,
        task.job,
        task.number,
    )
    assert world.destination_store.writes == 0
    # And the successor can be claimed at once, arrives, and ends the count
    assert (await world.replicate(successor, "worker-2")).fate == ["ack"]
    assert (await world.job()).moved == 1


async def test_a_source_that_is_gone_stays_in_flight_until_a_scan_has_decided(world: World) -> None:
    # Given an object that is not there when its turn comes
    task = await world.task(await world.put("k", b"x"))
    world.source_store.remove("k")
    # When it is to be moved, then that is no failure, and no end either
    assert (await world.replicate(task)).fate == ["ack"]
    job = await world.job()
    assert (job.in_flight, job.missing, job.failed, job.unbalanced) == (1, 1, 0, 0)
    # And it is not taken to be on its way
    assert (await world.cache.lookup(ROUTE, ["k"]))[0].published is None


async def test_a_source_that_is_gone_again_after_it_was_listed_again_has_failed(world: World) -> None:
    # Given an object that a worker missed, and that was listed and sent again
    found = await world.put("k", b"x")
    task = await world.task(found)
    world.source_store.remove("k")
    await world.replicate(task)
    task = await world.task(found)
    # When it is missed once more
    delivery = await world.replicate(task)
    # Then it has failed, for good, and its report says what happened
    assert delivery.fate == ["reject"]
    said = report.decode(delivery.report)
    assert (said.category, said.key) == ("source_missing", "k")
    assert "in two scans" in said.message
    job = await world.job()
    assert (job.in_flight, job.missing, job.failed, job.unbalanced) == (0, 0, 1, 0)


class AsItWas:
    """A source whose looks show an object as it was, as a replica or a cache does; what is read is of now."""

    def __init__(self, reader: Reader, was: StoredObject) -> None:
        self._reader = reader
        self._was = was
        self.limits = reader.limits

    async def stat(self, key: str) -> StoredObject:
        del key
        return self._was

    async def read(self, key: str, span: Span | None, version: Version | None) -> Content:
        raise SourceChanged(f"{key!r} is not {version} here either, {span}")


@pytest.mark.parametrize("copied_before", [True, False])
async def test_an_older_version_than_was_listed_is_no_successor(world: World, *, copied_before: bool) -> None:
    # Given an object that is written anew, whose first version was copied, or is older than what was listed
    old = await world.put("k", b"old")
    if copied_before:
        await world.replicate(await world.task(old))
    new = await world.put("k", b"new")
    earlier = None if copied_before else datetime(2020, 1, 1, tzinfo=UTC)
    task = replace(await world.task(new), modified=datetime(2021, 1, 1, tzinfo=UTC) if earlier else None)
    # When a look shows the old version where the new one was listed
    truth, world.reader = world.reader, cast("Reader", AsItWas(world.reader, replace(old, modified=earlier)))
    assert (await world.replicate(task)).fate == ["ack"]
    # Then that is no end: the next scan decides
    job = await world.job()
    assert (job.in_flight, job.missing, job.unbalanced) == (1, 1, 0)
    assert world.sent() == []
    # And when it lists the new version again, that is copied
    world.reader = truth
    assert (await world.replicate(await world.task(new))).fate == ["ack"]
    assert await world.arrived("k") == b"new"
    assert (await world.job()).in_flight == 0


async def test_where_the_listing_is_old_what_is_gone_is_left_out_at_once(world: World) -> None:
    # Given a source that is listed from an inventory of yesterday
    task = await world.task(await world.put("k", b"x"))
    world.source_store.remove("k")
    world.source_reader.limits = replace(world.source_reader.limits, lists_as_it_is=False)
    # When an object is not there any more, then that is no contradiction
    assert (await world.replicate(task)).fate == ["ack"]
    job = await world.job()
    assert (job.in_flight, job.left_out, job.unbalanced) == (0, {"gone": 1}, 0)


async def test_an_object_that_changes_is_counted_once(world: World) -> None:
    # Given an object that changes before its turn
    task = await world.task(await world.put("k", b"old"))
    found = await world.put("k", b"new")
    assert (await world.replicate(task)).fate == ["ack"]
    # Then its new version is awaited, and known to be on the queue
    job = await world.job()
    assert (job.listed, job.in_flight) == (1, 1)
    published = (await world.cache.lookup(ROUTE, ["k"]))[0].published
    assert published is not None
    assert published.etag == found.version.token
    # And it counts when that one has arrived, and the old task again not at all
    (successor,) = world.sent()
    await world.replicate(successor)
    await world.replicate(task)
    job = await world.job()
    assert (job.listed, job.moved, job.proven, job.in_flight, job.unbalanced) == (1, 1, 0, 0, 0)


async def test_an_old_task_never_writes_over_a_newer_version(world: World) -> None:
    # Given a stale task whose successor has been carried out already, and a lost cache
    stale = await world.task(await world.put("k", b"old"))
    await world.replicate(await world.task(await world.put("k", b"newer")))
    await world.cache.delete(ROUTE, None)
    # When the stale task comes, from a reader that still serves the old bytes
    old = replace(await world.source_reader.read("k", None, None), data=b"old")

    async def stale_read(plain: object, key: str, span: Span | None, version: Version | None) -> Content:
        return old

    world.reader = Faulty(world.source_reader, read=stale_read)  # type: ignore[assignment]
    await world.replicate(stale)
    # Then the newer version stays
    assert await world.arrived("k") == b"newer"


async def test_a_lost_answer_to_a_write_is_found_by_a_look(world: World) -> None:
    # Given a destination that writes, loses the answer, and refuses the repetition, as GCS does
    written: list[StoredObject] = []

    async def put(plain: Callable[..., object], key: str, body: Body, precondition: Precondition) -> object:
        if not written:
            written.append(await plain(key, body, precondition))  # type: ignore[misc]
            raise PreconditionFailed("the retry found the object there")
        return await plain(key, body, precondition)  # type: ignore[misc]

    world.writer = Faulty(world.destination_writer, put=put)  # type: ignore[assignment]
    # When
    delivery = await world.replicate(await world.task(await world.put("k", b"x")))
    # Then it is consumed, and was written once
    assert delivery.fate == ["ack"]
    assert world.destination_store.writes == 1
    assert await world.cache.get(ROUTE, Kind.CONSUMED, "k") is not None


async def test_a_foreign_object_at_the_destination_is_replaced_knowingly(world: World) -> None:
    # Given a destination where someone has put something else
    foreign = b"foreign"
    await world.destination_writer.put("k", Body(foreign, crc32c(foreign), Headers()), Absent())
    # When
    delivery = await world.replicate(await world.task(await world.put("k", b"ours")))
    # Then
    assert delivery.fate == ["ack"]
    assert await world.arrived("k") == b"ours"


async def test_a_destination_that_never_holds_still_is_a_conflict_and_tried_again_later(world: World) -> None:
    world.writer = Faulty(world.destination_writer, put=always(PreconditionFailed("changed")))  # type: ignore[assignment]
    delivery = await world.replicate(await world.task(await world.put("k", b"x")))
    assert delivery.fate == ["nack"]


@pytest.mark.parametrize("error", [Unavailable("away"), RateLimited("slow down"), ChecksumMismatch("flipped bit")])
async def test_what_may_pass_is_tried_again_and_then_reported(world: World, error: Exception) -> None:
    # Given a destination that fails each time
    world.writer = Faulty(world.destination_writer, put=always(error))  # type: ignore[assignment]
    task = await world.task(await world.put("k", b"x"))
    # When the task is delivered as often as it may fail
    deliveries = [await world.replicate(task) for _ in range(ATTEMPTS)]
    # Then it comes back with growing delays, and at last is reported with everything needed to send it again
    assert [delivery.fate for delivery in deliveries] == [["nack"]] * (ATTEMPTS - 1) + [["reject"]]
    assert 0 < deliveries[0].delay < deliveries[1].delay
    found = report.decode(deliveries[-1].report)
    assert (found.category, found.attempts, found.worker, found.payload) == (
        error.category,  # type: ignore[attr-defined]
        ATTEMPTS,
        "worker-1",
        encode(task),
    )
    assert (found.route, found.key, found.message) == (ROUTE, "k", str(error))
    job = await world.job()
    assert (job.failed, job.moved) == (1, 0)
    assert await world.cache.get(ROUTE, Kind.CONSUMED, "k") is None


async def test_the_service_decides_when_if_it_says_so(world: World) -> None:
    world.writer = Faulty(world.destination_writer, put=always(RateLimited("slow", retry_after=120)))  # type: ignore[assignment]
    assert (await world.replicate(await world.task(await world.put("k", b"x")))).delay == 120


async def test_what_cannot_pass_is_reported_at_once(world: World) -> None:
    world.reader = Faulty(world.source_reader, read=always(Forbidden("no")))  # type: ignore[assignment]
    delivery = await world.replicate(await world.task(await world.put("k", b"x")))
    assert delivery.fate == ["reject"]
    assert report.decode(delivery.report).category == "forbidden"


async def test_a_fault_of_ours_is_neither_lost_nor_fatal(world: World) -> None:
    world.reader = Faulty(world.source_reader, read=always(ZeroDivisionError("bug")))  # type: ignore[assignment]
    task = await world.task(await world.put("k", b"x"))
    fates = [(await world.replicate(task)).fate for _ in range(ATTEMPTS)]
    assert fates == [["nack"]] * (ATTEMPTS - 1) + [["reject"]]


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe", b"{}", b'{"schema": 99}', b"[" * 10_000])
async def test_a_message_that_is_no_task_goes_to_the_error_topic_as_it_came(world: World, payload: bytes) -> None:
    delivery = Delivered(payload)
    await world.replicator().replicate(delivery)
    assert delivery.fate == ["reject"]
    found = report.decode(delivery.report)
    assert (found.category, found.payload, found.route) == ("malformed", payload, None)


async def test_a_task_of_an_unknown_route_says_which_routes_there_are(world: World) -> None:
    task = replace(await world.task(await world.put("k", b"x")), route="elsewhere")
    delivery = await world.replicate(task)
    assert delivery.fate == ["reject"]
    assert ROUTE in report.decode(delivery.report).message


async def test_an_object_that_somebody_else_moves_is_left_to_them(world: World) -> None:
    # Given a claim of another worker
    task = await world.task(await world.put("k", b"x"))
    await world.cache.claim([Claim(ROUTE, "k", task.version.token, "worker-2", 60)])
    # When
    delivery = await world.replicate(task)
    # Then we come back later, and have not touched anything
    assert delivery.fate == ["nack"]
    assert delivery.delay > 0
    assert world.destination_store.writes == 0


async def test_two_deliveries_of_one_task_in_one_worker_write_once(world: World) -> None:
    # Given one worker that gets the same task twice at the same time
    task = await world.task(await world.put("k", noise(100)))
    replicator = world.replicator()
    deliveries = [Delivered(encode(task)), Delivered(encode(task))]
    # When
    await asyncio.gather(*(replicator.replicate(delivery) for delivery in deliveries))
    # Then
    assert sorted(delivery.fate[0] for delivery in deliveries) == ["ack", "nack"]
    assert world.destination_store.writes == 1


async def test_an_upload_that_fails_in_a_way_that_passes_is_gone_on_with(world: World) -> None:
    # Given a large object and a destination that goes away at the third part
    written: list[int] = []

    async def begin(plain: Callable[..., object], *args: object) -> object:
        upload: Upload = await plain(*args)  # type: ignore[misc]

        async def part(plain: Callable[..., object], number: int, *rest: object) -> object:
            if number == 2 and 2 not in written:
                written.append(number)
                raise Unavailable("away")
            written.append(number)
            return await plain(number, *rest)  # type: ignore[misc]

        return Faulty(upload, part=part)

    world.writer = Faulty(world.destination_writer, begin=begin)  # type: ignore[assignment]
    task = await world.task(await world.put("k", noise(9 * MIB)))
    first = await world.replicate(task)
    assert first.fate == ["nack"]
    assert world.budget.held == 0
    before = set(written) - {2}
    # When another worker gets the delivery
    written.clear()
    written.append(2)
    second = await world.replicate(task, "worker-2")
    # Then it sends what is missing, and again at most the parts that were under way beside the one that failed
    assert second.fate == ["ack"]
    assert 0 in before
    assert 0 not in written
    assert len(before & set(written[1:])) < PARALLEL_PARTS
    assert world.destination_store.writes == 1
    assert world.destination_store.uploads == {}
    assert await world.uploads.find(ROUTE, "k") is None


async def test_an_upload_that_cannot_succeed_is_given_up_at_the_service(world: World) -> None:
    async def begin(plain: Callable[..., object], *args: object) -> object:
        return Faulty(await plain(*args), part=once(Forbidden("no")))  # type: ignore[misc]

    world.writer = Faulty(world.destination_writer, begin=begin)  # type: ignore[assignment]
    delivery = await world.replicate(await world.task(await world.put("k", noise(4 * MIB))))
    # Then nothing is visible, nothing is left to be billed, nothing is held
    assert delivery.fate == ["reject"]
    assert world.destination_store.writes == 0
    assert world.destination_store.uploads == {}
    assert world.budget.held == 0


async def test_what_was_left_of_another_version_is_cleared_away(world: World) -> None:
    # Given an upload that stopped in the middle, and a source that has changed since
    async def begin(plain: Callable[..., object], *args: object) -> object:
        return Faulty(await plain(*args), complete=once(Unavailable("away")))  # type: ignore[misc]

    world.writer = Faulty(world.destination_writer, begin=begin)  # type: ignore[assignment]
    assert (await world.replicate(await world.task(await world.put("k", noise(3 * MIB))))).fate == ["nack"]
    world.writer = world.destination_writer
    data = noise(3 * MIB)
    # When the new version is moved
    assert (await world.replicate(await world.task(await world.put("k", data)))).fate == ["ack"]
    # Then it is not made of parts of the old one, and the old upload is gone
    assert await world.arrived("k") == data
    assert world.destination_store.uploads == {}


async def test_an_object_that_is_gone_leaves_no_upload_behind(world: World) -> None:
    async def begin(plain: Callable[..., object], *args: object) -> object:
        return Faulty(await plain(*args), complete=once(Unavailable("away")))  # type: ignore[misc]

    world.writer = Faulty(world.destination_writer, begin=begin)  # type: ignore[assignment]
    task = await world.task(await world.put("k", noise(3 * MIB)))
    assert (await world.replicate(task)).fate == ["nack"]
    world.source_store.remove("k")
    assert (await world.replicate(task)).fate == ["ack"]
    assert world.destination_store.uploads == {}


async def test_a_lost_upload_is_begun_again(world: World) -> None:
    uploads = [once(UploadLost("gone"))]

    async def begin(plain: Callable[..., object], *args: object) -> object:
        upload = await plain(*args)  # type: ignore[misc]
        return Faulty(upload, part=uploads.pop()) if uploads else upload

    world.writer = Faulty(world.destination_writer, begin=begin)  # type: ignore[assignment]
    delivery = await world.replicate(await world.task(await world.put("k", noise(3 * MIB))))
    assert delivery.fate == ["ack"]
    assert world.destination_store.writes == 1
    assert world.destination_store.uploads == {}


@pytest.mark.parametrize("size", [1000, 4 * MIB])
async def test_a_cancelled_delivery_leaves_nothing_that_is_not_known(world: World, size: int) -> None:
    # Given a transfer that hangs in the middle
    hanging = asyncio.Event()

    async def hang(plain: Callable[..., object], *args: object) -> object:
        hanging.set()
        await asyncio.sleep(60)
        raise AssertionError

    world.reader = Faulty(world.source_reader, read=hang)  # type: ignore[assignment]
    delivery = Delivered(encode(await world.task(await world.put("k", noise(size)))))
    running = asyncio.create_task(world.replicator().replicate(delivery))
    await hanging.wait()
    # When the worker is told to stop
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # Then nothing is held, and whoever gets the delivery next can go on with what was begun
    assert world.budget.held == 0
    assert delivery.fate == []
    saved = await world.uploads.find(ROUTE, "k")
    assert ([saved.token] if saved else []) == list(world.destination_store.uploads)


@pytest.mark.parametrize("kept", ["crc32c", "crc64nvme"])
async def test_wrong_bytes_in_a_part_are_noticed_by_the_checksum_of_the_whole(world: World, kept: str) -> None:
    # Given a source that keeps one checksum of the whole object, and a path on which a byte of a part is changed once
    data = noise(4 * MIB)
    changes = [True]

    async def stat(plain: Callable[..., object], key: str) -> object:
        found: StoredObject = await plain(key)  # type: ignore[misc]
        return replace(found, crc32c=None, crc64nvme=crc64nvme(data)) if kept == "crc64nvme" else found

    async def read(plain: Callable[..., object], key: str, span: Span | None, version: Version | None) -> object:
        content: Content = await plain(key, span, version)  # type: ignore[misc]
        if span is None or span.start == 0 or not changes:
            return content
        changes.pop()
        return replace(content, data=bytes([content.data[0] ^ 1]) + content.data[1:])

    world.reader = Faulty(world.source_reader, stat=stat, read=read)  # type: ignore[assignment]
    task = await world.task(await world.put("k", data))

    # When it is moved
    first = await world.replicate(task)

    # Then nothing has become of it, and nothing is left to be gone on with
    assert first.fate == ["nack"]
    assert await world.destination_writer.stat("k") is None
    assert world.destination_store.uploads == {}
    assert await world.uploads.find(ROUTE, "k") is None

    # And the next attempt begins anew
    assert (await world.replicate(task)).fate == ["ack"]
    assert await world.arrived("k") == data


async def test_wrong_bytes_never_become_an_object(world: World) -> None:
    # Given a path on which a byte is changed after it was hashed
    async def put(plain: Callable[..., object], key: str, body: Body, precondition: Precondition) -> object:
        return await plain(key, replace(body, data=b"y" + body.data[1:]), precondition)  # type: ignore[misc]

    world.writer = Faulty(world.destination_writer, put=put)  # type: ignore[assignment]
    delivery = await world.replicate(await world.task(await world.put("k", b"xxxx")))
    assert delivery.fate == ["nack"]
    assert await world.destination_writer.stat("k") is None


async def test_a_destination_that_reports_other_bytes_than_were_sent_is_no_proof(world: World) -> None:
    # Given a destination whose answer names another checksum
    async def put(plain: Callable[..., object], *args: object) -> object:
        written: StoredObject = await plain(*args)  # type: ignore[misc]
        return replace(written, crc32c=1)

    world.writer = Faulty(world.destination_writer, put=put)  # type: ignore[assignment]
    delivery = await world.replicate(await world.task(await world.put("k", b"xxxx")))
    # Then
    assert delivery.fate == ["nack"]
    assert await world.cache.get(ROUTE, Kind.CONSUMED, "k") is None
