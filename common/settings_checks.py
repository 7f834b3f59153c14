"""What one setting alone cannot show: settings that are missing for what is to run, or that contradict each other.

Every function here looks and answers with faults; none contacts anything but the local file system.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from common import trust
from common.errors import Unauthenticated
from common.transport import google_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from common.config import Aws, Google, Location, QueueSettings, RedisSettings, Route, StoreOptions, WorkerSettings
    from common.settings_sources import Gathered

_PUBSUB_NAME = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_OF_DRIVE_SOURCES = {
    "natives",
    "export_documents",
    "export_spreadsheets",
    "export_presentations",
    "export_drawings",
    "shortcuts",
}
_KEY_KINDS = ("service_account", "authorized_user", "external_account", "impersonated_service_account")


def missing(gathered: Gathered, section: str, setting: str) -> str:
    """The setting's name and whether it is missing or empty."""
    name = gathered.name(section, setting)
    emptied = {name, f"{name}_FILE"} & gathered.empty
    return f"{min(emptied)} is empty" if emptied else f"{name} is missing"


def aws(gathered: Gathered, settings: Aws) -> Iterator[str]:
    if settings.access_key_id and not settings.secret_access_key:
        yield f"{missing(gathered, 'aws', 'secret_access_key')} although AWS_ACCESS_KEY_ID is set: set both or neither"
    if settings.secret_access_key and not settings.access_key_id:
        yield f"{missing(gathered, 'aws', 'access_key_id')} although AWS_SECRET_ACCESS_KEY is set: set both or neither"
    if settings.session_token and not (settings.access_key_id or settings.secret_access_key):
        yield "AWS_SESSION_TOKEN belongs to a key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY too, or unset it"


def google(gathered: Gathered, settings: Google) -> Iterator[str]:
    file_name, key_name = gathered.name("google", "credentials_file"), gathered.name("google", "sa_key_b64")
    if settings.credentials_file is not None and settings.sa_key_b64 is not None:
        yield f"{file_name} and {key_name} are both set: keep one of them"
    if settings.credentials_file is not None:
        yield from _credentials_file(file_name, settings.credentials_file)
    if settings.sa_key_b64 is not None:
        yield from _service_account(key_name, settings.sa_key_b64.get_secret_value())
    if settings.drive_token_file is not None:
        yield from _token_file(settings.drive_token_file)
    if settings.drive_token_file is not None and settings.drive_subject is not None:
        token, subject = gathered.name("google", "drive_token_file"), gathered.name("google", "drive_subject")
        yield f"{token} and {subject} are both set: a person who signed in acts for nobody else; keep one of them"


def _credentials_file(name: str, path: Path) -> Iterator[str]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        yield f"{name}: {path} cannot be read ({error.strerror}): name the JSON file with the key of the service account"
    except ValueError:
        yield f"{name}: {path} is not JSON: name the JSON file with the key of the service account"
    else:
        kind = content.get("type") if isinstance(content, dict) else None
        if kind not in _KEY_KINDS:
            yield f"{name}: {path} is not a Google key file (its 'type' must be one of {', '.join(_KEY_KINDS)})"


def _token_file(path: Path) -> Iterator[str]:
    try:
        google_token.read(path, write=False)
    except Unauthenticated as error:
        yield str(error)


def _service_account(name: str, encoded: str) -> Iterator[str]:
    remedy = "write the output of: base64 -w0 service-account.json"
    try:
        content: Any = json.loads(base64.b64decode("".join(encoded.split()), validate=True))
    except binascii.Error:
        yield f"{name} is not base64: {remedy}"
    except ValueError:
        yield f"{name} does not decode to JSON: {remedy}"
    else:
        if not isinstance(content, dict) or content.get("type") != "service_account":
            yield f"{name} is not the key of a service account (its 'type' must be service_account): {remedy}"
        elif lacking := [field for field in ("client_email", "private_key", "token_uri") if not content.get(field)]:
            yield f"{name} lacks {', '.join(lacking)}: {remedy}"


def queue(gathered: Gathered, settings: QueueSettings) -> Iterator[str]:
    if settings.kind == "pubsub":
        if not settings.project:
            name = missing(gathered, "google", "project")
            yield f"{name}: set the project of the Pub/Sub topic, or BRIGADE_QUEUE=redis to use Redis Streams"
        for setting in ("topic", "subscription", "error_topic", "error_subscription"):
            if not _PUBSUB_NAME.fullmatch(getattr(settings, setting)):
                yield (
                    f"{gathered.name('queue', setting)} is not a Pub/Sub name: write the id alone, without projects/…; "
                    "3 to 255 letters, digits and -._~+%, a letter first, not beginning with goog"
                )
    for one, other in (("topic", "error_topic"), ("subscription", "error_subscription")):
        if getattr(settings, one) == getattr(settings, other):
            names = f"{gathered.name('queue', one)} and {gathered.name('queue', other)}"
            yield f"{names} are the same: errors would be taken for tasks; write two names"


