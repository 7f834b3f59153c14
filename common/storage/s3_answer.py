"""What S3 says in the body of an answer, apart from listings: XML, read as XML.

`<ETag>&#34;…&#34;</ETag>` and `<ETag>"…"</ETag>` are the same text to everybody but a regular expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Said:
    """`root` is the document's name, "" for what is no XML; `fields` has the first text under each name, without namespaces."""

    root: str
    fields: Mapping[str, str]

    @property
    def is_error(self) -> bool:
        """Also in a 200: a service that assembles an object answers before it knows the outcome
        (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html).
        """
        return self.root == "Error" or "Code" in self.fields


def said(body: bytes) -> Said:
    """Never raises. Blanks in front are the signs of life of a service that is still at work."""
    try:
        root = ET.fromstring(body.strip())  # noqa: S314 - expat refuses entity bombs, and a body is bounded by its request
    except (ET.ParseError, ValueError):
        return Said("", MappingProxyType({}))
    fields: dict[str, str] = {}
    for element in root.iter():
        fields.setdefault(local_name(element), (element.text or "").strip())
    return Said(local_name(root), fields)


def local_name(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]
