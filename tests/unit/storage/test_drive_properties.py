"""What is kept beside a file's bytes: everything comes back, and every property is one that Drive takes."""

from __future__ import annotations

import random
import string
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Refused
from common.objects import Headers
from common.storage.gdrive import properties
from common.storage.gdrive.limits import LIMITS
from common.storage.names import SOURCE_MODIFIED, SOURCE_SIZE, SOURCE_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

texts = st.text(max_size=200)
metadata = st.dictionaries(texts, texts, max_size=8)
ORIGIN = {
    SOURCE_VERSION: "9a0364b9e99bb480dd25e1f0284c8555-3",
    SOURCE_SIZE: "5",
    SOURCE_MODIFIED: "2020-01-02T03:04:05.678+00:00",
}


def kept(headers: Headers, checks: Mapping[str, str] | None = None, **more: Any) -> tuple[Headers, int | None]:
    """The headers as they come back from Drive, once it has been seen that it takes the properties."""
    fields = properties.fields(headers, "name", checks or {})
    for kind in ("properties", "appProperties"):
        assert len(fields[kind]) <= 30
        assert all(len(name.encode()) + len(value.encode()) <= 124 and name and value for name, value in fields[kind].items())
    return properties.headers(fields | more)


@given(metadata, st.one_of(st.none(), texts), st.one_of(st.none(), texts))
def test_everything_comes_back(some: dict[str, str], cache_control: str | None, language: str | None) -> None:
    # Given any metadata, and headers
    some = {name: value for name, value in some.items() if name != properties.DESCRIPTION}
    headers = Headers("text/plain", cache_control, None, "gzip", language, metadata=some | ORIGIN)

    # Then not a character of them is lost
    found, _ = kept(headers)
    assert found == Headers("text/plain", cache_control, None, "gzip", language, metadata=found.metadata)
    assert dict(found.metadata) == some | ORIGIN


def test_what_people_look_for_is_plain() -> None:
    # Given metadata as most have it
    headers = Headers("image/jpeg", metadata={"camera": "X100", "description": "A fire in 1908", **ORIGIN})

    # Then it can be read and searched on Drive
    fields = properties.fields(headers, "name")
    assert fields["mimeType"] == "image/jpeg"
    assert fields["description"] == "A fire in 1908"
    assert fields["properties"] == {"camera": "X100"}
    assert fields["appProperties"] == ORIGIN
    assert kept(headers)[0].metadata["description"] == "A fire in 1908"


