"""The table of what is kept beside the bytes: complete, as the documentation has it, and what becomes of what does not fit."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from common.objects import Headers
from common.storage import s3, s3_headers
from common.storage.base import Absent
from common.storage.file import LIMITS
from common.storage.file_note import kept
from common.storage.file_tree import Tree
from common.storage.file_writer import FileWriter
from common.storage.metadata import CLASSES, KEEPS, MOST_METADATA, Field, How, fitting
from common.storage.names import SOURCE_VERSION
from common.storage.registry import BACKENDS
from tests.unit.storage.disk import body, failing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.storage.s3_ends import Ends

DOCUMENT = Path(__file__).parents[3] / "docs" / "metadata.md"
NAMES = {"s3": "S3", "gs": "GCS", "gdrive": "Drive", "file": "files"}


def rendered() -> str:
    rows = [f"| | {' | '.join(NAMES.values())} |", "|---" * (len(NAMES) + 1) + "|"]
    for field in Field:
        cells = [KEEPS[scheme][field].value + most(scheme, field) for scheme in NAMES]
        rows.append(f"| {field.value} | {' | '.join(cells)} |")
    return "\n".join(rows)


def most(scheme: str, field: Field) -> str:
    return f", {MOST_METADATA[scheme]} bytes" if field is Field.METADATA and scheme in MOST_METADATA else ""


def test_the_documentation_has_the_table() -> None:
    # Given the table in the code, and its words
    # When it is rendered
    # Then the documentation has it, and explains each word
    text = DOCUMENT.read_text(encoding="utf-8")
    assert rendered() in text, f"docs/metadata.md has to have this table:\n{rendered()}"
    assert all(f"- **{how.value}**: " in text for how in How)


def test_every_backend_has_every_field() -> None:
    assert KEEPS.keys() == BACKENDS.keys()
    assert all(fields.keys() == set(Field) for fields in KEEPS.values())
    assert {scheme for scheme, fields in KEEPS.items() if fields[Field.STORAGE_CLASS] is How.MAPPED} == CLASSES.keys()


@pytest.mark.parametrize(
    ("metadata", "room", "left"),
    [
        ({"a": "1", "b": "22"}, 5, {"a", "b"}),
        ({"a": "1", "b": "22"}, 4, {"a"}),
        ({"a": "333", "b": "22", "c": "1"}, 5, {"b", "c"}),
        ({"a": "1", SOURCE_VERSION: "v" * 50}, 10, {SOURCE_VERSION}),
    ],
)
def test_the_largest_go_first_and_ours_never(metadata: dict[str, str], room: int, left: set[str]) -> None:
    def fits(some: Mapping[str, str]) -> bool:
        return sum(len(name) + len(value) for name, value in some.items()) <= room

    assert fitting(metadata, fits).keys() == left


@pytest.mark.parametrize(
    ("metadata", "left"),
    [
        ({"a": "x" * 2047}, {"a"}),
        ({"a": "x" * 2048}, set[str]()),
        ({"a": "ü" * 750}, {"a"}),  # 2,000 characters of base64, and 12 around them
        ({"a": "ü" * 770}, set[str]()),
        ({"no name": "x", "a": "y"}, {"a"}),
        ({"": "x", "a": "y"}, {"a"}),
        ({"A": "x", "a": "y", "b": "z"}, {"A", "b"}),
    ],
)
def test_what_s3_keeps(metadata: dict[str, str], left: set[str]) -> None:
    headers = Headers("text/x", metadata=metadata)
    found = s3.LIMITS.kept(headers)
    assert found.metadata.keys() == left
    assert replace(found, metadata={}) == replace(headers, metadata={})
    assert (found is headers) == (left == metadata.keys())


@pytest.mark.parametrize("said", ["", "yesterday", "Sat, 28 Nov 10000 20:00:00 GMT", "31 Dec 9999 23:59:59 -2300"])
def test_a_date_that_nobody_can_read_is_none(said: str) -> None:
    assert s3_headers.stored("key", 1, {"last-modified": said}).modified is None


async def test_s3_tells_of_tags_and_takes_an_objects_own_class(ends: Ends) -> None:
    # Given a location that stores everything with tags, in a class
    writer = ends.writer(tags={"team": "photos", "year": "2026"}, storage_class="STANDARD_IA")
    # When objects are put there, one of which has a class of its own
    await writer.put("plain", body(), Absent())
    await writer.put("own", replace(body(), headers=Headers(storage_class="GLACIER_IR")), Absent())
    # Then that is its class, and the source says of each that it has tags
    found = [await ends.reader().stat(key) for key in ("plain", "own")]
    assert [(each.storage_class, each.tags) for each in found if each] == [("STANDARD_IA", 2), ("GLACIER_IR", 2)]
    assert s3_headers.stored("key", 1, {"x-amz-tagging-count": "many"}).tags == 0


def test_what_a_note_holds() -> None:
    # Given a note of all that it has but metadata
    headers = Headers("text/x", "max-age=1", metadata={"a": "\udc80\u00e9" * 100, "b": "x"})
    # When there is much room, little, and none
    # Then all is kept, what fits, and nothing
    assert kept(headers, 4000) is headers
    assert kept(headers, 300) == replace(headers, metadata={"b": "x"})
    assert kept(headers, 0) == Headers()


def test_a_filesystem_is_asked_what_it_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the filesystem of this machine
    writer = FileWriter.open(Tree(f"{tmp_path}/"), LIMITS)
    # When it is asked what it keeps of a short note and of one that no filesystem keeps
    short, long = Headers(metadata={"a": "x"}), Headers(metadata={"a": "x" * 70_000})
    # Then it keeps the first, and leaves nothing behind in the directory
    assert writer.limits.kept(short) is short
    assert writer.limits.kept(long).metadata == {}
    assert list(tmp_path.iterdir()) == []
    # And one without extended attributes keeps nothing
    monkeypatch.setattr(os, "setxattr", failing(95))
    assert FileWriter.open(Tree(f"{tmp_path}/"), LIMITS).limits.kept(short) == Headers()
