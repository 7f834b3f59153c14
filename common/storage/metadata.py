"""What each backend keeps beside the bytes of an object: one table, from which docs/metadata.md is made and by which the settings
are checked.

What an object has and its destination cannot hold is lost. That is found out before anything is written (`Limits.kept`),
counted, and an error where the route says `metadata = "strict"` (worker/carry.py).
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from common.storage.header_text import is_unicode
from common.storage.names import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from common.objects import Headers


class Field(StrEnum):
    """What an object may have beside its bytes; one word for each, in code, logs and documentation."""

    CONTENT_TYPE = "content-type"
    CACHE_CONTROL = "cache-control"
    CONTENT_DISPOSITION = "content-disposition"
    CONTENT_ENCODING = "content-encoding"
    CONTENT_LANGUAGE = "content-language"
    EXPIRES = "expires"
    WEBSITE_REDIRECT = "website-redirect"
    CUSTOM_TIME = "custom-time"
    METADATA = "metadata"
    STORAGE_CLASS = "storage-class"
    MODIFIED = "mtime"
    MODE = "mode"
    TAGS = "tags"
    ENCRYPTION = "encryption"
    PROTECTION = "protection"
    OTHER = "other"


class How(StrEnum):
    """How a backend keeps it."""

    ITSELF = "itself"
    """Where every other program looks for it."""
    BESIDE = "beside"
    """In a place of ours, from where we bring it back."""
    MAPPED = "mapped"
    """As the route's settings translate it; what they do not name is lost."""
    SET = "set"
    """As the route's settings say for all its objects; the object's own is lost."""
    NOT = "not"
    """There is no such thing."""


HEADERS = {
    "content_type": Field.CONTENT_TYPE,
    "cache_control": Field.CACHE_CONTROL,
    "content_disposition": Field.CONTENT_DISPOSITION,
    "content_encoding": Field.CONTENT_ENCODING,
    "content_language": Field.CONTENT_LANGUAGE,
    "expires": Field.EXPIRES,
    "website_redirect": Field.WEBSITE_REDIRECT,
    "custom_time": Field.CUSTOM_TIME,
}
"""Those that are fields of `common.objects.Headers`."""

_HTTP = dict.fromkeys(HEADERS.values(), How.ITSELF)
_NOTED = dict.fromkeys(HEADERS.values(), How.BESIDE)
_DATED = {Field.MODIFIED: How.BESIDE, Field.MODE: How.BESIDE}
_NEVER = {Field.ENCRYPTION: How.NOT, Field.PROTECTION: How.NOT, Field.OTHER: How.NOT}
_UNCLASSED = {Field.STORAGE_CLASS: How.NOT, Field.TAGS: How.NOT, **_NEVER}
KEEPS: Mapping[str, Mapping[Field, How]] = {
    "s3": {
        **_HTTP,
        Field.CUSTOM_TIME: How.NOT,
        Field.METADATA: How.ITSELF,
        Field.STORAGE_CLASS: How.MAPPED,
        **_DATED,
        Field.TAGS: How.SET,
        **_NEVER,
        Field.ENCRYPTION: How.SET,
    },
    "gs": {
        **_HTTP,
        Field.EXPIRES: How.NOT,
        Field.WEBSITE_REDIRECT: How.NOT,
        Field.METADATA: How.ITSELF,
        Field.STORAGE_CLASS: How.MAPPED,
        **_DATED,
        Field.TAGS: How.NOT,
        **_NEVER,
    },
    "gdrive": {
        **_NOTED,
        Field.CONTENT_TYPE: How.ITSELF,
        Field.METADATA: How.ITSELF,
        Field.MODIFIED: How.ITSELF,
        Field.MODE: How.BESIDE,
        **_UNCLASSED,
    },
    "file": {**_NOTED, Field.METADATA: How.BESIDE, Field.MODIFIED: How.ITSELF, Field.MODE: How.ITSELF, **_UNCLASSED},
    "memory": {**_HTTP, Field.METADATA: How.ITSELF, **_DATED, **_UNCLASSED},
}
"""By the scheme of the destination."""

