"""The shapes of the settings: frozen, complete, validated. How they are read is `common.settings`' business.

Every part of the project is handed the shape it needs and reads neither files nor the environment. Secrets are `SecretStr`:
a repr, a log line or a traceback shows asterisks.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from common.location import Location
from common.redis_address import RedisAddress

__all__ = [
    "ApiSettings",
    "Aws",
    "Cdn",
    "Google",
    "Location",
    "LogSettings",
    "PublisherSettings",
    "QueueSettings",
    "RedisSettings",
    "Route",
    "Settings",
    "StoreOptions",
    "WorkerSettings",
]

KIB = 1024
MIB = 1024 * KIB

_UNITS = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": 1024 * MIB, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
_SIZE = re.compile(r"(\d{1,15})\s*([a-z]*)")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
_HTTP = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")
_DOMAIN = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?")
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}|localhost|\[::1\]")


def _location(value: Any) -> Any:
    return Location.parse(value) if isinstance(value, str) else value


def _size(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise ValueError("write a number of bytes, or a number with a unit: 16MiB")
    return int(match[1]) * _UNITS[match[2]]


def _endpoint(value: Any) -> Any:
    """STORAGE_EMULATOR_HOST is often host:port, so that is taken for plain HTTP; credentials in a URL are refused."""
    if not isinstance(value, str):
        return value
    url = f"http://{value}" if _HOST_AND_PORT.fullmatch(value) else value
    if not _HTTP.fullmatch(url):
        raise ValueError("write a URL without credentials: https://host or http://host:port")
    return url.rstrip("/")


def _domain(value: Any) -> Any:
    """The origin of a CDN's URLs. A path in it is refused: what follows the host is the key and nothing else."""
    if not isinstance(value, str):
        return value
    url = (value if "://" in value else f"https://{value}").rstrip("/")
    match = _DOMAIN.fullmatch(url)
    if match is None:
        raise ValueError("write the domain name of the distribution: d111111abcdef8.cloudfront.net")
    if match[1] == "http" and not _LOOPBACK.fullmatch(match[2]):
        raise ValueError("write https://, or the domain name alone: signed URLs do not travel in the open")
    return url


def _network(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return str(ipaddress.IPv4Network(value))
    except ValueError:
        raise ValueError("write an IPv4 address or network, 192.0.2.0/24: a policy holds one, and none of IPv6") from None


def _inventory(value: Any) -> Any:
    if isinstance(value, str):
        try:
            usable = Location.parse(value).scheme == "s3"
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("write s3://bucket/…/manifest.json, or the folder of an inventory: s3://bucket/…/configuration-id/")
    return value


def _host_and_port(value: Any) -> Any:
    """What gRPC wants; a scheme in front is what people paste, and is dropped."""
    if not isinstance(value, str):
        return value
    bare = value.removeprefix("http://").removeprefix("https://").rstrip("/")
    match = _HOST_AND_PORT.fullmatch(bare)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError("write host:port")
    return bare


def _redis_address(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    RedisAddress.parse(value)
    return value


Bytes = Annotated[int, BeforeValidator(_size)]
Endpoint = Annotated[str, BeforeValidator(_endpoint)]
HostAndPort = Annotated[str, BeforeValidator(_host_and_port)]
Place = Annotated[Location, BeforeValidator(_location), PlainSerializer(str)]


class Shape(BaseModel):
    """Frozen; an unknown name is a fault; errors never repeat what was written, since it may be a secret in the wrong place."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """TOML's true would otherwise become 1 slot or 1 second."""
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation not in (bool, bool | None):
            raise ValueError("true and false are no value here")
        return value


class StoreOptions(Shape):
    """How to reach one end of a route, where that is not the provider's default. Goes before AWS_ENDPOINT_URL and AWS_REGION."""

    endpoint: Endpoint | None = None
    region: str | None = Field(default=None, min_length=1)
    addressing: Literal["auto", "path", "virtual"] = "auto"
    compat: Literal["auto", "aws", "basic"] = "auto"
    """S3 only: what a service that is not AWS is believed to do as AWS does. See common/storage/s3_dialect.py."""
    requester_pays: bool = False
    """S3 only: the account of these credentials is charged for what is read and written."""
    anonymous: bool = False
    """S3 and GCS: requests carry no identity, for buckets that are open to everybody."""
    user_project: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9.:-]{4,60}[a-z0-9]$")
    """GCS only: the project that is charged for every request, as buckets want it where the requester pays."""
    storage_class: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]{1,63}$")
    """S3 only, as a destination, like the next three. None: STANDARD."""
    encryption: Literal["AES256", "aws:kms"] | None = None
    """None: as the bucket has it by default."""
    kms_key_id: str | None = Field(default=None, min_length=1)
    """The key for aws:kms. None: AWS's own for S3."""
    tags: dict[str, str] = Field(default_factory=dict)
    """At most ten. Needs s3:PutObjectTagging beside s3:PutObject."""
    parallel_uploads: bool = False
    """GCS only, as a destination: several parts of a large object in flight, put together under `.brigade/uploads/` and renamed.
    For few objects that are very large; with many, one stream for each fills the line. See common/storage/gcs_parts.py."""
    inventory: Annotated[str | None, BeforeValidator(_inventory)] = None
    """S3 only, as a source: an S3 Inventory that is read instead of listing the bucket; its manifest.json, or the folder in which
    S3 puts one each day."""
    natives: Literal["skip", "export"] = "skip"
    """Drive only, as a source: what is done with documents that Google keeps in no file format."""
    export_documents: Literal["docx", "odt", "rtf", "pdf", "txt", "html", "epub", "md"] = "docx"
    export_spreadsheets: Literal["xlsx", "ods", "pdf", "csv", "tsv"] = "xlsx"
    """csv and tsv hold the first sheet and no other."""
    export_presentations: Literal["pptx", "odp", "pdf", "txt"] = "pptx"
    export_drawings: Literal["svg", "png", "jpg", "pdf"] = "svg"
    shortcuts: Literal["skip", "follow"] = "skip"
    """Drive only, as a source: whether what a shortcut leads to is an object here, too."""


