"""The backends that the storage suite runs on, and where each stand-in is known to be less than the service it stands for.

A gap of a stand-in is data here, with its reason; the suite leaves the case out for that stand-in and for nobody else.
"""

from __future__ import annotations

import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import google_crc32c
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from common.config import Aws, Cdn, Google, Route, Settings, StoreOptions
from common.location import Location
from common.objects import Headers
from common.storage import cdn, memory, registry
from common.storage.base import Absent, Body
from tests.conftest import ACCESS_KEY, REGION, SECRET_KEY
from tests.fakes.cdn import CdnServer, S3Origin
from tests.fakes.drive import DriveServer
from tests.fakes.s3 import S3Server
from tests.nasty_names import no_gcs_name, no_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from _pytest.mark import ParameterSet

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
    ordered_listing: bool = True
    byte_order: bool = True
    """Where it has an order: that of the keys' bytes."""
    counts_metadata: bool = True
    """As the service does. rclone counts other headers, too."""


TRAITS: dict[str, Traits] = {
    "memory": Traits(),
    "file": Traits(),
    # moto compares no checksums.
    "s3": Traits(checks_checksums=False),
    # rclone ignores If-Match and If-None-Match, looks only at Content-MD5, and answers a completed upload with another ETag than
    # the object has afterwards, so that the writer rejects it.
    "s3-strict": Traits(checks_preconditions=False, checks_checksums=False, completes_uploads=False, counts_metadata=False),
    # Our own, by the service's rules; and as it was years ago, with neither conditions on writes nor checksums.
    "s3-aws": Traits(),
    "s3-basic": Traits(checks_preconditions=False, checks_checksums=False),
    # Written to moto, read through the stand-in of CloudFront.
    "s3-cdn": Traits(checks_checksums=False),
    # By the service's own rules.
    "gcs": Traits(parallel_parts=False),
    "gcs-parallel": Traits(),
    # By the service's own rules. It has no preconditions, and is looked at before each write: for one process that comes to
    # the same.
    "gdrive": Traits(parallel_parts=False, ordered_listing=False),
    # Servers that others wrote; what else they do otherwise is in GAPS, and all of it in docs/servers.md.
    # It lists as it walks its directories.
    "seaweedfs": Traits(byte_order=False),
    # It knows neither conditions on writes nor CRC32C, and takes less metadata than S3.
    "juicefs": Traits(checks_preconditions=False, checks_checksums=False, counts_metadata=False),
    # It compares no checksums, and takes metadata of any length.
    "fake-gcs": Traits(parallel_parts=False, checks_checksums=False, counts_metadata=False),
}
OTHERS = ("seaweedfs", "juicefs", "fake-gcs")


def where(holds: Callable[[Traits], bool]) -> pytest.MarkDecorator:
    """Run the test on the backends for which this holds. Not a skip: there is nothing to be had that would make it run."""
    return pytest.mark.parametrize("backend", parameters(holds), indirect=True)


def parameters(holds: Callable[[Traits], bool] = lambda _: True) -> list[ParameterSet]:
    """Servers of others are for `make test-servers`."""
    marks = {name: [pytest.mark.servers] for name in OTHERS}
    return [pytest.param(name, marks=marks.get(name, [])) for name, traits in TRAITS.items() if holds(traits)]


GAPS: dict[str, dict[str, str]] = {
    "seaweedfs": {"test_what_has_a_place_comes_back": "it keeps no x-amz-website-redirect-location"},
    "juicefs": {"test_headers_and_metadata_come_back": "it keeps no Content-Language"},
    "fake-gcs": {
        "test_an_upload_never_overwrites_what_came_meanwhile": "it does not look at ifGenerationMatch when an upload ends",
        "test_what_is_not_kept_is_refused": "it takes metadata of any length",
    },
}
"""Tests that a server of others fails, and why that is its doing. Each is run, and has to fail. docs/servers.md has them."""


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
    cdn: Cdn | None = None
    """What the bytes are read through."""

    @property
    def traits(self) -> Traits:
        return TRAITS[self.name]

    def below(self, prefix: str) -> Backend:
        return replace(self, location=replace(self.location, prefix=self.location.prefix + prefix))

    def reader(self, transport: Transport) -> Reader:
        opened = registry.BACKENDS[self.location.scheme].reader(self.location, self.options, self.settings, transport)
        route = Route(name=self.name, source=self.location, destination=self.location, cdn=self.cdn)
        return cdn.reader(opened, route, transport)

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
    return Backend("file", location, missing, fill, refuses=no_path)


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
        stumbles=lambda key: no_path(key) or "\\" in key,  # it serves a directory
    )


def _s3_aws(fresh: str, request: pytest.FixtureRequest) -> Backend:
    """All that the service can ask for at once: the requester pays, and the ETag is no MD5."""
    server = S3Server(buckets=[fresh])
    server.bucket(fresh).requester_pays = True
    backend = _our_s3(server, "s3-aws", fresh, request)
    asked = {"requester_pays": True, "encryption": "aws:kms", "storage_class": "STANDARD_IA", "tags": {"a b": "&"}}
    return replace(backend, options=backend.options.model_copy(update={"compat": "aws", **asked}))


def _s3_basic(fresh: str, request: pytest.FixtureRequest) -> Backend:
    backend = _our_s3(S3Server(buckets=[fresh], new=False), "s3-basic", fresh, request)
    return replace(backend, many=1003, options=backend.options.model_copy(update={"compat": "basic"}))


