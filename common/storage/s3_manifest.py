"""The manifest of an S3 inventory: which files there are, and what stands in their columns."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from common.errors import Refused
from common.storage.base import TIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.storage.s3_listing import Row

_NEEDED = ("Key", "Size", "LastModifiedDate", "ETag")
LARGEST_FILE = 5 * TIB
_SIZE = re.compile(r"[0-9]{1,19}").fullmatch
_WIDTH = 5
"""Of a row."""
_CHANGE = "change the inventory's configuration (S3 console: Management, Inventory configurations)"


@dataclass(frozen=True, slots=True)
class File:
    key: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`name` is for people. `columns` are those of every file, in order."""

    name: str
    files: tuple[File, ...]
    columns: tuple[str, ...]

    @classmethod
    def read(cls, body: bytes, name: str, bucket: str) -> Manifest:
        """The manifest of an inventory of `bucket`. Raises Refused for one that cannot be used."""
        try:
            said: dict[str, Any] = json.loads(body)
            of, kind, schema = str(said["sourceBucket"]), str(said["fileFormat"]), str(said["fileSchema"])
            files = tuple(File(str(file["key"]), int(file["size"]), str(file.get("MD5checksum") or "")) for file in said["files"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise Refused(f"{name} is not the manifest of an inventory: {repr(error)[:200]}") from error
        if any(not 0 <= file.size <= LARGEST_FILE for file in files):
            raise Refused(
                f"{name} is not the manifest of an inventory: a file of more than {LARGEST_FILE} bytes, or of less than none"
            )
        if of != bucket:
            raise Refused(f"{name} is an inventory of the bucket {of[:80]!r}, the route's source is {bucket!r}")
        if kind.upper() != "CSV":
            raise Refused(f"{name} lists files in the format {kind[:20]}, which is not read here: {_CHANGE} to the format CSV")
        columns = tuple(column.strip() for column in schema.split(","))
        if lacking := [column for column in _NEEDED if column not in columns]:
            raise Refused(f"{name} has no column {', '.join(lacking)}: {_CHANGE} to include size, last modified date and ETag")
        if "VersionId" in columns and not {"IsLatest", "IsDeleteMarker"} <= set(columns):
            raise Refused(f"{name} lists all versions and does not say which is the latest: {_CHANGE} to current versions only")
        return cls(name, files, columns)

    def rows(self, lines: Sequence[Sequence[str]], where: str) -> tuple[list[Row], list[Row]]:
        """What a listing says of the objects on these lines: of several versions only the latest, and no delete markers; apart
        from these, those without what an object needs.

        The workers pin what they read by its ETag and not by its version id: of an object that has changed since the inventory
        was made they bring what is there now.
        """
        columns, width = self.columns, len(self.columns)
        if any(len(line) != width for line in lines):
            odd = next(line for line in lines if len(line) != width)
            raise Refused(f"{where} has a line of {len(odd)} fields, the manifest names {width}")
        for column, wanted in (("IsLatest", "true"), ("IsDeleteMarker", "false")):
            if column in columns:
                place = columns.index(column)
                lines = [line for line in lines if line[place].lower() == wanted]
        key, modified, tag, size = (columns.index(name) for name in ("Key", "LastModifiedDate", "ETag", "Size"))
        places = [key, modified, tag, size]
        if "StorageClass" in columns:
            places.append(columns.index("StorageClass"))
        sound = [line for line in lines if line[tag] and _SIZE(line[size])]
        flawed = [line for line in lines if not (line[tag] and _SIZE(line[size]))] if len(sound) < len(lines) else []
        return _taken(sound, places), _taken(flawed, places)


def _taken(lines: Sequence[Sequence[str]], places: Sequence[int]) -> list[Row]:
    rows = map(itemgetter(*places), lines)
    return list(rows) if len(places) == _WIDTH else [(*row, "") for row in rows]
