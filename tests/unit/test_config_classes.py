"""What a route says of metadata and storage classes: what it becomes, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.errors import SettingsError
from tests.unit.configuration import route

if TYPE_CHECKING:
    from pathlib import Path


def test_a_route_is_lenient_unless_it_says_otherwise(tmp_path: Path) -> None:
    read = route(tmp_path, "")
    assert (read.metadata, read.storage_classes) == ("lenient", {})


def test_a_strict_route_with_classes(tmp_path: Path) -> None:
    # Given every setting
    # When it is read
    read = route(tmp_path, 'metadata = "strict"\n[route.storage_classes]\nSTANDARD_IA = "NEARLINE"\nONEZONE_IA = ""')
    # Then it is there
    assert (read.metadata, read.storage_classes) == ("strict", {"STANDARD_IA": "NEARLINE", "ONEZONE_IA": ""})


@pytest.mark.parametrize(
    ("text", "source", "destination", "part"),
    [
        ("metadata = 'loose'", "s3://a", "gs://b", "metadata is 'loose': write one of 'lenient' or 'strict'"),
        (
            "storage_classes.STANDARD_IA = 'COLD'",
            "s3://a",
            "gs://b",
            "'COLD' is no class of gs://b: write one of ARCHIVE, COLDLINE",
        ),
        ("storage_classes.STANDARD_IA = 'nearline'", "s3://a", "gs://b", "'nearline' is no class of gs://b"),
        ("storage_classes.NEARLINE = 'STANDARD_IA'", "s3://a", "s3://b", "'NEARLINE' is no class of s3://a"),
        ("storage_classes.NEARLINE = 'GLACIER'", "gs://a", "file:///b", 'write NEARLINE = "", or take it out'),
        (
            "storage_classes.STANDARD = 'NEARLINE'",
            "file:///a",
            "gs://b",
            "file:///a/ has no storage classes: take 'STANDARD' out",
        ),
        ("storage_classes.STANDARD = 1", "s3://a", "gs://b", "storage_classes.STANDARD: write a text in quotes"),
    ],
)
def test_what_cannot_work_is_said(tmp_path: Path, text: str, source: str, destination: str, part: str) -> None:
    with pytest.raises(SettingsError) as caught:
        route(tmp_path, text, source, destination)
    assert part in str(caught.value)
