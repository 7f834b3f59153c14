"""The task: the message that says "bring this version of this object to that destination", and its wire format.

A task points to work and is never a lock: it may be delivered twice, late, or after the object has changed.
Encode and decode live here together. The format is JSON with a `schema` number; a reader knows every schema up to its own
and refuses a newer one instead of guessing at it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

from common.errors import Malformed
from common.message_fields import count, moment, opened
from common.objects import UNSIZED, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from common.objects import StoredObject

SCHEMA = 1
_ROUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""Both become parts of Redis keys, in which ':' and braces have a meaning."""
LARGEST_BYTES = 64 * 1024
"""A task holds two keys of at most 1,024 bytes each and little more; anything larger is not ours."""


@dataclass(frozen=True, slots=True)
class Task:
    route: str
    key: str
    version: Version
    size: int
    modified: datetime | None
    destination: str
    """The destination location and key as a URL, for people who read the message. Workers write where their own settings
    say that the route goes: a message cannot send an object anywhere else."""
    job: str
    number: int
    """Of the task in its job, from 0. For readers of the message, and for workers of revision 7e22b72: nothing is counted by
    it.
    """
    queued: datetime
    """When the publisher made the task."""
    rounds: int = 0
    """How often the source has changed before the object could be moved. Workers of before this ignore it and what follows."""
    not_before: datetime | None = None
    """When the object is to be looked at, so that one that keeps changing is not run after."""
    there: bool = False
    """The destination's listing has something of that key, and no receipt speaks of it: whoever writes looks first, and takes
    nobody's word for what it is."""


def encode(task: Task) -> bytes:
    """The task as compact UTF-8 JSON. Keys may hold any characters; lone surrogates survive as escapes."""
    waits = {} if task.not_before is None else {"not_before": task.not_before.isoformat()}
    return json.dumps(
        {
            "schema": SCHEMA,
            "route": task.route,
            "key": task.key,
            "etag": task.version.token,
            "version_id": task.version.id,
            "size": task.size,
            "modified": None if task.modified is None else task.modified.isoformat(),
            "destination": task.destination,
            "job": task.job,
            "number": task.number,
            "queued": task.queued.isoformat(),
            **({"rounds": task.rounds} if task.rounds else {}),
            **waits,
            **({"there": True} if task.there else {}),
        },
        separators=(",", ":"),
    ).encode("ascii")


@dataclass(frozen=True, slots=True)
class Form:
    """Tasks that have route, job and time in common, encoded at a fifth of what `encode` takes: a publisher makes thousands at a
    time. What comes out is what `encode` makes.
    """

    route: str
    job: str
    queued: datetime

    def filled(
        self, objects: Iterable[StoredObject], first: int, destination: Callable[[str], str], there: Collection[str] = ()
    ) -> list[bytes]:
        """A task for each object, numbered from `first`. `destination` gives the URL for a key; what is `there` is told so."""
        quote = encode_basestring_ascii
        head = f'{{"schema":{SCHEMA},"route":{quote(self.route)},"key":'
        middle = f',"job":{quote(self.job)},"number":'
        queued = f',"queued":{quote(self.queued.isoformat())}'
        tail, tail_there = queued + "}", queued + ',"there":true}'
        return [
            (
                f'{head}{quote(item.key)},"etag":{quote(item.version.token)}'
                f',"version_id":{"null" if item.version.id is None else quote(item.version.id)},"size":{item.size}'
                f',"modified":{"null" if item.modified is None else quote(item.modified.isoformat())}'
                f',"destination":{quote(destination(item.key))}{middle}{number}{tail_there if item.key in there else tail}'
            ).encode("ascii")
            for number, item in enumerate(objects, first)
        ]


def decode(payload: bytes) -> Task:
    """The task that `encode` wrote. Raises Malformed, naming the first thing that is wrong, for anything else.

    Unknown fields of a known schema are ignored, so that a field can be added without a new schema.
    """
    if len(payload) > LARGEST_BYTES:
        raise Malformed(f"a message of {len(payload)} bytes is not a task (at most {LARGEST_BYTES})")
    fields = opened(payload, kind="task", schema=SCHEMA, remedy="upgrade the workers, then redrive")
    modified, not_before = (_text(fields, name, optional=True) for name in ("modified", "not_before"))
    return Task(
        route=_id(fields, "route", _ROUTE),
        key=_text(fields, "key"),
        version=Version(_text(fields, "etag"), _text(fields, "version_id", optional=True) or None),
        size=UNSIZED if fields.get("size") == UNSIZED else count(fields, "size"),
        modified=moment("modified", modified) if modified else None,
        destination=_text(fields, "destination"),
        job=_id(fields, "job", _JOB),
        number=count(fields, "number"),
        queued=moment("queued", _text(fields, "queued")),
        rounds=count(fields, "rounds") if "rounds" in fields else 0,
        not_before=moment("not_before", not_before) if not_before else None,
        there=fields.get("there") is True,
    )


def _id(fields: dict[str, object], name: str, shape: re.Pattern[str]) -> str:
    value = _text(fields, name)
    if not shape.fullmatch(value):
        raise Malformed(f"field {name!r} is no id of ours: {value[:80]!r} (letters, digits, '.', '_', '-')")
    return value


def _text(fields: dict[str, object], name: str, *, optional: bool = False) -> str:
    value = fields.get(name)
    if value is None and optional:
        return ""
    if not isinstance(value, str) or not (value or optional):
        raise Malformed(f"field {name!r} must be a non-empty string")
    return value