class Cdn(Shape):
    """CloudFront in front of an S3 source: bytes come from there, listings and looks from S3 itself."""

    domain: Annotated[str, BeforeValidator(_domain)]
    signing: Literal["none", "canned", "custom"] = "none"
    key_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,128}$")
    private_key_file: Path | None = None
    private_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The variable that holds the key: PEM, or the base64 of a PEM."""
    private_key: SecretStr | None = None
    """What was found in that variable; never written in a file."""
    expires_seconds: int = Field(default=3600, ge=60, le=7 * 24 * 3600)
    """CloudFront looks at it when a request begins; each request has its own, or one that has half of its life left."""
    not_before: AwareDatetime | None = None
    source_ip: Annotated[str | None, BeforeValidator(_network)] = None
    policy: Literal["request", "prefix"] = "request"
    """request: a signature for each. prefix: one for the whole source, reused: no cost per request, and a wider grant."""
    hash: Literal["sha1", "sha256"] = "sha1"


class Route(Shape):
    """One source location to one destination location. The name is part of Redis keys and of every task."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    source: Place
    destination: Place
    skip_directory_markers: bool = True
    metadata: Literal["lenient", "strict"] = "lenient"
    """Where the destination cannot keep all that an object has beside its bytes (docs/metadata.md): lenient moves it without the
    rest, which is counted; strict sends it to the error topic."""
    on_conflict: Literal["overwrite", "keep", "newer", "fail"] = "overwrite"
    """What is done where the destination holds an object that is neither a copy of ours nor equal: write over it, leave it, write
    over it if the source's was modified later, or report the object as `destination_conflict`."""
    storage_classes: dict[str, str] = Field(default_factory=dict)
    """Class at the source -> class at the destination; "" leaves it to the location. A class that is not named is lost."""
    source_options: StoreOptions = StoreOptions()
    destination_options: StoreOptions = StoreOptions()
    cdn: Cdn | None = None


class Aws(Shape):
    """All None: the usual chain of AWS (profile, web identity, instance) finds the credentials."""

    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    region: str | None = None
    endpoint: Endpoint | None = None


class Google(Shape):
    """Without a key: the usual chain of Google (application default, metadata server).

    With `storage_endpoint` GCS is an emulator and is spoken to without credentials.
    """

    project: str | None = None
    credentials_file: Path | None = None
    sa_key_b64: SecretStr | None = None
    storage_endpoint: Endpoint | None = None
    drive_token_file: Path | None = None
    """Written by `brigade auth gdrive`; Drive is then used as the person who signed in, everything else as before."""
    drive_endpoint: Endpoint | None = None
    """A stand-in for Drive, spoken to without credentials."""
    drive_units: int = Field(default=325_000, ge=6000)
    """Quota units a minute that this user may spend, by all workers together (the Cloud console shows the project's quota)."""
    drive_subject: str | None = Field(default=None, pattern=r"^[^\s@]+@[^\s@]+$")
    """The person whom the service account acts for at Drive (domain-wide delegation)."""


class QueueSettings(Shape):
    """Topic and subscription of the tasks and of the errors; with Redis Streams they name streams and consumer groups."""

    kind: Literal["pubsub", "redis"] = "pubsub"
    project: str | None = None
    topic: str = Field(default="bucketbrigade", min_length=3, max_length=255)
    subscription: str = Field(default_factory=lambda data: f"{data['topic']}-sub", min_length=3, max_length=255)
    error_topic: str = Field(default_factory=lambda data: f"{data['topic']}-errors", min_length=3, max_length=255)
    error_subscription: str = Field(default_factory=lambda data: f"{data['error_topic']}-sub", min_length=3, max_length=255)
    emulator_host: HostAndPort | None = None
    lease_seconds: float = Field(default=60, ge=10, le=600)
    error_retention_seconds: float = Field(default=30 * 86400, ge=60)
    """Redis Streams: a report that has not come again for so long is taken off. With Pub/Sub the error subscription says it."""


