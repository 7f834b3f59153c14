"""What is at the destination already: proven equal and not written again, or another object's copy and not written over."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from common.checksums import crc32c
from common.config import Route
from common.errors import Category, SourceMissing
from common.location import Location
from common.objects import Headers, StoredObject, Version
from common.report import decode
from common.state.cache import Kind, Record
from common.storage.base import MIB, Absent, Body, Matches
from common.storage.names import SOURCE_KEY, SOURCE_SIZE, SOURCE_VERSION
from tests.unit.worker.conftest import ROUTE, World, noise
from tests.unit.worker.folding import FOLDS, Folding
from worker.carry import Rules
from worker.look import Look, Seen, are_equal
from worker.replicate import Ends
from worker.twins import common_name

if TYPE_CHECKING:
    from common.storage.base import Precondition, Reader, Writer

RULES = Rules.of(Route(name=ROUTE, source=Location.parse("s3://photos"), destination=Location.parse("s3://copy")))


class Counting:
    """A reader or writer that counts what it is asked for."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        plain = getattr(self._inner, name)
        if callable(plain):
            self.calls[name] += 1
        return plain


def routed(world: World, writer: Writer | None = None, rules: Rules = RULES) -> None:
    world.beside[ROUTE] = Ends(world.reader, writer or world.writer, rules)


async def there(world: World, key: str, data: bytes, headers: Headers | None = None) -> StoredObject:
    """Somebody else puts an object at the destination."""
    found = await world.destination_writer.stat(key)
    expected = Absent() if found is None else Matches(found.version)
    return await world.destination_writer.put(key, Body(data, crc32c(data), headers or Headers()), expected)


async def proof(world: World, key: str) -> dict[str, Any] | None:
    return await world.cache.get(ROUTE, Kind.CONSUMED, key)


@pytest.mark.parametrize("size", [0, 10, 2 * MIB], ids=["empty", "small", "in parts"])
async def test_what_somebody_else_has_brought_there_is_not_copied(world: World, size: int) -> None:
    # Given an object of which the destination has an equal one, by whatever means
    data = noise(size)
    task = await world.task(await world.put("k", data))
    before = await there(world, "k", data, Headers("text/other"))
    routed(world)
    # When it is to be replicated
    delivery = await world.replicate(task)
    # Then nothing is written, and there is a receipt for what is there
    assert delivery.fate == ["ack"]
    assert world.destination_store.writes == 1
    receipt = await proof(world, "k")
    assert receipt is not None
    assert (receipt["etag"], receipt["size"]) == (task.version.token, size)
    assert (receipt["destination_version"], receipt["crc32c"]) == (before.version.token, before.crc32c)


@pytest.mark.parametrize("size", [10, 2 * MIB], ids=["small", "in parts"])
async def test_what_is_not_equal_is_written_over(world: World, size: int) -> None:
    data = noise(size)
    task = await world.task(await world.put("k", data))
    await there(world, "k", noise(size))
    routed(world)
    assert (await world.replicate(task)).fate == ["ack"]
    assert await world.arrived("k") == data if size <= MIB else world.destination_store.writes == 2


async def test_the_source_is_asked_only_about_what_may_be_equal(world: World) -> None:
    # Given a look at a destination, and a source that must not be asked
    task = await world.task(await world.put("k", b"the bytes"))
    look, nothing = Look(world.writer, RULES), Record(None, None)

    async def asked() -> StoredObject:
        raise AssertionError("the source was asked")

    # When nothing is there, an object of another size, and a copy of ours
    assert await look.at(task, nothing, asked) == Seen(Absent())
    other = await there(world, "k", b"of another size")
    assert await look.at(task, nothing, asked) == Seen(Matches(other.version), foreign=True)
    ours = await there(world, "k", b"the bytes", Headers(metadata=_of("s3://photos", "k", 9)))
    assert (await look.at(task, nothing, asked)).proven == ours
    # Then it is not asked; but it is of what has the same size and a checksum
    await there(world, "k", b"the bytes")
    with pytest.raises(AssertionError, match="was asked"):
        await look.at(task, nothing, asked)


