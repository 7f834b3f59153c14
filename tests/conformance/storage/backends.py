"""The backends that the storage suite runs on, and where each stand-in is known to be less than the service it stands for.

A gap of a stand-in is data here, with its reason; the suite leaves the case out for that stand-in and for nobody else.
"""

from __future__ import annotations

import urllib.parse
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import google_crc32c
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import SecretStr

from common.config import Aws, Google, Settings, StoreOptions
from common.location import Location
from common.objects import Headers
from common.storage import memory, registry
from common.storage.base import Absent, Body
from tests.conftest import ACCESS_KEY, REGION, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from common.storage.base import Reader, Writer
    from common.transport.http import Transport

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Traits:
    """What holds for a backend or its stand-in, known before either is started."""

    checks_preconditions: bool = True
    checks_checksums: bool = True
    parallel_parts: bool = True
    completes_uploads: bool = True


TRAITS: dict[str, Traits] = {
    "memory": Traits(),
    "file": Traits(),
    # moto compares no checksums.
    "s3": Traits(checks_checksums=False),
    # rclone ignores If-Match and If-None-Match, looks only at Content-MD5, and answers a completed upload with another ETag than
    # the object has afterwards, so that the writer rejects it.
    "s3-strict": Traits(checks_preconditions=False, checks_checksums=False, completes_uploads=False),
    # By the service's own rules.
    "gcs": Traits(parallel_parts=False),
}


def where(holds: Callable[[Traits], bool]) -> pytest.MarkDecorator:
    """Run the test on the backends for which this holds. Not a skip: there is nothing to be had that would make it run."""
    names = [name for name, traits in TRAITS.items() if holds(traits)]
    return pytest.mark.parametrize("backend", names, indirect=True)


def _nothing(key: str) -> bool:
    return False


@dataclass(frozen=True)
class Backend:
    """One location on one backend, empty, and all that the suite has to know about it."""

    name: str
    location: Location
    missing: Location
    """A location that does not exist on this backend."""
    fill: Callable[[Sequence[str]], None]
    """Makes objects of one byte with these keys, faster than puts can."""
    options: StoreOptions = field(default_factory=StoreOptions)
    settings: Settings = field(default_factory=Settings)
    part: int = 64 * KIB
    """A size that a part may have."""
    many: int = 2500
    """Objects of the large listing; more than two pages where the stand-in is fast enough."""
    refuses: Callable[[str], bool] = _nothing
    """Keys that the real service cannot hold: InvalidName."""
    stumbles: Callable[[str], bool] = _nothing
    """Keys that only the stand-in cannot hold: left out."""

    @property
    def traits(self) -> Traits:
        return TRAITS[self.name]

    def below(self, prefix: str) -> Backend:
        return replace(self, location=replace(self.location, prefix=self.location.prefix + prefix))

    def reader(self, transport: Transport) -> Reader:
        return registry.BACKENDS[self.location.scheme].reader(self.location, self.options, self.settings, transport)

    def writer(self, transport: Transport) -> Writer:
        return registry.BACKENDS[self.location.scheme].writer(self.location, self.options, self.settings, transport)


def make(name: str, fresh: str, request: pytest.FixtureRequest) -> Backend:
    """The backend of that name with a location of its own. Skips or fails where its server is missing."""
    return _MAKERS[name](fresh, request)


def _memory(fresh: str, request: pytest.FixtureRequest) -> Backend:
    memory.create(fresh)
    request.addfinalizer(lambda: memory.drop(fresh))
    location = Location.parse(f"memory://{fresh}")

    def fill(keys: Sequence[str]) -> None:
        store = memory.create(fresh)
        for key in keys:
            store.write(key.encode(), _ONE_BYTE, Absent())

    return Backend("memory", location, Location.parse(f"memory://{fresh}-missing"), fill)


