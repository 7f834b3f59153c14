"""Every kind of location, filled the way its own people fill it, and looked at without our own readers: for the test that copies
from each to each.
"""

from __future__ import annotations

import gzip
import os
import random
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from common.checksums import crc32c
from common.config import Aws, Cdn, Route, Settings, StoreOptions
from common.location import Location
from common.objects import Headers
from common.storage import s3_headers
from common.storage.file_note import Note, write_note
from common.storage.gcs_client import resource_fields
from common.storage.gdrive import names
from tests.conftest import ACCESS_KEY, REGION, SECRET_KEY
from tests.fakes.cdn import CdnServer, S3Origin
from tests.fakes.drive import DriveServer
from tests.fakes.gcs import GcsServer
from tests.fakes.s3 import S3Server
from tests.nasty_names import NASTY, no_gcs_name, no_path

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
SOURCES = ("s3", "s3 through a CDN", "gs", "gdrive", "file")
DESTINATIONS = ("gs", "s3", "gdrive", "file")
BUCKET = "source"
MODIFIED = datetime(2020, 2, 29, 12, 34, 56, 123000, tzinfo=UTC)
"""When files were modified, on disk and on Drive; the other services keep no such time but their own."""
SETTINGS = Settings(aws=Aws(access_key_id=ACCESS_KEY, secret_access_key=SecretStr(SECRET_KEY), region=REGION))
PLAIN = Headers("text/x-nasty", metadata={"owner": "somebody"})
RICH = Headers(
    "text/html; charset=utf-8",
    "max-age=60, must-revalidate",
    "attachment; filename=\"f_nf.html\"; filename*=UTF-8''f%C3%BCnf.html",
    None,
    "de-AT",
    {
        "owner": "Zoë",
        "empty": "",
        "long": "l" * 700,
        "lines": "one\r\ntwo",
        "spaces": "  two  ",
        "equals": "=?a?=",
        "x-1_2.3": "y",
    },
)
PACKED = replace(PLAIN, content_encoding="gzip")


@dataclass(frozen=True)
class Thing:
    """An object, before it is put anywhere."""

    data: bytes
    headers: Headers = PLAIN
    rare: bool = False
    """Stored in a class for what is seldom read, where there are classes."""


THINGS: dict[str, Thing] = {
    **{key: Thing(key.encode()) for key in NASTY.values()},
    "sizes/empty": Thing(b""),
    "sizes/small": Thing(b"\0"),
    "sizes/in parts": Thing(random.Random(7).randbytes(5 * MIB + 333), RICH),
    "beside/rich": Thing(b"<p>", RICH),
    "beside/packed": Thing(gzip.compress(b"packed " * 1000, mtime=0), PACKED),
    "beside/packed, in parts": Thing(gzip.compress(random.Random(8).randbytes(5 * MIB + 77), 1, mtime=0), PACKED),
    "beside/not what it says": Thing(b"these bytes are not gzip", PACKED),
    "beside/rare": Thing(b"seldom read", rare=True),
}
CLASSES = {"s3": "STANDARD_IA", "gs": "NEARLINE"}