async def test_a_small_object_that_is_new_costs_a_read_and_a_write(world: World) -> None:
    task = await world.task(await world.put("k", b"the bytes"))
    reader, writer = Counting(world.reader), Counting(world.writer)
    world.reader = cast("Reader", reader)
    routed(world, cast("Writer", writer))
    await world.replicate(task)
    assert (reader.calls["read"], writer.calls["put"]) == (1, 1)
    assert reader.calls["stat"] == writer.calls["stat"] == 0


async def test_equal_is_said_of_the_version_that_the_task_names(world: World) -> None:
    # Given a source that has changed since it was listed, and a destination that has what it was then
    task = await world.task(await world.put("k", b"before"))
    await there(world, "k", b"before")
    newer = await world.put("k", b"after!")
    routed(world)
    # When the old task is carried out
    delivery = await world.replicate(task)
    # Then nothing is proven of it, and the new version is sent for
    assert delivery.fate == ["ack"]
    assert await proof(world, "k") is None
    assert [each.version for each in world.sent()] == [newer.version]


@pytest.mark.parametrize(
    ("first", "second", "writes"),
    [
        (Headers("text/x"), Headers("text/x"), 1),
        (Headers("text/x"), Headers("text/y"), 2),
        (Headers("text/x", metadata={"a": "1"}), Headers("text/x", metadata={"a": "2"}), 2),
        (Headers("text/x", metadata={"a": "1"}), Headers("text/x"), 2),
    ],
)
async def test_an_older_copy_of_ours_is_equal_if_what_is_beside_its_bytes_is_too(
    world: World, first: Headers, second: Headers, writes: int
) -> None:
    # Given a copy of ours, and a source that has got the same bytes again, with these headers
    routed(world)
    await world.replicate(await world.task(await world.put("k", b"the bytes", first)))
    await world.cache.delete(ROUTE, None)
    again = await world.task(await world.put("k", b"the bytes", second))
    # When the new version is to be replicated
    await world.replicate(again)
    # Then it is written if there is something to bring, and proven either way
    assert world.destination_store.writes == writes
    receipt = await proof(world, "k")
    assert receipt is not None
    assert receipt["etag"] == again.version.token


async def test_a_strict_route_takes_no_object_without_its_headers_for_equal(world: World) -> None:
    task = await world.task(await world.put("k", b"the bytes", Headers("text/x", metadata={"a": "1"})))
    await there(world, "k", b"the bytes", Headers("text/x"))
    routed(world, rules=replace(RULES, strict=True))
    await world.replicate(task)
    copy = await world.destination_writer.stat("k")
    assert copy is not None
    assert copy.headers.metadata["a"] == "1"


STATED: dict[str, Any] = {"crc32c": 7, "crc64nvme": 8, "md5": "0" * 32, "digests": {"sha256": "1" * 64}}


@pytest.mark.parametrize("kind", STATED)
def test_any_checksum_that_both_state_is_proof(kind: str) -> None:
    bare = StoredObject("k", 5, Version("1"))
    one = replace(bare, **{kind: STATED[kind]})
    assert are_equal(one, replace(bare, **STATED))
    assert not are_equal(replace(one, size=6), replace(bare, **STATED))
    assert not are_equal(one, replace(bare, **{name: value for name, value in STATED.items() if name != kind}))
    assert not are_equal(one, bare)


def test_one_checksum_that_differs_is_enough() -> None:
    stated = StoredObject("k", 5, Version("1"), **STATED)
    assert are_equal(stated, stated)
    assert not are_equal(stated, replace(stated, md5="f" * 32))
    assert not are_equal(stated, replace(stated, digests={"sha256": "f" * 64}))


@pytest.mark.parametrize("preconditions", [True, False], ids=["conditions", "no conditions"])
@pytest.mark.parametrize("size", [10, 2 * MIB], ids=["small", "in parts"])
@pytest.mark.parametrize("kind", FOLDS)
async def test_of_two_keys_that_are_one_to_the_destination_the_second_is_a_conflict(
    world: World, kind: str, size: int, preconditions: bool
) -> None:
    # Given two objects whose keys the destination takes for one; the first is there
    fold, keys = FOLDS[kind]
    routed(world, Folding(world.writer, fold, preconditions=preconditions))
    first, second = [await world.task(await world.put(key, noise(size))) for key in keys]
    assert (await world.replicate(first)).fate == ["ack"]
    # When the second is to be replicated
    delivery = await world.replicate(second)
    # Then it is reported at once as what it is, with a way out, and nothing is written over
    assert delivery.fate == ["reject"]
    report = decode(delivery.report)
    assert (report.category, report.attempts) == (Category.DESTINATION_CONFLICT, 1)
    assert report.message is not None
    assert "takes both keys for one" in report.message
    assert "Rename" in report.message
    assert world.destination_store.writes == 1
    # And in a later run, with the cache lost too, neither is written over its twin
    await world.cache.delete(ROUTE, None)
    assert (await world.replicate(first)).fate == ["ack"]
    assert (await world.replicate(second)).fate == ["reject"]
    assert world.destination_store.writes == 1


