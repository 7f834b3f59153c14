"""The two places that a route joins, told apart from all others: what has been noted of one pair proves nothing of another.

Not among it is what changes and leaves the place what it is: credentials, regions, addressing, storage classes, a CDN in front.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.transport.aws_machine import MACHINE

if TYPE_CHECKING:
    from common.config import Route, Settings, StoreOptions
    from common.location import Location

_AWS = "amazonaws.com"


@dataclass(frozen=True, slots=True)
class Ends:
    """Source and destination with the services that they are at, for people and to be compared."""

    source: str
    destination: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.source}\n{self.destination}".encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination}"


def ends_of(route: Route, settings: Settings) -> Ends:
    """As readers and writers resolve them. Raises SettingsError on a machine whose AWS profile cannot be used."""
    return Ends(
        _place(route.source, route.source_options, settings), _place(route.destination, route.destination_options, settings)
    )


def _place(location: Location, options: StoreOptions, settings: Settings) -> str:
    service = options.endpoint
    match location.scheme:
        case "s3":
            service = service or settings.aws.endpoint or _on_this_machine(location.bucket, options, settings)
        case "gs":
            service = service or settings.google.storage_endpoint
        case "gdrive":
            service = service or settings.google.drive_endpoint
        case _:
            service = None
    return f"{location} at {service}" if service else str(location)


def _on_this_machine(bucket: str, options: StoreOptions, settings: Settings) -> str | None:
    """The service that the machine's own settings name; None for AWS, where a bucket has its name for itself in a partition."""
    place = MACHINE.place(bucket, options.region or settings.aws.region, options.addressing)
    if not place.at_aws:
        return place.origin
    partition = place.origin.rpartition(_AWS)[2]
    return f"{_AWS}{partition}" if partition else None