def _file(fresh: str, request: pytest.FixtureRequest) -> Backend:
    root = request.getfixturevalue("tmp_path")
    assert isinstance(root, Path)
    (root / "location").mkdir()

    def fill(keys: Sequence[str]) -> None:
        _write_files(root / "location", keys)

    location, missing = (Location.parse(f"file://{root}/{name}") for name in ("location", "missing"))
    return Backend("file", location, missing, fill, refuses=_is_no_path)


def _s3(fresh: str, request: pytest.FixtureRequest) -> Backend:
    endpoint = request.getfixturevalue("s3_endpoint")
    bucket = request.getfixturevalue("s3_bucket")

    def fill(keys: Sequence[str]) -> None:
        for key in keys:
            url = f"{endpoint}/{bucket}/{urllib.parse.quote(key)}"
            _send("PUT", url)

    return Backend(
        "s3",
        Location.parse(f"s3://{bucket}"),
        Location.parse(f"s3://{fresh}-missing"),
        fill,
        StoreOptions(endpoint=endpoint, region=REGION),
        Settings(aws=_KEYS),
        part=5 * MIB,
        many=1003,  # one page and a little: moto takes some 200 puts a second
        stumbles=lambda key: "\n" in key,  # its URL routes do not match a line break: 404
    )


def _strict_s3(fresh: str, request: pytest.FixtureRequest) -> Backend:
    endpoint = request.getfixturevalue("strict_s3_endpoint")

    directory = request.getfixturevalue("strict_s3_directory")
    # It remembers what a directory held when it last looked: the bucket is made through the front door, and filled before.
    made = AWSRequest("PUT", f"{endpoint}/{fresh}", data=b"")
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION).add_auth(made)
    _send("PUT", f"{endpoint}/{fresh}", b"", dict(made.headers.items()))
    return Backend(
        "s3-strict",
        Location.parse(f"s3://{fresh}"),
        Location.parse(f"s3://{fresh}-missing"),
        lambda keys: _write_files(directory / fresh, keys),
        StoreOptions(endpoint=endpoint, region=REGION),
        Settings(aws=_KEYS),
        part=5 * MIB,
        stumbles=lambda key: _is_no_path(key) or "\\" in key,  # it serves a directory
    )


def _gcs(fresh: str, request: pytest.FixtureRequest) -> Backend:
    endpoint = request.getfixturevalue("gcs_endpoint")
    bucket = request.getfixturevalue("gcs_bucket")

    def fill(keys: Sequence[str]) -> None:
        for key in keys:
            url = f"{endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={urllib.parse.quote(key, safe='')}"
            _send("POST", url)

    return Backend(
        "gcs",
        Location.parse(f"gs://{bucket}"),
        Location.parse(f"gs://{fresh}-missing"),
        fill,
        StoreOptions(endpoint=endpoint),
        Settings(google=Google(project="test")),
        part=256 * KIB,
        refuses=lambda key: key in (".", "..") or "\n" in key or "\r" in key or key.startswith(".well-known/acme-challenge/"),
    )


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_ONE_BYTE = Body(b"x", google_crc32c.value(b"x"), Headers())
_KEYS = Aws(access_key_id=ACCESS_KEY, secret_access_key=SecretStr(SECRET_KEY), region=REGION)
_MAKERS = {"memory": _memory, "file": _file, "s3": _s3, "s3-strict": _strict_s3, "gcs": _gcs}


def _is_no_path(key: str) -> bool:
    return any(segment in ("", ".", "..") or len(segment.encode()) > 255 for segment in key.split("/"))


def _send(method: str, url: str, data: bytes = b"x", headers: Mapping[str, str] = MappingProxyType({})) -> None:
    # Without a type of its own urllib calls the byte a form, and moto then takes it for one.
    typed = {"Content-Type": "application/octet-stream", **headers}
    request = urllib.request.Request(url, data=data, method=method, headers=typed)
    _direct.open(request, timeout=10).close()


def _write_files(root: Path, keys: Sequence[str]) -> None:
    for key in keys:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