async def test_equal_bytes_of_two_keys_are_still_two_objects(world: World) -> None:
    fold, keys = FOLDS["double slash"]
    routed(world, Folding(world.writer, fold, preconditions=True))
    fates = [(await world.replicate(await world.task(await world.put(key, b"the same")))).fate for key in keys]
    assert fates == [["ack"], ["reject"]]


async def test_copies_of_before_the_key_was_named_are_ours(world: World) -> None:
    # Given a copy with the three entries of older releases, and a lost cache
    task = await world.task(await world.put("k", b"the bytes"))
    await there(world, "k", b"the bytes", Headers(metadata={SOURCE_VERSION: task.version.token, SOURCE_SIZE: "9"}))
    routed(world)
    # Then it is recognised, and its successor is written over it, with all four
    await world.replicate(task)
    assert world.destination_store.writes == 1
    await world.replicate(await world.task(await world.put("k", b"new bytes")))
    copy = await world.destination_writer.stat("k")
    assert copy is not None
    assert copy.headers.metadata[SOURCE_KEY] == RULES.origin.name("k")


async def test_another_source_is_no_twin(world: World) -> None:
    # Given a copy that was made from the same key of another bucket
    await there(world, "k", b"of another", Headers(metadata=_of("s3://another", "k", 10)))
    task = await world.task(await world.put("k", b"the bytes"))
    routed(world)
    # Then it is written over, as everything is that is not ours
    assert (await world.replicate(task)).fate == ["ack"]
    assert await world.arrived("k") == b"the bytes"


def _of(source: str, key: str, size: int) -> dict[str, str]:
    origin = Rules.of(Route(name="r", source=Location.parse(source), destination=Location.parse("s3://copy"))).origin
    return {SOURCE_VERSION: "1", SOURCE_SIZE: str(size), SOURCE_KEY: origin.name(key)}


class Held(Folding):
    """A writer that has looked, and writes when it may."""

    def __init__(self, inner: Writer) -> None:
        super().__init__(inner, FOLDS["double slash"][0], preconditions=False)
        self.about_to_write, self.may_write = asyncio.Event(), asyncio.Event()

    async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
        self.about_to_write.set()
        await self.may_write.wait()
        return await super().put(key, body, precondition)


@pytest.mark.parametrize("keys", [("a/b", "a//b"), ("a//b", "a/b"), ("a//b", "a///b")])
async def test_two_workers_at_once_do_not_write_over_each_other_without_conditions(world: World, keys: tuple[str, str]) -> None:
    # Given a destination without conditions that folds keys, and a worker that has seen nothing there and is about to write
    routed(world, writer := Held(world.writer))
    tasks = [await world.task(await world.put(key, noise(10))) for key in keys]
    first = asyncio.create_task(world.replicate(tasks[0], "worker-1"))
    await writer.about_to_write.wait()
    # When another worker gets the other object meanwhile
    assert (await world.replicate(tasks[1], "worker-2")).fate == ["nack"]
    # Then it waits, and the first one's copy is whole
    writer.may_write.set()
    assert (await first).fate == ["ack"]
    # And finds then what it is
    again = await world.replicate(tasks[1], "worker-2")
    assert again.fate == ["reject"]
    assert decode(again.report).category == Category.DESTINATION_CONFLICT
    assert world.destination_store.writes == 1


