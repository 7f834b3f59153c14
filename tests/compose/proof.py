"""Whether everything has arrived: lays the S3 stand-in beside the GCS stand-in, name by name and checksum by checksum."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import google_crc32c

from tests.compose.engine import Failure, say
from tests.compose.fill import connect

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE, DESTINATION = "demo-source", "demo-destination"
KEY = {"aws_access_key_id": "demo", "aws_secret_access_key": "demo", "region_name": "us-east-1"}


@dataclass(frozen=True, slots=True)
class Arrived:
    size: int
    crc32c: str
    generation: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Both stand-ins, reached through their published ports."""

    s3_port: int
    gcs_port: int

    def source(self) -> dict[str, int]:
        """The sizes of all source objects; none before the filler has made the bucket."""
        s3 = self.s3()
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=SOURCE)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", ())}

    def s3(self) -> Any:
        return connect(f"http://127.0.0.1:{self.s3_port}", **KEY)

    def destination(self) -> dict[str, Arrived]:
        found: dict[str, Arrived] = {}
        token = ""
        while True:
            query = urllib.parse.urlencode({"maxResults": 1000, "pageToken": token} if token else {"maxResults": 1000})
            url = f"http://127.0.0.1:{self.gcs_port}/storage/v1/b/{DESTINATION}/o?{query}"
            with urllib.request.urlopen(url, timeout=20) as answer:
                page = json.load(answer)
            for item in page.get("items", ()):
                found[item["name"]] = Arrived(int(item["size"]), item["crc32c"], item["generation"])
            token = page.get("nextPageToken", "")
            if not token:
                return found

    def wait(self, objects: int, seconds: float, watch: Callable[[], None]) -> dict[str, Arrived]:
        """Until the source holds `objects` and every one of them is at the destination, byte for byte. `watch` is called
        again and again; it raises Failure when there is no point in waiting."""
        deadline = time.monotonic() + seconds
        said = -1
        while True:
            source, destination = self._look()
            missing = [name for name, size in source.items() if name not in destination or destination[name].size != size]
            here = len(source) - len(missing)
            if len(source) >= objects and not missing:
                break
            if here != said:
                say(f"{here} of {objects} objects have arrived")
                said = here
            if time.monotonic() > deadline:
                raise Failure(f"after {seconds:.0f} s {len(missing)} of {len(source)} objects are missing: {missing[:5]}")
            watch()
            time.sleep(1)
        self._compare(source, destination)
        return destination

    def _look(self) -> tuple[dict[str, int], dict[str, Arrived]]:
        """Nothing on either side while the stand-ins come up."""
        try:
            return self.source(), self.destination()
        except (OSError, self.s3().exceptions.ClientError, urllib.error.URLError):
            return {}, {}

    def _compare(self, source: dict[str, int], destination: dict[str, Arrived]) -> None:
        s3 = self.s3()
        for name in source:
            body = s3.get_object(Bucket=SOURCE, Key=name)["Body"].read()
            checksum = base64.b64encode(google_crc32c.Checksum(body).digest()).decode()
            if destination[name].crc32c != checksum:
                raise Failure(f"{name!r} has other bytes at the destination ({destination[name].crc32c}, not {checksum})")
        if strangers := sorted(set(destination) - set(source)):
            raise Failure(f"the destination holds objects that the source never had: {strangers[:5]}")
        say(f"all {len(source)} objects have arrived, checksums and sizes are equal ({sum(source.values()):,} bytes)")


def get(url: str, user: str = "", password: str = "") -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower-case names) and body, whatever the status is; 0 where nobody answers."""
    request = urllib.request.Request(url)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()
    except OSError as error:
        return 0, {}, str(error).encode()
