"""Documents that Google keeps in no file format: left out, or exported to a format that others can read.

An export has no bytes before it is made, and other bytes each time: its size is not known beforehand (`UNSIZED`), and what tells
one version from the next is Drive's `version` of the document. Google exports at most 10 MB
(https://developers.google.com/workspace/drive/api/guides/manage-downloads).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.config import StoreOptions

LARGEST_EXPORT = 10 * 1024 * 1024
"""Bytes. "10 MB", read generously: what is larger is Google's to refuse."""

_GOOGLE = "application/vnd.google-apps."
_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN = "application/vnd.oasis.opendocument."
FORMATS = {
    "docx": _OFFICE + "wordprocessingml.document",
    "xlsx": _OFFICE + "spreadsheetml.sheet",
    "pptx": _OFFICE + "presentationml.presentation",
    "odt": _OPEN + "text",
    "ods": _OPEN + "spreadsheet",
    "odp": _OPEN + "presentation",
    "rtf": "application/rtf",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "html": "text/html",
    "epub": "application/epub+zip",
    "md": "text/markdown",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
    "json": _GOOGLE + "script+json",
}
"""Extension -> the type that Drive is asked for (https://developers.google.com/workspace/drive/api/guides/ref-export-formats)."""


@dataclass(frozen=True, slots=True)
class Natives:
    """`formats`: type of the document -> extension. What is not in it is left out: forms, sites, maps have no format at all."""

    formats: dict[str, str]

    @classmethod
    def of(cls, options: StoreOptions) -> Natives:
        if options.natives == "skip":
            return cls({})
        return cls(
            {
                _GOOGLE + "document": options.export_documents,
                _GOOGLE + "spreadsheet": options.export_spreadsheets,
                _GOOGLE + "presentation": options.export_presentations,
                _GOOGLE + "drawing": options.export_drawings,
                _GOOGLE + "script": "json",
            }
        )

    def export(self, kind: str) -> str | None:
        """The type that documents of this kind are exported to; None for those that are left out."""
        extension = self.formats.get(kind)
        return FORMATS[extension] if extension else None

    def listed_as(self, name: str, kind: str) -> str:
        """A document's name has no extension, a file's has."""
        extension = self.formats.get(kind)
        return f"{name}.{extension}" if extension else name

    def listed_from(self, name: str) -> list[str]:
        """Every name on Drive that may be listed under this one: its own, and that of a document without the extension."""
        return [name, *{name.removesuffix(f".{each}") for each in self.formats.values() if name.endswith(f".{each}")}]
