"""What goes along with the bytes: classes by the route's table, the time of the first source, what is lost and who is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from common.config import Route, StoreOptions
from common.errors import MetadataLost
from common.location import Location
from common.objects import Headers, StoredObject, Version
from common.state.flight import Flight
from common.state.records import Receipt
from common.storage import file_note, gcs, memory
from common.storage.file import LIMITS
from common.storage.metadata import Field
from common.storage.names import SOURCE_KEY, SOURCE_MODE, SOURCE_MODIFIED, SOURCE_SIZE, SOURCE_VERSION
from common.task import Task
from worker.carry import LENIENT, Lost, Rules
from worker.provenance import Origin
from worker.settle import Settler
from worker.tally import Tally
from worker.transfer import Moved
from worker.verify import End

if TYPE_CHECKING:
    from tests.unit.worker.conftest import World

A, B = Location.parse("s3://a"), Location.parse("s3://b")
NOW = datetime(2026, 11, 21, tzinfo=UTC)
BEFORE = datetime(2020, 2, 29, 12, 34, 56, 123456, tzinfo=UTC)
FOUND = StoredObject("key", 5, Version("v1"), NOW, Headers("text/x", metadata={"owner": "somebody"}))
TASK = Task("photos", "key", Version("v1"), 5, NOW, "gs://copy/key", "job", 0, NOW)


@pytest.mark.parametrize(
    ("rules", "at_source", "at_destination", "lost"),
    [
        (LENIENT, None, None, None),
        (LENIENT, "STANDARD", None, None),
        (LENIENT, "REGIONAL", None, None),
        (LENIENT, "GLACIER_IR", None, "GLACIER_IR"),
        (Rules(classes={"GLACIER_IR": "COLDLINE"}), "GLACIER_IR", "COLDLINE", None),
        (Rules(classes={"GLACIER_IR": "COLDLINE"}), "STANDARD_IA", None, "STANDARD_IA"),
        (Rules(classes={"GLACIER_IR": ""}), "GLACIER_IR", None, None),
        (Rules(classes={"STANDARD": "NEARLINE"}), None, "NEARLINE", None),
        (Rules(class_is_set=True), "GLACIER_IR", None, None),
        (Rules(classes={"GLACIER_IR": "COLDLINE"}, class_is_set=True), "GLACIER_IR", "COLDLINE", None),
    ],
)
def test_a_class_is_translated_or_lost(rules: Rules, at_source: str | None, at_destination: str | None, lost: str | None) -> None:
    # Given an object of some class, and a route that says something of classes
    # When it is carried
    carried = rules.carry(replace(FOUND, storage_class=at_source), TASK, gcs.LIMITS)
    # Then the destination is told its own word for it, or nothing
    assert carried.headers.storage_class == at_destination
    assert carried.lost == (() if lost is None else (Lost(Field.STORAGE_CLASS, lost),))


def test_a_mode_goes_along_with_every_copy_or_is_lost() -> None:
    # Given a file, a bucket, and a filesystem without modes
    found = replace(FOUND, headers=Headers(metadata={SOURCE_MODE: "755"}))
    modeless = replace(LIMITS, kept=partial(file_note.kept, room=4000, modes=False))
    # When it is carried, then its mode stands in the bucket's metadata, or is counted
    assert LENIENT.carry(found, TASK, gcs.LIMITS).headers.metadata[SOURCE_MODE] == "755"
    carried = LENIENT.carry(found, TASK, modeless)
    assert SOURCE_MODE not in carried.headers.metadata
    assert carried.lost == (Lost(Field.MODE, "755"),)


def test_a_route_makes_the_rules() -> None:
    options = StoreOptions(storage_class="STANDARD_IA")
    made = Route(
        name="r",
        source=A,
        destination=B,
        metadata="strict",
        storage_classes={"GLACIER_IR": "STANDARD"},
        destination_options=options,
    )
    assert Rules.of(made) == Rules(strict=True, classes={"GLACIER_IR": "STANDARD"}, class_is_set=True, origin=Origin.of(A))
    assert Rules.of(Route(name="r", source=A, destination=B)) == replace(LENIENT, origin=Origin.of(A))


def test_everything_that_is_lost_is_named_with_a_way_out() -> None:
    # Given an object with tags, a class, and far too much metadata
    metadata = {f"k{number:02}": "x" * (1000 + number) for number in range(20)}
    laden = replace(FOUND, storage_class="GLACIER_IR", tags=3, headers=Headers("text/x", metadata=metadata))
    # When a strict route is to carry it
    with pytest.raises(MetadataLost) as caught:
        Rules(strict=True).carry(laden, TASK, gcs.LIMITS)
    # Then the error names it all, not more of each than can be read, and says what to do
    assert not caught.value.retryable
    assert str(caught.value) == (
        "'gs://copy/key' cannot keep all that 'key' has beside its bytes: "
        "storage-class 'GLACIER_IR' (name it in [route.storage_classes], with \"\" to leave it behind); "
        "metadata 'k07', 'k08', 'k09', 'k10', 'k11', 'k12', 'k13', 'k14', 'k15', 'k16' and 3 more "
        "(shorten, rename or remove them at the source); "
        "tags '3' (tags are not read: remove them at the source); "
        'or give up strictness: metadata = "lenient"'
    )


def test_a_place_that_keeps_nothing_loses_everything_but_our_own_entries() -> None:
    # Given a destination without a place for anything, as a filesystem without extended attributes is
    limits = replace(memory.LIMITS, kept=lambda _: Headers())
    # When an object is carried there
    carried = LENIENT.carry(FOUND, TASK, limits)
    # Then what the source had is lost
    assert carried.headers == Headers()
    assert carried.lost == (Lost(Field.CONTENT_TYPE, "text/x"), Lost(Field.METADATA, "owner"))


@pytest.mark.parametrize(
    ("told", "modified", "handed_on"),
    [
        (None, NOW, NOW),
        (BEFORE.isoformat(), NOW, BEFORE),
        ("2020-02-29T12:34:56.123456", NOW, NOW),
        ("yesterday", NOW, NOW),
        ("yesterday", None, None),
        (None, None, None),
    ],
)
def test_a_copy_of_a_copy_has_the_time_of_the_first_source(
    told: str | None, modified: datetime | None, handed_on: datetime | None
) -> None:
    # Given an object that says, or does not, when its own source was modified
    metadata = {SOURCE_VERSION: "of before"} | ({} if told is None else {SOURCE_MODIFIED: told})
    found = replace(FOUND, headers=Headers(metadata=MappingProxyType(metadata)))
    # When it is carried on
    carried = LENIENT.carry(found, replace(TASK, modified=modified), gcs.LIMITS)
    # Then the copy says which version it was made from, and when the first source was modified
    told_on = {} if handed_on is None else {SOURCE_MODIFIED: handed_on.isoformat()}
    of_key = {SOURCE_KEY: LENIENT.origin.name("key")}
    assert carried.headers.metadata == {SOURCE_VERSION: "v1", SOURCE_SIZE: "5", **of_key, **told_on}


async def test_losses_are_counted_when_the_object_has_arrived(world: World) -> None:
    # Given a worker
    tally = Tally()
    settler = Settler(world.cache, Flight(world.redis), "worker-1", tally, world.steps.append)
    task = await world.task(await world.put("key", b"bytes"))
    assert not {"metadata_lost", "unverified"} & tally.counts().keys()
    # When an object has arrived without some of what it had
    lost = (Lost(Field.METADATA, "a"), Lost(Field.METADATA, "b"), Lost(Field.TAGS, "1"))
    receipt = Receipt(task.version.token, 5, None, "1", 1_800_000_000, "worker-1")
    await settler.arrived(task, receipt, Moved(FOUND, 0, lost, (End.SOURCE,)))
    # Then the log will say of what kind it was, and the job that it was one object, once
    assert tally.counts()["metadata_lost"] == {"metadata": 2, "tags": 1}
    assert tally.counts()["unverified"] == {"source": 1}
    await settler.arrived(task, receipt, Moved(FOUND, 0, lost, (End.SOURCE,)))
    job = await world.job()
    assert (job.moved, job.metadata_lost, job.unverified) == (1, 1, 1)
