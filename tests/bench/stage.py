"""The servers that both sides run against: the benchmark's own store (S3 and GCS on one port), with TLS or without, and Redis.

One process holds source and destination. What it has used is read from its own account, Redis's from INFO.
"""

from __future__ import annotations

import itertools
import tempfile
import urllib.parse
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import redis

from common.state.store import LISTPACK
from tests.bench.runs import RunFailed
from tests.bench.serve import bench_server
from tests.child import LOOPBACK
from tests.servers import pubsub_emulator, redis_server

if TYPE_CHECKING:
    from types import TracebackType

    from tests.bench.serve import BenchServer
    from tests.child import Server

SOURCE, DESTINATION = "bench-source", "bench-destination"


@dataclass(frozen=True, slots=True)
class Ends:
    """One source and one destination on one of the servers."""

    store: Store
    source: str
    destination: str
    objects: int
    bytes: int

    @property
    def endpoint(self) -> str:
        """S3's, and that of our own GCS backend."""
        return self.store.server.url

    @property
    def rclone_gcs(self) -> str:
        return self.store.server.rclone_gcs

    @property
    def certificate(self) -> Path | None:
        return self.store.server.ca

    @property
    def buckets(self) -> tuple[str, str]:
        source, destination = (urllib.parse.urlsplit(name).netloc for name in (self.source, self.destination))
        return source, destination


class Store:
    """The benchmark's server and what its source holds: filling takes seconds, so it is done once for many runs."""

    def __init__(self, server: BenchServer) -> None:
        self.server = server
        self._filled: tuple[str, int, int] | None = None
        self._before = server.stats()

    def fill(self, bucket: str, count: int, size: int, prefix: str = "") -> None:
        """Nothing is done when the bucket holds this already. One source at a time is kept: they are large.

        The destination is filled and emptied as well: memory that the server touches for the first time would make the first run
        a slow one.
        """
        if self._filled == (bucket, count, size):
            return
        for old in {bucket, *((self._filled[0],) if self._filled else ())}:
            self.server.fill(old)
            self.server.drop(old)
        self.server.fill(bucket, count=count, size=size, prefix=prefix)
        self.server.fill(DESTINATION, count=count, size=size)
        self.server.drop(DESTINATION)
        self._filled = bucket, count, size

    def configure(self, *, delay_ms: float = 0, fail_percent: float = 0) -> None:
        self.server.config(delay_ms=delay_ms, fail_percent=fail_percent)

    def empty(self, bucket: str) -> None:
        """Made if it was not there."""
        self.server.fill(bucket)
        self.server.drop(bucket)

    def begin(self) -> None:
        """Remember what has gone over the wire so far, for `verify`."""
        self._before = self.server.stats()

    def requests(self) -> int:
        """Answered since `begin`."""
        return self.server.stats().requests - self._before.requests

    def verify(self, ends: Ends) -> None:
        """Every object compared byte for byte. Raises RunFailed unless all of them are there, equal, and nothing else is; and
        unless every byte has been read and written since `begin`: a copy made by the server is not what is measured.
        """
        now = self.server.stats()
        moved = now.bytes_out - self._before.bytes_out, now.bytes_in - self._before.bytes_in
        if min(moved) < ends.bytes:
            raise RunFailed(f"of {ends.bytes:,} bytes {moved[0]:,} were read from the server and {moved[1]:,} written to it")
        found = self.server.verify(*ends.buckets)
        if not found.perfect or found.equal != ends.objects:
            raise RunFailed(f"the destination is not equal to the source: {found}")


class Stage:
    """Everything that runs for a row. Servers are started when first asked for and live as long as the stage."""

    def __init__(self, *, queue: str = "redis") -> None:
        self._stack = ExitStack()
        self._queue = queue
        self._number = itertools.count(1)
        self._stores: dict[bool, Store] = {}

    def __enter__(self) -> Self:
        self._home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bucketbrigade-bench-")))
        limits = [word for name, value in LISTPACK.items() for word in (f"--{name}", str(value))]
        # As deploy/ has it: on disk once a second.
        arguments = [*limits, "--appendfsync", "everysec"]
        self.redis: Server = self._stack.enter_context(redis_server(self._home / "redis", arguments=arguments))
        self._redis = redis.Redis(host=LOOPBACK, port=self.redis.port)
        self._stack.callback(self._redis.close)
        self._pubsub = self._stack.enter_context(pubsub_emulator()) if self._queue == "pubsub" else ""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def store(self, *, tls: bool = False) -> Store:
        if tls not in self._stores:
            self._stores[tls] = Store(self._stack.enter_context(bench_server(tls=tls)))
        return self._stores[tls]

    def folder(self) -> Path:
        """For the settings and logs of one run. Its name is that run's prefix in Redis."""
        folder = self._home / f"run-{next(self._number)}"
        folder.mkdir()
        return folder

    def clean(self, ends: Ends) -> None:
        """As before the first run: no destination, no state."""
        ends.store.empty(ends.buckets[1])
        self._redis.flushall()

    def queue_environment(self) -> dict[str, str]:
        environ = {"REDIS_ADDRESS": self.redis.address, "BRIGADE_QUEUE": self._queue}
        if self._pubsub:
            name = f"bench-{next(self._number)}"
            environ |= {"GCP_PUBSUB_HOST": self._pubsub, "GCP_PROJECT_ID": "bench", "GCP_TOPIC_ID": name}
        return environ

    def server_cpu(self, ends: Ends) -> float:
        return ends.store.server.stats().cpu_seconds

    def redis_cpu(self) -> float:
        told: Any = self._redis.info("cpu")
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])

    def redis_version(self) -> str:
        told: Any = self._redis.info("server")
        return f"{told.get('server_name', 'redis')} {told.get('valkey_version', told.get('redis_version'))}"
