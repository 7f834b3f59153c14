"""XML both ways: answers from plain values, requests into elements. What XML 1.0 forbids in a key, S3 sends all the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Value = str | int | bool | None | Mapping[str, "Value"] | Sequence["Value"]

XML = ("Content-Type", "application/xml")
_NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_SPECIAL = re.compile('[&<>"\x00-\x1f\x7f]')
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def document(name: str, fields: Mapping[str, Value], *, namespace: bool = True) -> bytes:
    """None is left out; a list repeats its element."""
    inside = "".join(_element(tag, value) for tag, value in fields.items())
    opening = f"<{name}{_NAMESPACE if namespace else ''}>"
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}{inside}</{name}>'
    return text.encode("utf-8", "surrogateescape")


def _element(tag: str, value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"<{tag}>{str(value).lower()}</{tag}>"
    if isinstance(value, str | int):
        return f"<{tag}>{escape(str(value))}</{tag}>"
    if isinstance(value, list | tuple):
        return "".join(_element(tag, item) for item in value)
    assert hasattr(value, "items")
    return f"<{tag}>{''.join(_element(inner, content) for inner, content in value.items())}</{tag}>"


def escape(text: str) -> str:
    return _SPECIAL.sub(lambda found: _NAMED.get(found[0]) or f"&#x{ord(found[0]):x};", text)


def parse(data: bytes, name: str) -> ET.Element:
    """The root, its namespaces taken off. Raises ValueError for what is no XML, and for another root."""
    try:
        root = ET.fromstring(data)
    except ET.ParseError as error:
        raise ValueError(str(error)) from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != name:
        raise ValueError(f"{root.tag} instead of {name}")
    return root
