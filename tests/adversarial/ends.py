"""The two ends of a route in the hands of a test: what is there is read and changed behind the service's back."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_plus

from common.config import StoreOptions
from common.location import Location
from tests.adversarial.drive import AdversarialDrive
from tests.adversarial.gcs import AdversarialGcs
from tests.adversarial.s3 import AdversarialS3

if TYPE_CHECKING:
    from tests.adversarial.deviations import Adversary
    from tests.fakes.http import HttpServer

BUCKET = "objects"
_KEY = re.compile(rb"<Key>([^<]*)</Key>")


class End(Protocol):
    """`shown` collects the keys that listings have told since it was last cleared."""

    adversary: Adversary
    shown: set[str]

    @property
    def server(self) -> HttpServer: ...

    @property
    def location(self) -> Location: ...

    @property
    def options(self) -> StoreOptions: ...

    def put(self, key: str, data: bytes) -> None: ...

    def delete(self, key: str) -> None: ...

    def contents(self) -> dict[str, bytes]: ...


@dataclass
class S3End:
    adversary: Adversary
    server: AdversarialS3 = field(init=False)
    later: float = field(init=False)
    shown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.later = 0.0
        self.server = AdversarialS3(self.adversary, buckets=[BUCKET], clock=lambda: time.time() + self.later)
        self.server.listed = self._listed

    @property
    def location(self) -> Location:
        return Location.parse(f"s3://{BUCKET}")

    @property
    def options(self) -> StoreOptions:
        return StoreOptions(endpoint=self.server.url)

    def put(self, key: str, data: bytes) -> None:
        self.later = min(self.later + 1, 600)  # a HEAD tells whole seconds: no two versions of one
        self.server.changed(BUCKET, key)
        self.server.put(BUCKET, key, data)

    def delete(self, key: str) -> None:
        self.server.changed(BUCKET, key)
        self.server.store.delete(BUCKET, key)

    def contents(self) -> dict[str, bytes]:
        return {key: self.server.data(BUCKET, key) for key in self.server.keys(BUCKET)}

    def _listed(self, body: bytes) -> None:
        self.shown.update(unquote_plus(key.decode()) for key in _KEY.findall(body))


@dataclass
class GcsEnd:
    adversary: Adversary
    server: AdversarialGcs = field(init=False)
    shown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.server = AdversarialGcs(self.adversary, buckets=[BUCKET])
        self.server.listed = self._listed

    @property
    def location(self) -> Location:
        return Location.parse(f"gs://{BUCKET}")

    @property
    def options(self) -> StoreOptions:
        return StoreOptions(endpoint=self.server.url)

    def put(self, key: str, data: bytes) -> None:
        self.server.put(BUCKET, key, data)

    def delete(self, key: str) -> None:
        bucket = self.server.store.bucket(BUCKET)
        if key in bucket.blobs:
            self.server.store.forget(bucket.blobs[key])

    def contents(self) -> dict[str, bytes]:
        return {key: self.server.data(BUCKET, key) for key in self.server.keys(BUCKET)}

    def _listed(self, body: bytes) -> None:
        self.shown.update(item["name"] for item in json.loads(body).get("items", []))


@dataclass
class DriveEnd:
    """Keys are `folder/name`; folders are made as they are needed."""

    adversary: Adversary
    server: AdversarialDrive = field(init=False)
    shown: set[str] = field(default_factory=set)
    folders: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = AdversarialDrive(self.adversary)
        self.server.listed = self._listed
        self.folders[""] = self.server.folder("objects")

    @property
    def location(self) -> Location:
        return Location.parse(f"gdrive://{self.folders['']}")

    @property
    def options(self) -> StoreOptions:
        return StoreOptions(endpoint=self.server.url)

    def put(self, key: str, data: bytes) -> None:
        folder, _, name = key.rpartition("/")
        if folder not in self.folders:
            self.folders[folder] = self.server.folder(folder, parent=self.folders[""])
        if key in self.files:
            self.delete(key)
        self.files[key] = self.server.put(name, data, parent=self.folders[folder])

    def delete(self, key: str) -> None:
        if file_id := self.files.pop(key, None):
            self.server.remove(file_id)

    def contents(self) -> dict[str, bytes]:
        return {key: self.server.data(file_id) for key, file_id in self.files.items()}

    def _listed(self, body: bytes) -> None:
        names = {file_id: key for key, file_id in self.files.items()}
        found: list[dict[str, Any]] = json.loads(body).get("files", [])
        self.shown.update(names[item["id"]] for item in found if item.get("id") in names)