class Stage:
    """One of every service, with the things at each source."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.s3 = self._stack.enter_context(S3Server(buckets=[BUCKET]))
        self.gs = self._stack.enter_context(GcsServer(buckets=[BUCKET]))
        self.gdrive = self._stack.enter_context(DriveServer())
        origin = S3Origin(self.s3.url, BUCKET, ACCESS_KEY, SECRET_KEY)
        self.edge = self._stack.enter_context(CdnServer(origin, keys={"K1": self._key.public_key()}))
        self._drive_source = self.gdrive.folder(BUCKET)
        (folder / BUCKET).mkdir()
        self._fill()

    def close(self) -> None:
        self._stack.close()
        for server in (self.s3, self.gs, self.gdrive, self.edge):
            assert server.failures == []
        assert self.edge.refused == []

    def route(self, source: str, destination: str, fresh: str) -> Route:
        """From the filled source to an empty place of that name."""
        return Route(
            name=fresh,
            source=self._source(source),
            destination=self._destination(destination, fresh),
            metadata="strict",
            storage_classes=self._classes(source, destination),
            source_options=self._options(source),
            destination_options=self._options(destination),
            cdn=self._cdn() if source == "s3 through a CDN" else None,
        )

    def held(self, route: Route) -> dict[str, bytes]:
        """What the destination has, by its own account; only Drive is asked for its files by name."""
        location = route.destination
        match location.scheme:
            case "s3":
                return {key: self.s3.data(location.bucket, key) for key in self.s3.keys(location.bucket)}
            case "gs":
                return {key: self.gs.data(location.bucket, key) for key in self.gs.keys(location.bucket)}
            case "gdrive":
                return self._on_drive(location.bucket)
        root = Path(location.prefix)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def modified(self, route: Route, key: str) -> float:
        """When the destination says that the object was modified."""
        if route.destination.scheme == "file":
            return Path(route.destination.prefix, key).stat().st_mtime
        told = next(file["modifiedTime"] for path, file in self._below(route.destination.bucket) if path == key)
        return datetime.fromisoformat(told).timestamp()

    def _on_drive(self, folder: str) -> dict[str, bytes]:
        files = list(self._below(folder))
        assert len({key for key, _ in files}) == len(files), "a file is there twice"
        return {key: self.gdrive.data(file["id"]) for key, file in files}

    def _below(self, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Files with their keys, at any depth."""
        inside = defaultdict(list)
        for file in self.gdrive.files():
            inside[file["parents"][0]].append(file)
        ahead = [("", folder)]
        while ahead:
            prefix, parent = ahead.pop()
            for file in inside[parent]:
                key = prefix + names.segment(file["name"])
                if file["mimeType"].endswith(".folder"):
                    ahead.append((f"{key}/", file["id"]))
                else:
                    yield key, file

    def _source(self, source: str) -> Location:
        scheme = source.split(" ", maxsplit=1)[0]
        places = {"gdrive": self._drive_source, "file": f"{self._folder}/{BUCKET}"}
        return Location.parse(f"{scheme}://{places.get(scheme, BUCKET)}")

    def _destination(self, scheme: str, fresh: str) -> Location:
        match scheme:
            case "s3":
                self.s3.store.create_bucket(fresh)
            case "gs":
                self.gs.store.create_bucket(fresh)
            case "gdrive":
                return Location.parse(f"gdrive://{self.gdrive.folder(fresh)}")
            case "file":
                (self._folder / fresh).mkdir()
                return Location.parse(f"file://{self._folder}/{fresh}")
        return Location.parse(f"{scheme}://{fresh}")

    def _options(self, end: str) -> StoreOptions:
        match end.split(" ", maxsplit=1)[0]:
            case "s3":
                return StoreOptions(endpoint=self.s3.url, region=REGION, compat="aws")
            case "gs":
                return StoreOptions(endpoint=self.gs.url)
            case "gdrive":
                return StoreOptions(endpoint=self.gdrive.url)
        return StoreOptions()

    def _classes(self, source: str, destination: str) -> dict[str, str]:
        of = CLASSES.get(source.split(" ", maxsplit=1)[0])
        return {} if of is None else {of: CLASSES.get(destination, "")}

    def _cdn(self) -> Cdn:
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Cdn(domain=self.edge.url, signing="custom", key_id="K1", private_key=SecretStr(pem), policy="prefix")

    def _fill(self) -> None:
        folders = {"": self._drive_source}
        for key, thing in THINGS.items():
            self._put_s3(key, thing)
            if not no_gcs_name(key):
                self.gs.put(BUCKET, key, thing.data, **_as_resource(thing))
            self._put_drive(key, thing, folders)
            if not no_path(key):
                self._put_file(key, thing)

    def _put_s3(self, key: str, thing: Thing) -> None:
        wire = dict(s3_headers.to_wire(thing.headers))
        metadata = {name[len("x-amz-meta-") :]: wire.pop(name) for name in list(wire) if name.startswith("x-amz-meta-")}
        stored = CLASSES["s3"] if thing.rare else "STANDARD"
        self.s3.put(BUCKET, key, thing.data, headers=wire, metadata=metadata, storage_class=stored)

    def _put_drive(self, key: str, thing: Thing, folders: dict[str, str]) -> None:
        """What Drive can hold of it by itself: no headers but the type, and short properties."""
        *path, last = key.split("/")
        above = ""
        for segment in path:
            here = f"{above}/{segment}"
            if here not in folders:
                folders[here] = self.gdrive.folder(names.name(segment), parent=folders[above])
            above = here
        properties = {name: value for name, value in thing.headers.metadata.items() if value and len(value) < 100}
        kind = (thing.headers.content_type or "").split(";")[0]
        fields = {"mimeType": kind, "properties": properties, "modifiedTime": MODIFIED.isoformat()}
        self.gdrive.put(names.name(last), thing.data, parent=folders[above], **fields)

    def _put_file(self, key: str, thing: Thing) -> None:
        path = self._folder / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(thing.data)
            file.flush()
            moment = int(MODIFIED.timestamp() * 1000) * 1_000_000
            os.utime(file.fileno(), ns=(moment, moment))
            write_note(file.fileno(), Note(thing.headers, crc32c(thing.data)), key)


def _as_resource(thing: Thing) -> dict[str, Any]:
    return resource_fields(replace(thing.headers, storage_class=CLASSES["gs"] if thing.rare else None))