def redis(gathered: Gathered, settings: RedisSettings) -> Iterator[str]:
    if not settings.address:
        yield f"{missing(gathered, 'redis', 'address')}: write host:port, redis[s]://host:port/0 or unix:///path"
        return
    if settings.username and settings.place.username not in (None, settings.username):
        name = gathered.name("redis", "username")
        yield f"{name} is another user than the one in {gathered.name('redis', 'address')}: keep one of them"
    if settings.ca_file is not None:
        yield from _authority(gathered.name("redis", "ca_file"), settings.ca_file, settings)


def _authority(name: str, file: Path, settings: RedisSettings) -> Iterator[str]:
    if not settings.place.tls:
        yield f"{name} is for an address with rediss:// and does nothing here: write rediss://, or take it out"
    yield from trust.unusable(name, file)


def worker(gathered: Gathered, settings: WorkerSettings) -> Iterator[str]:
    if settings.buffer_bytes < 2 * settings.part_bytes:
        buffer, part = gathered.name("worker", "buffer_bytes"), gathered.name("worker", "part_bytes")
        yield (
            f"{buffer} ({settings.buffer_bytes}) must be at least twice {part} ({settings.part_bytes}): "
            f"write {2 * settings.part_bytes} or more, or smaller parts"
        )


def routes(gathered: Gathered, known: Sequence[Route], endpoints: Mapping[str, str | None]) -> Iterator[str]:
    """`endpoints` has each scheme's endpoint where the route names none: the same bucket name elsewhere is another bucket."""
    names = [route.name for route in known]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{gathered.file}: route {name!r} is there {names.count(name)} times: give each route a name of its own"
    for route in known:
        if route.source_options.inventory and route.source.scheme != "s3":
            yield f"{gathered.file}: route {route.name!r}: source_options.inventory is for sources on S3: take it out"
        to_gcs = route.destination.scheme == "gs"
        if route.source_options.parallel_uploads or (route.destination_options.parallel_uploads and not to_gcs):
            yield f"{gathered.file}: route {route.name!r}: parallel_uploads is for destinations on GCS: take it out"
        if route.destination_options.inventory:
            yield f"{gathered.file}: route {route.name!r}: destination_options.inventory: write it under source_options"
    yield from _drive_options(known)
    follows = {
        here: [
            there
            for there, other in enumerate(known)
            if other.source.holds(route.destination)
            and _endpoint(route.destination, route.destination_options, endpoints)
            == _endpoint(other.source, other.source_options, endpoints)
        ]
        for here, route in enumerate(known)
    }
    for here, route in enumerate(known):
        if here in follows[here]:
            yield (
                f"route {route.name!r}: the destination {route.destination} lies inside its own source {route.source}, "
                "and what is copied would be copied again without end: write a destination outside the source"
            )
    circles = {tuple(sorted(_circle(start, follows))) for start in follows}
    for circle in sorted(circles - {()}):
        listed = ", ".join(repr(names[number]) for number in circle)
        yield f"routes {listed} lead back to where they start, and objects would go round without end: take one of them out"


def _drive_options(known: Sequence[Route]) -> Iterator[str]:
    """What would be set in vain, in the belief that it does something."""
    for route in known:
        ends = {"source_options": route.source_options, "destination_options": route.destination_options}
        for place, options in ends.items():
            if place == "source_options" and route.source.scheme == "gdrive":
                continue
            for setting in sorted(_OF_DRIVE_SOURCES & options.model_fields_set):
                yield f"route {route.name!r}: {place}.{setting} is for a source on gdrive:// and does nothing here: take it out"


def _endpoint(location: Location, options: StoreOptions, endpoints: Mapping[str, str | None]) -> str | None:
    return options.endpoint or endpoints.get(location.scheme)


def _circle(start: int, follows: Mapping[int, Sequence[int]]) -> set[int]:
    """Every route on a way from `start` back to it through at least one other route; empty if there is none."""
    onward = _reached(start, follows)
    return {number for number in onward if start in _reached(number, follows)} | {start} if start in onward else set()


def _reached(start: int, follows: Mapping[int, Sequence[int]]) -> set[int]:
    """Where objects of `start` get to, steps of a route into itself left out: those have a fault of their own."""
    reached: set[int] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        new = [there for there in follows[here] if there != here and there not in reached]
        reached.update(new)
        waiting.extend(new)
    return reached