def _our_s3(server: S3Server, name: str, fresh: str, request: pytest.FixtureRequest) -> Backend:
    """A bucket on a server of its own."""
    server.__enter__()

    def close() -> None:
        server.__exit__()
        assert server.failures == []

    def fill(keys: Sequence[str]) -> None:
        for key in keys:
            server.put(fresh, key, b"x")

    request.addfinalizer(close)
    return Backend(
        name,
        Location.parse(f"s3://{fresh}"),
        Location.parse(f"s3://{fresh}-missing"),
        fill,
        StoreOptions(endpoint=server.url, region=REGION),
        Settings(aws=_KEYS),
        part=5 * MIB,
    )


def _s3_cdn(fresh: str, request: pytest.FixtureRequest) -> Backend:
    """A restricted distribution in front of moto, one signature for the whole location."""
    backend = _s3(fresh, request)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    origin = S3Origin(str(backend.options.endpoint), backend.location.bucket, ACCESS_KEY, SECRET_KEY)
    edge = CdnServer(origin, keys={"K1": key.public_key()}).__enter__()

    def close() -> None:
        edge.__exit__()
        assert (edge.failures, edge.refused) == ([], [])  # or the suite has read from S3 what it means to read through the edge

    request.addfinalizer(close)
    signed = Cdn(domain=edge.url, signing="custom", key_id="K1", private_key=SecretStr(pem), policy="prefix")
    return replace(backend, name="s3-cdn", many=20, cdn=signed)


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
        refuses=no_gcs_name,
    )


def _parallel_gcs(fresh: str, request: pytest.FixtureRequest) -> Backend:
    backend = _gcs(fresh, request)
    options = backend.options.model_copy(update={"parallel_uploads": True})
    return replace(backend, name="gcs-parallel", options=options, part=5 * MIB, many=1003)  # listed by the same code


def _gdrive(fresh: str, request: pytest.FixtureRequest) -> Backend:
    """A folder on a server of its own."""
    server = DriveServer().__enter__()
    request.addfinalizer(server.__exit__)
    root = server.folder(fresh)

    def fill(keys: Sequence[str]) -> None:
        folders = {"": root}
        for key in keys:
            path, _, name = key.rpartition("/")
            above = ""
            for segment in path.split("/") if path else ():
                here = f"{above}/{segment}"
                folders[here] = folders.get(here) or server.folder(segment, parent=folders[above])
                above = here
            server.put(name, b"x", parent=folders[above])

    return Backend(
        "gdrive",
        Location.parse(f"gdrive://{root}"),
        Location.parse(f"gdrive://{fresh}-missing"),
        fill,
        StoreOptions(endpoint=server.url),
        part=256 * KIB,
    )


def _seaweedfs(fresh: str, request: pytest.FixtureRequest) -> Backend:
    return _signed_s3("seaweedfs", request.getfixturevalue("seaweedfs_endpoint"), fresh, stumbles=_folded)


def _juicefs(fresh: str, request: pytest.FixtureRequest) -> Backend:
    return _signed_s3(
        "juicefs", request.getfixturevalue("juicefs_endpoint"), fresh, stumbles=lambda key: no_path(key) or "\\" in key
    )


def _folded(key: str) -> bool:
    """Both keep paths: "a//b" is "a/b" to them, and to SeaweedFS "c\\d" is "c/d"."""
    return no_path(key) or "\\" in key


def _signed_s3(name: str, endpoint: str, fresh: str, *, stumbles: Callable[[str], bool]) -> Backend:
    """A bucket on a server that checks signatures."""

    def send(path: str, data: bytes = b"") -> None:
        request = AWSRequest("PUT", f"{endpoint}/{fresh}{path}", data=data)
        S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION).add_auth(request)
        _send("PUT", f"{endpoint}/{fresh}{path}", data, dict(request.headers.items()))

    def fill(keys: Sequence[str]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: send(f"/{urllib.parse.quote(key)}", b"x"), keys))

    send("")
    return Backend(
        name,
        Location.parse(f"s3://{fresh}"),
        Location.parse(f"s3://{fresh}-missing"),
        fill,
        StoreOptions(endpoint=endpoint, region=REGION),
        Settings(aws=_KEYS),
        part=5 * MIB,
        many=1003,
        stumbles=stumbles,
    )


def _fake_gcs(fresh: str, request: pytest.FixtureRequest) -> Backend:
    endpoint = request.getfixturevalue("fake_gcs_endpoint")
    _send(
        "POST", f"{endpoint}/storage/v1/b?project=test", f'{{"name": "{fresh}"}}'.encode(), {"Content-Type": "application/json"}
    )

    def fill(keys: Sequence[str]) -> None:
        for key in keys:
            _send("POST", f"{endpoint}/upload/storage/v1/b/{fresh}/o?uploadType=media&name={urllib.parse.quote(key, safe='')}")

    return Backend(
        "fake-gcs",
        Location.parse(f"gs://{fresh}"),
        Location.parse(f"gs://{fresh}-missing"),
        fill,
        StoreOptions(endpoint=endpoint),
        Settings(google=Google(project="test")),
        part=256 * KIB,
        many=1003,
        refuses=no_gcs_name,
    )


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_ONE_BYTE = Body(b"x", google_crc32c.value(b"x"), Headers())
_KEYS = Aws(access_key_id=ACCESS_KEY, secret_access_key=SecretStr(SECRET_KEY), region=REGION)
_MAKERS = {
    "seaweedfs": _seaweedfs,
    "juicefs": _juicefs,
    "fake-gcs": _fake_gcs,
    "memory": _memory,
    "file": _file,
    "s3": _s3,
    "s3-strict": _strict_s3,
    "s3-aws": _s3_aws,
    "s3-basic": _s3_basic,
    "s3-cdn": _s3_cdn,
    "gcs": _gcs,
    "gcs-parallel": _parallel_gcs,
    "gdrive": _gdrive,
}


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