class RedisSettings(Shape):
    """`address` is host:port, redis[s]://… or unix:///path; "" where nothing needs Redis. `prefix` begins every key."""

    address: Annotated[str, BeforeValidator(_redis_address)] = ""
    username: str | None = Field(default=None, min_length=1)
    """A user of Redis's ACL. None: the one that the address names, or `default`."""
    password: SecretStr | None = None
    ca_file: Path | None = None
    """The authority that signed the certificate of a `rediss://` address. None: those that all other traffic trusts."""
    patience_seconds: float = Field(default=0, ge=0)
    """How long a call waits for a Redis that is away or full before it gives up. 0: for ever."""
    prefix: str = Field(default="bb", pattern=r"^[A-Za-z0-9._-]{1,32}$")

    @property
    def place(self) -> RedisAddress:
        """The address, taken apart."""
        return RedisAddress.parse(self.address)


def _cores() -> int:
    """Those that this process may run on; a container's share of them (its CPU quota) is not looked at."""
    return min(len(os.sched_getaffinity(0)), 256)


class WorkerSettings(Shape):
    """Memory of one worker process: about 80 MiB, `buffer_bytes` for bodies on the way, and some 20 KiB for each slot."""

    processes: int = Field(default_factory=_cores, ge=1, le=256)
    slots: int = Field(default=128, ge=1, le=10_000)
    """Objects in flight per process, large ones not counted."""
    large_slots: int = Field(default_factory=lambda data: min(data["slots"], max(8, data["slots"] // 8)), ge=1, le=1000)
    """Objects of more than `part_bytes` in flight per process. [default: an eighth of `slots`, at least 8 or all]"""
    part_bytes: Bytes = Field(default=16 * MIB, ge=MIB, le=64 * MIB, multiple_of=256 * KIB)
    """Objects up to this size go in one request, larger ones in parts of this size. GCS takes multiples of 256 KiB."""
    buffer_bytes: Bytes = Field(default=64 * MIB, ge=2 * MIB)
    """Bodies in memory at once, per process. At least two parts, so that one is written while the next is read."""
    attempts: int = Field(default=5, ge=1, le=100)
    backoff_seconds: float = Field(default=1, gt=0, le=600)
    """The first wait before another attempt; it doubles from there, with jitter."""
    deaths: int = Field(default=3, ge=0, le=100)
    """Worker processes that may die while they handle one object before it goes to the error topic; 0: any number."""
    hold_after: int = Field(default=10, ge=0, le=100_000)
    """Objects in a row, each another one, that one end of a route must refuse for the same reason before the route is held; per
    process; 0: never. See worker/holding.py."""
    hold_seconds: float = Field(default=15, ge=1, le=3600)
    """How long a held route waits before it is tried with one object; twice as long after each trial that is refused ..."""
    hold_longest_seconds: float = Field(default=300, ge=1, le=86400)
    """... and at most so long."""
    unknown_seconds: float = Field(default=900, ge=0, le=86400)
    """How long a task of a route, or in a schema, that the workers do not know waits for one that does; 0: not at all."""
    grace_seconds: float = Field(default=25, ge=0, le=3600)
    """From SIGTERM until what is still under way is handed back. Below the 30 s after which Kubernetes kills."""


class PublisherSettings(Shape):
    sweep_seconds: float = Field(default=600, ge=1)
    full_sweep_seconds: float = Field(default=86400, ge=1)
    """Where a source tells what has changed (Drive), sweeps look at that alone, and at everything once in so many seconds."""
    reconcile_seconds: float = Field(default=86400, ge=0)
    """Once in so many seconds a sweep lists the destination, too, so that what was deleted or altered there is seen; 0: only when
    somebody asks for it."""
    republish_after: float = Field(default=3600, ge=1)
    """Published but not consumed within this many seconds is published again."""
    batch: int = Field(default=1000, ge=1, le=1000)
    list_shards: int = Field(default=8, ge=1, le=64)
    """Ranges of a source that are listed side by side, where the service is what is slow. Each takes about 2 MiB."""


class ApiSettings(Shape):
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port."""
    health_port: int | None = Field(default=None, ge=0, le=65535)
    """Of the health pages' own listener. None: the port after the API's, if it is free."""
    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)


class HealthSettings(Shape):
    heartbeat_dir: str = ""
    """Where processes write their signs of life. Empty: common.heartbeat.directory says."""


class LogSettings(Shape):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, JSON lines otherwise."""


class Settings(Shape):
    """Everything that was asked for, in one frozen value. `api` is None where no API is served."""

    routes: tuple[Route, ...] = ()
    aws: Aws = Aws()
    google: Google = Google()
    queue: QueueSettings = QueueSettings()
    redis: RedisSettings = RedisSettings()
    worker: WorkerSettings = WorkerSettings()
    publisher: PublisherSettings = PublisherSettings()
    api: ApiSettings | None = None
    log: LogSettings = LogSettings()
    health: HealthSettings = HealthSettings()

    def route(self, name: str) -> Route | None:
        """The route of that name, None if there is none."""
        return next((route for route in self.routes if route.name == name), None)
