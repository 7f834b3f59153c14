"""Preconditions: https://cloud.google.com/storage/docs/request-preconditions.

On a write a failed one answers 412. On a read the Not-forms answer 304, as a cache expects it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fakes.gcs.errors import invalid, not_modified, precondition_failed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes.gcs.store import Blob


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of the query; None when it is not there."""
    text = query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal():
        raise invalid(f"Invalid value for {name}: {text!r} is not a whole number.")
    return int(text)


@dataclass(frozen=True, slots=True)
class Preconditions:
    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    @classmethod
    def of(cls, query: Mapping[str, str], prefix: str = "if") -> Preconditions:
        """`prefix` is `ifSource` for the source of a copy."""
        return cls(
            number(query, f"{prefix}GenerationMatch"),
            number(query, f"{prefix}GenerationNotMatch"),
            number(query, f"{prefix}MetagenerationMatch"),
            number(query, f"{prefix}MetagenerationNotMatch"),
        )

    def check_write(self, blob: Blob | None) -> None:
        """No object counts as generation 0 and has no metageneration."""
        if not (self._positive(blob) and self._negative(blob)):
            raise precondition_failed()

    def check_read(self, blob: Blob) -> None:
        if not self._positive(blob):
            raise precondition_failed()
        if not self._negative(blob):
            raise not_modified()

    def _positive(self, blob: Blob | None) -> bool:
        generation, metageneration = (blob.generation, blob.metageneration) if blob else (0, None)
        return self.generation in {None, generation} and self.metageneration in {None, metageneration}

    def _negative(self, blob: Blob | None) -> bool:
        if self.not_generation is not None and self.not_generation == (blob.generation if blob else 0):
            return False
        return blob is None or self.not_metageneration is None or self.not_metageneration != blob.metageneration