async def test_a_name_in_common_is_given_back(world: World) -> None:
    # Given a destination without conditions, and an object whose key has a name in common with others
    routed(world, Folding(world.writer, str, preconditions=False))
    # When it ends well, and when it ends otherwise
    assert (await world.replicate(await world.task(await world.put("A//b", b"1")))).fate == ["ack"]
    task = await world.task(await world.put("A//c", b"1"))
    world.reader = cast("Reader", _Failing(world.reader))
    routed(world, Folding(world.writer, str, preconditions=False))
    await world.replicate(task)
    world.reader = world.source_reader
    routed(world, Folding(world.writer, str, preconditions=False))
    # Then others of that name need not wait for anybody
    for key in ("a/b", "a/c"):
        assert (await world.replicate(await world.task(await world.put(key, b"2")), "another")).fate == ["ack"]


class _Failing(Counting):
    async def read(self, *_: object) -> None:
        raise SourceMissing("it is gone")


@pytest.mark.parametrize(
    ("keys", "same"),
    [
        (("a/b", "a//b", "a\\b", "/a/b", "A/B", "a/b/", "a./b ", "a/b."), True),
        (("\u00fc", "u\u0308", "\u00dc", "U\u0308"), True),
        (("stra\u00dfe", "STRASSE"), True),
        (("a/b", "ab", "a-b", "a/c", "b/a"), False),
        (("/", "//"), False),
    ],
)
def test_names_in_common(keys: tuple[str, ...], same: bool) -> None:
    found = {common_name(key) for key in keys}
    assert len(found) == (1 if same else len(keys))
    assert {common_name(name) for name in found} == found


async def test_what_a_write_shows_to_be_another_objects_is_no_success(world: World) -> None:
    # Given a service without conditions at which another worker's write to the folded key comes between ours and its answer
    task = await world.task(await world.put("a//b", b"the same"))
    twin = Headers(metadata={SOURCE_VERSION: "9", SOURCE_SIZE: "8", SOURCE_KEY: RULES.origin.name("a/b")})

    class Overtaken(Folding):
        async def put(self, key: str, body: Body, precondition: Precondition) -> StoredObject:
            written = await super().put(key, body, precondition)
            return replace(written, headers=twin)

    routed(world, Overtaken(world.writer, str, preconditions=False))
    # When the object is replicated
    delivery = await world.replicate(task)
    # Then it is a conflict, and nothing is proven
    assert decode(delivery.report).category == Category.DESTINATION_CONFLICT
    assert await proof(world, "a//b") is None


async def altered(world: World, key: str, data: bytes) -> StoredObject:
    """Somebody overwrites a copy of ours and leaves its metadata as they are."""
    found = await world.destination_writer.stat(key)
    assert found is not None
    return await world.destination_writer.put(key, Body(data, crc32c(data), found.headers), Matches(found.version))


@pytest.mark.parametrize("size", [10, 2 * MIB], ids=["small", "in parts"])
async def test_a_copy_that_was_altered_and_says_to_be_whole_is_not_believed(world: World, size: int) -> None:
    # Given a copy of ours that somebody has overwritten with as many other bytes, under its own metadata
    data = noise(size)
    routed(world)
    task = await world.task(await world.put("k", data))
    await world.replicate(task)
    await altered(world, "k", noise(size))
    await world.cache.delete(ROUTE, None)
    # When it is to be replicated anew, because its destination is not as the receipt said
    source = Counting(world.source_reader)
    world.beside[ROUTE] = Ends(cast("Reader", source), world.writer, RULES)
    delivery = await world.replicate(replace(task, there=True))
    # Then it is written again, and read once: the look came first
    assert (delivery.fate, await world.arrived("k")) == (["ack"], data)
    assert source.calls["read"] == max(1, size // MIB)


async def test_a_copy_whose_version_alone_has_changed_is_not_written_again(world: World) -> None:
    # Given a copy of ours that has got another version, as some services do when they move it
    routed(world)
    task = await world.task(await world.put("k", b"bytes"))
    await world.replicate(task)
    moved = await altered(world, "k", b"bytes")
    await world.cache.delete(ROUTE, None)
    # When it is looked at because of that
    source = Counting(world.source_reader)
    world.beside[ROUTE] = Ends(cast("Reader", source), world.writer, RULES)
    assert (await world.replicate(replace(task, there=True))).fate == ["ack"]
    # Then there is a new receipt for it, and no byte was read or written
    receipt = await proof(world, "k")
    assert receipt is not None
    assert receipt["destination_version"] == moved.version.token
    assert (source.calls["read"], world.destination_store.writes) == (0, 2)
