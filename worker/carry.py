"""What an object has beside its bytes, on its way: what goes along, what is lost, and when that is an error."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from common.errors import MetadataLost
from common.storage.metadata import HEADERS, USUAL_CLASSES, Field, field_of
from common.storage.names import PREFIX, SOURCE_MODE
from common.telemetry import get_logger
from worker.provenance import Origin, marked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common.config import Route
    from common.objects import Headers, StoredObject
    from common.storage.base import Limits
    from common.task import Task

log = get_logger(__name__)

OnConflict = Literal["overwrite", "keep", "newer", "fail"]
"""`Route.on_conflict`."""
STANDARD = "STANDARD"
"""The class of which S3 does not speak."""
MOST_NAMED = 10
"""Entries of metadata that an error names; the rest is a number."""
LONGEST_NAME = 100
"""Characters of a name, or of what there was, that are shown."""


def _no_classes() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that the destination cannot keep. `name` is that of an entry of metadata, or what there was of the field."""

    field: Field
    name: str


@dataclass(frozen=True, slots=True)
class Carried:
    """What the destination is given, and what it is not."""

    headers: Headers
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What a route says about it."""

    strict: bool = False
    classes: Mapping[str, str] = field(default_factory=_no_classes)
    class_is_set: bool = False
    """The destination's options name one class for all objects: theirs are not lost, but replaced."""
    encryption_is_set: bool = False
    """The same of how they are encrypted."""
    on_conflict: OnConflict = "overwrite"
    origin: Origin = field(default_factory=Origin)
    """What the copies say of their source."""

    @classmethod
    def of(cls, route: Route) -> Rules:
        return cls(
            strict=route.metadata == "strict",
            classes=route.storage_classes,
            class_is_set=route.destination_options.storage_class is not None,
            encryption_is_set=route.destination_options.encryption is not None,
            on_conflict=route.on_conflict,
            origin=Origin.of(route.source),
        )

    def carry(self, found: StoredObject, task: Task, limits: Limits) -> Carried:
        """What goes along with the bytes of `found`, the object at the source. Raises MetadataLost where nothing may be lost, and
        something would be.
        """
        wanted = marked(found, task, self.origin)
        lost: list[Lost] = []
        if found.storage_class is not None or self.classes:
            wanted = self._classed(wanted, found.storage_class or STANDARD, lost)
        kept = limits.kept(wanted)
        if kept is not wanted:
            lost += _missing(wanted, kept)
        if found.tags:
            lost.append(Lost(Field.TAGS, f"{found.tags}"))
        lost += self._uncarried(found)
        if lost:
            self._tell(task, lost)
        return Carried(kept, tuple(lost))

    def _uncarried(self, found: StoredObject) -> list[Lost]:
        said = [Lost(field_of(name), f"{name}: {value}") for name, value in found.uncarried.items()]
        return [each for each in said if not (each.field is Field.ENCRYPTION and self.encryption_is_set)]

    def _classed(self, wanted: Headers, storage_class: str, lost: list[Lost]) -> Headers:
        mapped = self.classes.get(storage_class)
        if mapped:
            return replace(wanted, storage_class=mapped)
        if mapped is None and storage_class not in USUAL_CLASSES and not self.class_is_set:
            lost.append(Lost(Field.STORAGE_CLASS, storage_class))
        return wanted

    def _tell(self, task: Task, lost: Sequence[Lost]) -> None:
        if self.strict:
            raise MetadataLost(f"{task.destination!r} cannot keep all that {task.key!r} has beside its bytes: {_described(lost)}")
        for each in lost:
            log.debug(
                "something beside the bytes is not carried",
                action="metadata_lost",
                route=task.route,
                key=task.key,
                field=each.field.value,
                name=each.name[:LONGEST_NAME],
            )


def _missing(wanted: Headers, kept: Headers) -> list[Lost]:
    headers = [
        Lost(field, getattr(wanted, name)) for name, field in HEADERS.items() if getattr(wanted, name) != getattr(kept, name)
    ]
    if SOURCE_MODE in wanted.metadata and SOURCE_MODE not in kept.metadata:
        headers.append(Lost(Field.MODE, wanted.metadata[SOURCE_MODE]))
    gone = sorted(name for name in wanted.metadata.keys() - kept.metadata.keys() if not name.startswith(PREFIX))
    return headers + [Lost(Field.METADATA, name) for name in gone]


LENIENT = Rules()
_ADVICE = {
    Field.METADATA: "shorten, rename or remove them at the source",
    Field.STORAGE_CLASS: 'name it in [route.storage_classes], with "" to leave it behind',
    Field.ENCRYPTION: "at S3, destination_options.encryption says how copies are encrypted",
    Field.PROTECTION: "holds and locks are the destination's own: take them off at the source, or set them there by its bucket",
    Field.OTHER: "nobody here knows what it means",
    Field.TAGS: "tags are not read: remove them at the source",
}


def _described(lost: Sequence[Lost]) -> str:
    """By field, and what to do about each."""
    said = []
    for one in dict.fromkeys(each.field for each in lost):
        names = [each.name[:LONGEST_NAME] for each in lost if each.field is one]
        shown = ", ".join(map(repr, names[:MOST_NAMED])) + (f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else "")
        said.append(f"{one.value} {shown} ({_ADVICE.get(one, 'the place cannot hold it')})")
    return "; ".join(said) + '; or give up strictness: metadata = "lenient"'
