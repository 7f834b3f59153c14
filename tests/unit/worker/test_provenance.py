"""What a copy says of its source, and what that makes of it to a task."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from common.location import Location
from common.objects import UNSIZED, Headers, StoredObject, Version
from common.storage.names import SOURCE_KEY, SOURCE_MODIFIED, SOURCE_SIZE, SOURCE_VERSION
from common.storage.source_time import MTIME
from common.task import Task
from worker.provenance import Origin, Standing, marked

NOW = datetime(2026, 11, 21, 1, 2, 3, 456789, UTC)
ORIGIN = Origin.of(Location.parse("s3://photos/2024"))
TASK = Task("r", "a//b", Version("v1"), 5, NOW, "gs://copy/a//b", "job", 0, NOW)
THERE = StoredObject("a//b", 5, Version("1"))
OLD = {SOURCE_VERSION: "v1", SOURCE_SIZE: "5"}


def test_the_digest_is_part_of_the_storage_format() -> None:
    # Later releases read it: these digits may never change
    assert ORIGIN.name("a//b") == "-".join(
        (hashlib.sha256(b"s3://photos/2024/").hexdigest()[:16], hashlib.sha256(b"a//b").hexdigest()[:32])
    )
    assert Origin.of(Location.parse("file:///x")).name("caf\udce9") != Origin.of(Location.parse("file:///x")).name("caf\xe9")


@pytest.mark.parametrize("spelling", ["s3://photos/2024", "s3://photos/2024/"])
def test_the_spelling_of_a_source_does_not_matter(spelling: str) -> None:
    assert Origin.of(Location.parse(spelling)) == ORIGIN


@pytest.mark.parametrize(
    ("metadata", "standing"),
    [
        ({**OLD, SOURCE_KEY: ORIGIN.name("a//b")}, Standing.THIS),
        ({**OLD, SOURCE_KEY: ORIGIN.name("a//b"), SOURCE_VERSION: "v0"}, Standing.OURS),
        ({**OLD, SOURCE_KEY: ORIGIN.name("a/b")}, Standing.TWIN),
        ({**OLD, SOURCE_KEY: ORIGIN.name("a/b"), SOURCE_VERSION: "v0"}, Standing.TWIN),
        ({**OLD, SOURCE_KEY: Origin.of(Location.parse("s3://other")).name("a//b")}, Standing.FOREIGN),
        ({**OLD, SOURCE_KEY: "of somebody else"}, Standing.FOREIGN),
        (OLD, Standing.THIS),
        ({**OLD, SOURCE_VERSION: "v0"}, Standing.OURS),
        ({**OLD, SOURCE_SIZE: "6"}, Standing.FOREIGN),
        ({SOURCE_VERSION: "v1"}, Standing.FOREIGN),
        ({"owner": "somebody"}, Standing.FOREIGN),
        ({}, Standing.FOREIGN),
    ],
)
def test_what_is_there(metadata: dict[str, str], standing: Standing) -> None:
    assert ORIGIN.standing(replace(THERE, headers=Headers(metadata=metadata)), TASK) is standing


def test_a_size_that_only_reading_tells_is_not_compared() -> None:
    found = replace(THERE, headers=Headers(metadata=OLD))
    assert ORIGIN.standing(found, replace(TASK, size=UNSIZED)) is Standing.THIS
    assert ORIGIN.standing(found, replace(TASK, size=6)) is Standing.OURS


def test_a_copy_says_what_it_was_made_from() -> None:
    source = StoredObject("a//b", 5, Version("v1"), NOW, Headers("text/x", metadata={"owner": "somebody"}), nanoseconds=7)
    headers = marked(source, TASK, ORIGIN)
    assert headers.content_type == "text/x"
    assert headers.metadata == {
        "owner": "somebody",
        SOURCE_VERSION: "v1",
        SOURCE_SIZE: "5",
        SOURCE_KEY: ORIGIN.name("a//b"),
        SOURCE_MODIFIED: "2026-11-21T01:02:03.456789007+00:00",
    }


def test_a_copy_of_a_copy_names_the_nearest_source_and_the_time_of_the_first() -> None:
    told = {SOURCE_VERSION: "v0", SOURCE_SIZE: "5", SOURCE_KEY: "of another", SOURCE_MODIFIED: "1970-01-01T00:00:01.500000+00:00"}
    source = StoredObject("a//b", 5, Version("v1"), NOW, Headers(metadata={**told, MTIME: "1.5"}))
    assert marked(source, TASK, ORIGIN).metadata == {
        SOURCE_VERSION: "v1",
        SOURCE_SIZE: "5",
        SOURCE_KEY: ORIGIN.name("a//b"),
        SOURCE_MODIFIED: told[SOURCE_MODIFIED],
    }
