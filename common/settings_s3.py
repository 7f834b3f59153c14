"""What the S3 settings of a route say together: which end they are for, and what S3 would refuse for every single object.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from common.config import Route, StoreOptions
    from common.settings_sources import Gathered

MOST_TAGS = 10
LONGEST_TAG = 128
LONGEST_TAG_VALUE = 256
_EITHER_END = ("compat", "requester_pays")
_DESTINATION = ("storage_class", "encryption", "kms_key_id", "tags")


def check(gathered: Gathered, routes: Sequence[Route]) -> Iterator[str]:
    for route in routes:
        for fault in _faults(route):
            yield f"{gathered.file}: route {route.name!r}: {fault}"


def _faults(route: Route) -> Iterator[str]:
    for end, location, options in (
        ("source", route.source, route.source_options),
        ("destination", route.destination, route.destination_options),
    ):
        for setting in _said(options, (*_EITHER_END, *_DESTINATION)):
            name = f"{end}_options.{setting}"
            if location.scheme != "s3":
                yield f"{name} is for S3, and the {end} is {location}: take it out"
            elif end == "source" and setting in _DESTINATION:
                yield f"{name} says how objects are stored, which a source does not: write destination_options.{setting}"
    yield from _destination_faults(route.destination_options)


def _said(options: StoreOptions, names: Sequence[str]) -> Iterator[str]:
    """The settings that are not left as they are by default."""
    for name in names:
        if getattr(options, name) not in (None, False, "auto", {}):
            yield name


def _destination_faults(options: StoreOptions) -> Iterator[str]:
    if options.kms_key_id is not None and options.encryption != "aws:kms":
        yield 'destination_options.kms_key_id is the key of aws:kms: set encryption = "aws:kms", or take it out'
    yield from _tag_faults(options.tags)


def _tag_faults(tags: Mapping[str, str]) -> Iterator[str]:
    if len(tags) > MOST_TAGS:
        yield f"destination_options.tags has {len(tags)} tags: S3 keeps {MOST_TAGS}"
    for name, value in tags.items():
        if not 0 < len(name) <= LONGEST_TAG or name.startswith("aws:"):
            yield f"destination_options.tags: {name!r} is no tag's name: 1 to {LONGEST_TAG} characters, not beginning with aws:"
        if len(value) > LONGEST_TAG_VALUE:
            yield f"destination_options.tags: the value of {name!r} has {len(value)} characters: S3 keeps {LONGEST_TAG_VALUE}"
