"""The destinations, each with a server of its own that ends with it, and how each tells what arrived there.

S3 and GCS: the benchmark's server, which counts every byte that comes in, heads of requests included. Drive: its stand-in, which
counts bodies. A directory has no server: there the workers' own count of what they wrote is taken.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import google_crc32c

from tests import servers
from tests.bench.serve import bench_server
from tests.endurance.source import checksum
from worker.transfer import PARALLEL_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.bench.serve import BenchServer

NAME = "endurance.bin"
BUCKET = "endurance"
PIECE = 16 * 1024 * 1024
S3_OPTIONS = '[route.destination_options]\naddressing = "path"\ncompat = "aws"\n'
SPOOL_ABOVE = PIECE


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that a server received and sent."""

    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Destination:
    """`streams`: parts that may be on their way at once. `look`: (bytes, CRC32C) of what is there, read in full."""

    url: str
    streams: int
    look: Callable[[], tuple[int, int]]
    traffic: Callable[[], Traffic] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    options: str = ""


@contextmanager
def s3(folder: Path) -> Iterator[Destination]:
    with bench_server() as server:
        server.fill(BUCKET)
        keys = {"AWS_ACCESS_KEY_ID": "endurance", "AWS_SECRET_ACCESS_KEY": "endurance-secret", "AWS_REGION": "us-east-1"}
        yield Destination(
            f"s3://{BUCKET}/to",
            PARALLEL_PARTS,
            lambda: fetched(f"{server.url}/{BUCKET}/to/{NAME}"),
            lambda: _counted(server),
            {"AWS_ENDPOINT_URL_S3": server.url, **keys},
            S3_OPTIONS,
        )


@contextmanager
def gs(folder: Path, streams: int = 1, options: str = "") -> Iterator[Destination]:
    with bench_server() as server:
        server.fill(BUCKET)
        yield Destination(
            f"gs://{BUCKET}/to",
            streams,
            lambda: fetched(f"{server.gcs_url}/storage/v1/b/{BUCKET}/o/to%2F{NAME}?alt=media"),
            lambda: _counted(server),
            {"STORAGE_EMULATOR_HOST": server.gcs_url},
            options,
        )


def gs_parallel(folder: Path) -> AbstractContextManager[Destination]:
    return gs(folder, PARALLEL_PARTS, "[route.destination_options]\nparallel_uploads = true\n")


@contextmanager
def gdrive(folder: Path) -> Iterator[Destination]:
    with servers.drive_server("--spool-above", str(SPOOL_ABOVE)) as server:
        yield Destination(
            "gdrive://root/to",
            1,
            lambda: fetched(f"{server.url}/drive/v3/files/{_id_on(server.url)}?alt=media"),
            lambda: _told(server.url),
            {"GDRIVE_ENDPOINT": server.url},
        )


@contextmanager
def file(folder: Path) -> Iterator[Destination]:
    (folder / "to").mkdir()
    yield Destination(f"file://{folder}/to", PARALLEL_PARTS, lambda: checksum(folder / "to" / NAME))


DESTINATIONS: dict[str, Callable[[Path], AbstractContextManager[Destination]]] = {
    "s3": s3,
    "gs": gs,
    "gs-parallel": gs_parallel,
    "gdrive": gdrive,
    "file": file,
}


def fetched(url: str) -> tuple[int, int]:
    """(bytes, CRC32C) of what is behind an address, a range at a time. Raises LookupError when there is nothing."""
    where = urllib.parse.urlsplit(url)
    size = crc32c = 0
    connection = http.client.HTTPConnection(where.netloc, timeout=60)
    try:
        total = 1
        while size < total:
            span = {"Range": f"bytes={size}-{size + PIECE - 1}", "Authorization": "Bearer endurance"}
            connection.request("GET", f"{where.path}?{where.query}", headers=span)
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 206 or not data:
                raise LookupError(f"{where.path}: {answer.status} for the bytes from {size} on")
            total = int(answer.headers["Content-Range"].rpartition("/")[2])
            size += len(data)
            crc32c = google_crc32c.extend(crc32c, data)
    finally:
        connection.close()
    return size, crc32c


def _counted(server: BenchServer) -> Traffic:
    stats = server.stats()
    return Traffic(stats.bytes_in, stats.bytes_out)


def _told(url: str) -> Traffic:
    stats = _ask(f"{url}/_stats")
    return Traffic(stats["received"], stats["sent"])


def _id_on(url: str) -> str:
    found = [each for each in _ask(f"{url}/_files")["files"] if each["path"] == f"root/to/{NAME}"]
    if len(found) != 1 or found[0]["creates"] != 1:
        raise LookupError(f"Drive has {len(found)} files of this name")
    return str(found[0]["id"])


def _ask(url: str) -> Any:
    where = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=60)
    try:
        connection.request("GET", where.path)
        return json.load(connection.getresponse())
    finally:
        connection.close()