@pytest.mark.parametrize("count", [1, 31, 40])
def test_what_is_too_much_for_properties_is_bundled(count: int) -> None:
    # Given as much metadata as S3 and GCS take: many, or long
    many = {f"name-{number}": "v" * (8000 // count) for number in range(count)}

    # Then it comes back whole
    found, _ = kept(Headers(metadata=many | ORIGIN))
    assert dict(found.metadata) == many | ORIGIN


def test_what_does_not_fit_at_all_is_an_error_and_no_loss() -> None:
    # Given 8 KB of noise
    dice = random.Random(1)
    noise = {f"n{number}": "".join(dice.choices(string.ascii_letters, k=190)) for number in range(40)}

    # Then it is said what it is that does not fit
    with pytest.raises(Refused, match=r"gdrive://x/y.*40 metadata entries of 7\d{3} bytes"):
        properties.fields(Headers(metadata=noise), "gdrive://x/y")


def test_what_would_not_fit_is_known_beforehand() -> None:
    # Given a little that fits, and the same with noise
    little = Headers("text/plain", metadata={"camera": "X100", **ORIGIN})
    dice = random.Random(1)
    noise = {f"n{number}": "".join(dice.choices(string.ascii_letters, k=190)) for number in range(40)}
    much = replace(little, metadata={**little.metadata, **noise})

    # Then the one is kept as it is, and of the other as much as fits, with our own in any case
    assert LIMITS.kept(little) is little
    left = LIMITS.kept(much)
    assert {"camera": "X100", **ORIGIN}.items() <= left.metadata.items() <= much.metadata.items()
    assert 20 < len(left.metadata) < 44
    found, _ = kept(left, properties.checks("0" * 32, 1), md5Checksum="0" * 32)
    assert found.metadata == left.metadata


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Text/HTML; charset=utf-8", "text/html"),
        ("application/vnd.google-apps.folder", "application/octet-stream"),
        ("application/vnd.google-apps.document; x=y", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("a/b\r\nX-Evil: 1", "application/octet-stream"),
    ],
)
def test_a_type_never_makes_drive_do_something(said: str, told: str) -> None:
    # Given types with parameters, or of Google's own, which mean "make a folder" and "convert this"
    # Then Drive is told a plain one, and the source's own is kept
    assert properties.fields(Headers(said), "name")["mimeType"] == told
    assert kept(Headers(said))[0].content_type == said


def test_a_type_that_was_changed_on_drive_counts() -> None:
    fields = properties.fields(Headers("text/html; charset=utf-8"), "name")
    assert properties.headers(fields | {"mimeType": "text/plain"})[0].content_type == "text/plain"


def test_bytes_that_are_not_those_that_were_sent_have_no_origin() -> None:
    # Given a file that was written with the MD5 of what was sent
    checks = properties.checks("0" * 32, 0xCAFE)

    # When Drive's own is the same, then its origin and its CRC32C are told
    found, crc32c = kept(Headers(metadata=ORIGIN), checks, md5Checksum="0" * 32)
    assert (dict(found.metadata), crc32c) == (ORIGIN, 0xCAFE)

    # And when it is another, because it was damaged or somebody has changed it, then not
    found, crc32c = kept(Headers(metadata=ORIGIN), checks, md5Checksum="1" * 32)
    assert (dict(found.metadata), crc32c) == ({}, None)


def test_an_update_takes_away_what_is_no_longer_said() -> None:
    # Given a file with properties, and new headers with fewer
    old = properties.fields(Headers("text/plain", "no-cache", metadata={"a": "1", "b": "2", **ORIGIN}), "name")
    new = properties.fields(Headers("text/plain", metadata={"b": "3"}), "name")

    # Then those that are gone are named, as Drive wants it, and the day of its making stays
    fields = properties.replacing(new, old)
    assert fields["properties"] == {"a": None, "b": "3"}
    assert fields["appProperties"] == dict.fromkeys(["brigade-cache-control", *ORIGIN])
    assert "createdTime" in old
    assert "createdTime" not in properties.replacing(old, old)


@pytest.mark.parametrize(
    ("some", "modified", "created"),
    [
        ({SOURCE_MODIFIED: "2020-01-02T03:04:05.678901+02:00"}, "2020-01-02T01:04:05.678Z", "2020-01-02T01:04:05.678Z"),
        (
            {SOURCE_MODIFIED: "2020-01-02T03:04:05+00:00", "mtime": "1000000000.5"},
            "2001-09-09T01:46:40.500Z",
            "2001-09-09T01:46:40.500Z",
        ),
        ({"goog-reserved-file-mtime": "1000000000", "btime": "0"}, "2001-09-09T01:46:40.000Z", "1970-01-01T00:00:00.000Z"),
        (
            {"mtime": "yesterday", SOURCE_MODIFIED: "2020-01-02T03:04:05+00:00"},
            "2020-01-02T03:04:05.000Z",
            "2020-01-02T03:04:05.000Z",
        ),
        ({"mtime": "1e99"}, None, None),
        ({}, None, None),
    ],
)
def test_dates_are_those_of_the_original(some: dict[str, str], modified: str | None, created: str | None) -> None:
    fields = properties.fields(Headers(metadata=some), "name")
    assert (fields.get("modifiedTime"), fields.get("createdTime")) == (modified, created)


@pytest.mark.parametrize("piece", ["!", "AAAA", "eNqrVkrLz1eyUkpKLFKqBQAd2gRN"])
def test_a_damaged_bundle_hides_nothing_else(piece: str) -> None:
    # Given a file whose bundle somebody has written into
    found, _ = properties.headers(
        {"mimeType": "a/b", "properties": {"camera": "X100"}, "appProperties": {"brigade-more-00": piece}}
    )

    # Then what is plain is told all the same
    assert found.metadata["camera"] == "X100"
    assert found.content_type == "a/b"
