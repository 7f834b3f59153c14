"""The shapes of the settings: frozen, complete, validated. How they are read is `common.settings`' business.

Every part of the project is handed the shape it needs and reads neither files nor the environment. Secrets are `SecretStr`:
a repr, a log line or a traceback shows asterisks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, ValidationInfo, field_validator

from common.location import Location

__all__ = [
    "ApiSettings",
    "Aws",
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
_REDIS = re.compile(r"(rediss?://[^\s@]+|unix:///[^\s@]+)")


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
    if "@" in value:
        raise ValueError("the address holds no password: set REDIS_PASSWORD")
    match = _HOST_AND_PORT.fullmatch(value)
    if (match is None or not 0 < int(match[2]) < 65536) and not _REDIS.fullmatch(value):
        raise ValueError("write host:port, redis://host:port/0, rediss://host:port or unix:///path")
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
    conditional_writes: bool | None = None
    """Whether the service refuses a write whose If-None-Match or If-Match does not hold. None: AWS does, others are not believed
    to, and are asked what they hold before each write. MinIO, R2 and Ceph's newer releases do."""


class Route(Shape):
    """One source location to one destination location. The name is part of Redis keys and of every task."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    source: Place
    destination: Place
    skip_directory_markers: bool = True
    source_options: StoreOptions = StoreOptions()
    destination_options: StoreOptions = StoreOptions()


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


class RedisSettings(Shape):
    """`address` is host:port, redis[s]://… or unix:///path; "" where nothing needs Redis. `prefix` begins every key."""

    address: Annotated[str, BeforeValidator(_redis_address)] = ""
    password: SecretStr | None = None
    prefix: str = Field(default="bb", pattern=r"^[A-Za-z0-9._-]{1,32}$")


def _cores() -> int:
    """Those that this process may run on; a container's share of them (its CPU quota) is not looked at."""
    return min(len(os.sched_getaffinity(0)), 256)


class WorkerSettings(Shape):
    """Memory of one worker process: about 80 MiB, `buffer_bytes` for bodies on the way, and some 20 KiB for each slot."""

    processes: int = Field(default_factory=_cores, ge=1, le=256)
    slots: int = Field(default=128, ge=1, le=10_000)
    """Objects in flight per process."""
    part_bytes: Bytes = Field(default=16 * MIB, ge=MIB, le=64 * MIB, multiple_of=256 * KIB)
    """Objects up to this size go in one request, larger ones in parts of this size. GCS takes multiples of 256 KiB."""
    buffer_bytes: Bytes = Field(default=64 * MIB, ge=2 * MIB)
    """Bodies in memory at once, per process. At least two parts, so that one is written while the next is read."""
    attempts: int = Field(default=5, ge=1, le=100)
    backoff_seconds: float = Field(default=1, gt=0, le=600)
    """The first wait before another attempt; it doubles from there, with jitter."""
    grace_seconds: float = Field(default=25, ge=0, le=3600)
    """From SIGTERM until what is still under way is handed back. Below the 30 s after which Kubernetes kills."""


class PublisherSettings(Shape):
    sweep_seconds: float = Field(default=600, ge=1)
    republish_after: float = Field(default=3600, ge=1)
    """Published but not consumed within this many seconds is published again."""
    batch: int = Field(default=1000, ge=1, le=1000)
    list_shards: int = Field(default=8, ge=1, le=64)
    """Ranges of a source that are listed side by side, where the service is what is slow. Each takes about 2 MiB."""


class ApiSettings(Shape):
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port."""
    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)


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

    def route(self, name: str) -> Route | None:
        """The route of that name, None if there is none."""
        return next((route for route in self.routes if route.name == name), None)
