"""What each backend keeps beside the bytes of an object: one table, from which docs/metadata.md is made and by which the settings
are checked.

What an object has and its destination cannot hold is lost. That is found out before anything is written (`Limits.kept`),
counted, and an error where the route says `metadata = "strict"` (worker/carry.py).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from common.storage.names import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Field(StrEnum):
    """What an object may have beside its bytes; one word for each, in code, logs and documentation."""

    CONTENT_TYPE = "content-type"
    CACHE_CONTROL = "cache-control"
    CONTENT_DISPOSITION = "content-disposition"
    CONTENT_ENCODING = "content-encoding"
    CONTENT_LANGUAGE = "content-language"
    METADATA = "metadata"
    STORAGE_CLASS = "storage-class"
    MODIFIED = "mtime"
    MODE = "mode"
    TAGS = "tags"


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
}
"""Those that are fields of `common.objects.Headers`."""

_HTTP = dict.fromkeys(HEADERS.values(), How.ITSELF)
_NOTED = dict.fromkeys(HEADERS.values(), How.BESIDE)
_DATED = {Field.MODIFIED: How.BESIDE, Field.MODE: How.BESIDE}
_UNCLASSED = {Field.STORAGE_CLASS: How.NOT, Field.TAGS: How.NOT}
KEEPS: Mapping[str, Mapping[Field, How]] = {
    "s3": {
        **_HTTP,
        Field.METADATA: How.ITSELF,
        Field.STORAGE_CLASS: How.MAPPED,
        **_DATED,
        Field.TAGS: How.SET,
    },
    "gs": {
        **_HTTP,
        Field.METADATA: How.ITSELF,
        Field.STORAGE_CLASS: How.MAPPED,
        **_DATED,
        Field.TAGS: How.NOT,
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