_UNCARRIED = {
    "x-amz-server-side-encryption": Field.ENCRYPTION,
    "x-amz-server-side-encryption-customer-algorithm": Field.ENCRYPTION,
    "kmsKeyName": Field.ENCRYPTION,
    "customerEncryption": Field.ENCRYPTION,
    "x-amz-object-lock-mode": Field.PROTECTION,
    "x-amz-object-lock-retain-until-date": Field.PROTECTION,
    "x-amz-object-lock-legal-hold": Field.PROTECTION,
    "temporaryHold": Field.PROTECTION,
    "eventBasedHold": Field.PROTECTION,
    "retention": Field.PROTECTION,
    "x-amz-missing-meta": Field.METADATA,
}
_PLACELESS = {
    scheme: frozenset(name for name, field in HEADERS.items() if fields[field] is How.NOT) for scheme, fields in KEEPS.items()
}

MOST_METADATA: Mapping[str, int] = {"s3": 2048, "gs": 8192}
"""Bytes of the names and values of user metadata together, ours (some 150) among them. Drive's limit is of its properties
(gdrive/properties.py), a file's of its filesystem (file_note.py).
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html, https://cloud.google.com/storage/quotas#objects"""

CLASSES: Mapping[str, frozenset[str]] = {
    "s3": frozenset(
        {
            "STANDARD",
            "REDUCED_REDUNDANCY",
            "STANDARD_IA",
            "ONEZONE_IA",
            "INTELLIGENT_TIERING",
            "GLACIER",
            "DEEP_ARCHIVE",
            "GLACIER_IR",
            "EXPRESS_ONEZONE",
            "OUTPOSTS",
            "SNOW",
            "FSX_OPENZFS",
        }
    ),
    "gs": frozenset(
        {"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE", "MULTI_REGIONAL", "REGIONAL", "DURABLE_REDUCED_AVAILABILITY"}
    ),
}
"""Where an object can be told its class. https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html,
https://cloud.google.com/storage/docs/storage-classes"""

USUAL_CLASSES = frozenset({"STANDARD", "MULTI_REGIONAL", "REGIONAL", "DURABLE_REDUCED_AVAILABILITY"})
"""An object of such a class has none to lose: it is the one that objects have when nobody says anything."""


def field_of(name: str) -> Field:
    """Of what is said of an object under a service's own name, and not carried (`StoredObject.uncarried`)."""
    return _UNCARRIED.get(name, Field.OTHER)


def placed(headers: Headers, scheme: str, fits: Callable[[str, str], bool]) -> Headers:
    """The same headers, or what is left of them: without those that have no place there or whose value (by the name of the field)
    does not fit, and without metadata that is no Unicode text.
    """
    placeless = _PLACELESS[scheme]
    gone = {
        name: None
        for name in HEADERS
        if (value := getattr(headers, name)) is not None and (name in placeless or not fits(name, value))
    }
    metadata = headers.metadata
    if not is_unicode("".join((*metadata, *metadata.values()))):
        metadata = {name: value for name, value in metadata.items() if is_unicode(name) and is_unicode(value)}
    if not gone and metadata is headers.metadata:
        return headers
    return replace(headers, **gone, metadata=metadata)


def fitting(metadata: Mapping[str, str], fits: Callable[[Mapping[str, str]], bool]) -> Mapping[str, str]:
    """The metadata as they are if they fit, else without as many of the largest entries as have to go. Ours stay: they are the
    proof of what was copied.
    """
    if fits(metadata):
        return metadata
    left = dict(metadata)
    for name in sorted(metadata, key=lambda each: (len(each) + len(metadata[each]), each), reverse=True):
        if not name.startswith(PREFIX):
            del left[name]
            if fits(left):
                break
    return left
