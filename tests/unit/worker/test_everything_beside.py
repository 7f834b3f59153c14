"""Whatever an object has beside its bytes is carried, is ours, or is counted: from each kind of source to each destination."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import Google, Settings, StoreOptions
from common.errors import MetadataLost
from common.location import Location
from common.objects import Headers, StoredObject, Version
from common.storage import file_note, gcs, memory, s3, s3_headers
from common.storage.gcs_client import GcsClient, resource_fields
from common.storage.gcs_parts import as_headers
from common.storage.gdrive import properties
from common.storage.gdrive.limits import LIMITS as DRIVE
from common.storage.header_text import decoded, disposition, encoding
from common.storage.metadata import HEADERS, KEEPS, Field, How
from common.storage.names import PREFIX
from common.storage.source_time import GSUTIL_MTIME, MTIME
from common.task import Task
from worker.carry import LENIENT, Lost, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from common.storage.base import Limits

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TASK = Task("r", "key", Version("v1"), 5, NOW, "dest", "job", 0, NOW)
CLIENT = GcsClient(Location.parse("gs://b"), StoreOptions(endpoint="http://127.0.0.1:9"), Settings(google=Google()), Any)  # type: ignore[arg-type]

DESTINATIONS: dict[str, Limits] = {
    "s3": s3.LIMITS,
    "gs": gcs.LIMITS,
    "gdrive": DRIVE,
    "file": replace(memory.LIMITS, kept=lambda headers: file_note.kept(headers, 65536)),
}

S3_ANSWER = {
    "content-type": "text/x",
    "cache-control": "max-age=1",
    "content-disposition": "attachment; filename*=UTF-8''%C3%BC",
    "content-encoding": "aws-chunked,gzip",
    "content-language": "de",
    "expires": "Wed, 21 Oct 2026 07:28:00 GMT",
    "x-amz-website-redirect-location": "/elsewhere",
    "x-amz-meta-owner": "=?unknown-8bit?B?Y2Fm6Q==?=",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-tagging-count": "2",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:key",
    "x-amz-object-lock-mode": "GOVERNANCE",
    "x-amz-object-lock-retain-until-date": "2030-01-01T00:00:00Z",
    "x-amz-object-lock-legal-hold": "ON",
    "x-amz-missing-meta": "1",
    "x-amz-of-next-year": "new",
    "x-goog-custom-time": "2026-01-01T00:00:00Z",
    # Of the answer, of the bucket, or of nothing
    "etag": '"e"',
    "date": "today",
    "server": "AmazonS3",
    "connection": "close",
    "content-length": "5",
    "accept-ranges": "bytes",
    "last-modified": "Wed, 21 Oct 2026 07:28:00 GMT",
    "x-amz-request-id": "1",
    "x-amz-id-2": "2",
    "x-amz-version-id": "3",
    "x-amz-expiration": 'expiry-date="x"',
    "x-amz-replication-status": "COMPLETED",
    "x-amz-checksum-crc32c": "AAAAAA==",
    "x-amz-cf-id": "cdn",
}
GCS_RESOURCE: dict[str, Any] = {
    "name": "key",
    "size": "5",
    "generation": "1",
    "contentType": "text/x",
    "cacheControl": "max-age=1",
    "contentDisposition": 'attachment; filename="ü"',
    "contentEncoding": "aws-chunked, gzip",
    "contentLanguage": "de",
    "customTime": "2026-01-01T00:00:00Z",
    "metadata": {"owner": "Zoë"},
    "storageClass": "NEARLINE",
    "temporaryHold": True,
    "eventBasedHold": False,
    "retention": {"mode": "Locked", "retainUntilTime": "2030-01-01T00:00:00Z"},
    "kmsKeyName": "projects/p/key",
    "contexts": {"custom": {"a": {"value": "b"}}},
}
FULL = Headers(
    "text/x", "max-age=1", 'attachment; filename="ü"', "gzip", "de", {"owner": "Zoë", "brigade-source-mode": "755"},
    "Wed, 21 Oct 2026 07:28:00 GMT", "/elsewhere", "2026-01-01T00:00:00Z",
)  # fmt: skip

SOURCES: dict[str, StoredObject] = {
    "s3": s3_headers.stored("key", 5, S3_ANSWER),
    "gs": CLIENT.stored(GCS_RESOURCE),
    "gdrive": StoredObject("key", 5, Version("v1"), headers=FULL),
    "file": StoredObject("key", 5, Version("v1"), headers=FULL),
}
_S3_ALWAYS = {
    "storage-class", "tags", "encryption x-amz-server-side-encryption", "protection x-amz-object-lock-mode",
    "protection x-amz-object-lock-retain-until-date", "protection x-amz-object-lock-legal-hold", "metadata x-amz-missing-meta",
    "other x-amz-of-next-year", "other x-goog-custom-time",
}  # fmt: skip
_GCS_ALWAYS = {"storage-class", "protection temporaryHold", "protection retention", "encryption kmsKeyName", "other contexts"}
LOST: dict[tuple[str, str], set[str]] = {
    ("s3", "s3"): _S3_ALWAYS,
    ("s3", "gs"): {*_S3_ALWAYS, "expires", "website-redirect"},
    ("s3", "gdrive"): _S3_ALWAYS,
    ("s3", "file"): _S3_ALWAYS,
    ("gs", "s3"): {*_GCS_ALWAYS, "custom-time"},
    ("gs", "gs"): _GCS_ALWAYS,
    ("gs", "gdrive"): _GCS_ALWAYS,
    ("gs", "file"): _GCS_ALWAYS,
    ("gdrive", "s3"): {"custom-time"},
    ("gdrive", "gs"): {"expires", "website-redirect"},
    ("gdrive", "gdrive"): set(),
    ("gdrive", "file"): set(),
    ("file", "s3"): {"custom-time"},
    ("file", "gs"): {"expires", "website-redirect"},
    ("file", "gdrive"): set(),
    ("file", "file"): set(),
}


@pytest.mark.parametrize(("source", "destination"), LOST)
def test_what_is_lost_between_each_two(source: str, destination: str) -> None:
    # Given an object with everything that its store knows of
    found = SOURCES[source]
    # When it is carried
    carried = LENIENT.carry(found, TASK, DESTINATIONS[destination])
    # Then that is lost, and no more
    shown = {_shown(each) for each in carried.lost}
    assert shown == LOST[source, destination]
    # And a strict route says so before anything is written
    if carried.lost:
        with pytest.raises(MetadataLost) as refused:
            Rules(strict=True).carry(found, TASK, DESTINATIONS[destination])
        assert all(each.field.value in str(refused.value) for each in carried.lost)


def _shown(lost: Lost) -> str:
    field = lost.field.value
    return field if field in {*HEADERS.values(), "storage-class", "tags"} else f"{field} {lost.name.partition(':')[0]}"


def test_encryption_that_the_route_sets_is_not_lost() -> None:
    found = replace(SOURCES["s3"], uncarried={"x-amz-server-side-encryption": "aws:kms"}, storage_class=None, tags=0)
    assert Rules(strict=True, encryption_is_set=True).carry(found, TASK, s3.LIMITS).lost == ()


def test_what_has_a_place_is_in_the_table() -> None:
    # Given the table of the documentation
    # When headers with everything are kept, then they have what it says
    for scheme, limits in DESTINATIONS.items():
        kept = limits.kept(FULL)
        there = {field for name, field in HEADERS.items() if getattr(kept, name) is not None}
        assert there == {field for field in HEADERS.values() if KEEPS[scheme][field] is not How.NOT}


def _through_s3(headers: Headers) -> Headers:
    return s3_headers.from_wire(dict(s3_headers.to_wire(headers)))


def _through_gcs(headers: Headers) -> Headers:
    resource = resource_fields(headers) | {"name": "key", "size": "1", "generation": "1"}
    return CLIENT.stored(json.loads(json.dumps(resource).encode())).headers


def _through_gcs_in_parts(headers: Headers) -> Headers:
    wire = as_headers(resource_fields(headers))
    if wire is None:  # a PATCH brings it
        return _through_gcs(headers)
    names = {
        "Content-Type": "contentType", "Cache-Control": "cacheControl", "Content-Disposition": "contentDisposition",
        "Content-Encoding": "contentEncoding", "Content-Language": "contentLanguage", "x-goog-custom-time": "customTime",
    }  # fmt: skip
    metadata = {name.removeprefix("x-goog-meta-"): value for name, value in wire if name.startswith("x-goog-meta-")}
    resource = {names[name]: value for name, value in wire if name in names}
    return CLIENT.stored(resource | {"metadata": metadata, "name": "key", "size": "1", "generation": "1"}).headers


def _through_drive(headers: Headers) -> Headers:
    return properties.headers({**properties.fields(headers, "key"), "md5Checksum": "x"})[0]


THROUGH: dict[str, Callable[[Headers], Headers]] = {
    "s3": _through_s3,
    "gs": _through_gcs,
    "gs in parts": _through_gcs_in_parts,
    "gdrive": _through_drive,
}
SAID = (
    st.none()
    | st.text(min_size=1, max_size=12)
    | st.sampled_from(["text/plain", "gzip", "aws-chunked", "a\r\nb: c", "\ud800", "é"])
)
ENTRIES = st.dictionaries(
    st.text(min_size=1, max_size=8) | st.sampled_from(["owner", "Owner", "a b", "mtime", "\ud800"]),
    st.text(max_size=20) | st.sampled_from(["=?x?B?y?=", "=?utf-8?B?6Q==?=", " a ", "\udc80", "x" * 3000, "\r\n"]),
    max_size=6,
)


@pytest.mark.parametrize("destination", THROUGH)
@given(
    fields=st.fixed_dictionaries(dict.fromkeys(HEADERS, SAID)),
    metadata=ENTRIES,
    besides=st.dictionaries(SAID.map(str), st.just("x")),
)
@settings(max_examples=80, derandomize=True, deadline=None)
def test_everything_is_carried_or_ours_or_counted(
    destination: str, fields: Mapping[str, str | None], metadata: Mapping[str, str], besides: Mapping[str, str]
) -> None:
    # Given any headers and metadata, and any names of things that nobody knows
    headers = Headers(**fields, metadata=metadata)
    found = StoredObject("key", 5, Version("v1"), headers=headers, uncarried=besides)
    # When they are carried, and read where they were written
    carried = LENIENT.carry(found, TASK, DESTINATIONS[destination.partition(" ")[0]])
    there = THROUGH[destination](carried.headers)
    # Then nothing is counted twice, and what is not counted is there
    counted = [(each.field, each.name) for each in carried.lost]
    fields_lost = {field for field, _ in counted}
    for name, field in HEADERS.items():
        value, arrived = getattr(headers, name), getattr(there, name)
        if value is not None and field not in fields_lost:
            assert arrived == _as_written(destination, name, value)
    gone = {name for field, name in counted if field is Field.METADATA}
    fold = str.lower if destination == "s3" else str
    kept = {fold(name): value for name, value in metadata.items() if name not in gone and not name.startswith(PREFIX)}
    arrived_entries = {fold(name): value for name, value in there.metadata.items()}
    for name, value in kept.items():
        assert arrived_entries[name] == value
    ours = {name for name in arrived_entries if name.startswith(PREFIX)} | {MTIME, GSUTIL_MTIME}
    assert arrived_entries.keys() - ours <= kept.keys()
    assert [f"{name}: x" for name in besides] == [name for field, name in counted if name.endswith(": x")]


def _as_written(destination: str, name: str, value: str) -> str | None:
    """A header is what stands between the spaces around it; and framing is none."""
    if destination == "s3":
        value = value.strip()
        if name == "content_disposition":
            return disposition(value) or None
        if name == "content_encoding":
            return (encoding(value) if value else None) or None
        return decoded(value) or None
    if destination.startswith("gs") and name == "content_encoding":
        return encoding(value)
    return value
