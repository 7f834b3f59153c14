"""What the demo moves: some 370 objects of every awkward kind, in moto's S3, and the comparison with what arrived in GCS."""

from __future__ import annotations

import json
import random
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from tests.nasty_names import NASTY, no_gcs_name

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 1024
MIB = 1024 * KIB
ORDINARY = 300
MULTIPART = "large/put in parts.bin"
NAMES = tuple(key for key in NASTY.values() if not no_gcs_name(key))
LARGE = {"large/5 MiB.bin": 5 * MIB, "large/17 MiB.bin": 17 * MIB, "large/64 MiB.bin": 64 * MIB}
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Source:
    """The S3 bucket."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.name = name
        config = Config(s3={"addressing_style": "path"}, max_pool_connections=16, request_checksum_calculation="when_required")
        self._s3: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id="demo",
            aws_secret_access_key="demo",
            region_name="us-east-1",
            config=config,
        )

    def fill(self) -> tuple[int, int]:
        """Make the bucket and its objects; how many, and how many bytes."""
        self._s3.create_bucket(Bucket=self.name)
        sizes = {f"ordinary/{number:04}.bin": 4 * KIB for number in range(ORDINARY)}
        sizes |= {f"empty/{number}": 0 for number in range(4)} | {"folder/": 0}
        sizes |= {name: 100 + len(name) for name in NAMES} | LARGE
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.put, sizes, (random.Random(name).randbytes(size) for name, size in sizes.items())))
        self._put_in_parts()
        return len(sizes) + 1 - 1, sum(sizes.values()) + 2 * 5 * MIB + 3  # "folder/" is a marker, not an object to move

    def put(self, name: str, data: bytes) -> None:
        self._s3.put_object(Bucket=self.name, Key=name, Body=data, ContentType="application/x-demo", Metadata={"demo": "yes"})

    def objects(self) -> Iterator[tuple[str, bytes]]:
        """Every object that is to be moved, with its bytes, one at a time."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            for entry in page.get("Contents", ()):
                if not (entry["Size"] == 0 and entry["Key"].endswith("/")):
                    yield entry["Key"], self._s3.get_object(Bucket=self.name, Key=entry["Key"])["Body"].read()

    def _put_in_parts(self) -> None:
        upload = self._s3.create_multipart_upload(Bucket=self.name, Key=MULTIPART)["UploadId"]
        parts = []
        for number, size in enumerate((5 * MIB, 5 * MIB, 3), start=1):
            data = random.Random(number).randbytes(size)
            answer = self._s3.upload_part(Bucket=self.name, Key=MULTIPART, UploadId=upload, PartNumber=number, Body=data)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._s3.complete_multipart_upload(Bucket=self.name, Key=MULTIPART, UploadId=upload, MultipartUpload={"Parts": parts})


class Destination:
    """The GCS bucket."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.name = name
        self._endpoint = endpoint

    def generations(self) -> dict[str, str]:
        """name -> generation: a new one for every write, by which nobody can hide a second copy."""
        found: dict[str, str] = {}
        query = {"maxResults": "1000"}
        while True:
            page = self._json(f"/storage/v1/b/{self.name}/o?{urllib.parse.urlencode(query)}")
            found |= {item["name"]: item["generation"] for item in page.get("items", ())}
            if "nextPageToken" not in page:
                return found
            query["pageToken"] = page["nextPageToken"]

    def read(self, name: str) -> bytes:
        path = f"/storage/v1/b/{self.name}/o/{urllib.parse.quote(name, safe='')}?alt=media"
        with _DIRECT.open(self._endpoint + path, timeout=60) as answer:
            data: bytes = answer.read()
            return data

    def resource(self, name: str) -> Any:
        return self._json(f"/storage/v1/b/{self.name}/o/{urllib.parse.quote(name, safe='')}")

    def _json(self, path: str) -> Any:
        with _DIRECT.open(self._endpoint + path, timeout=60) as answer:
            return json.load(answer)


def differences(source: Source, destination: Destination) -> tuple[int, list[str]]:
    """Compare both ends byte for byte: how many objects were compared, and what is wrong with which."""
    there = set(destination.generations())
    compared = 0
    wrong = []
    for name, data in source.objects():
        compared += 1
        if name not in there:
            wrong.append(f"{name!r} is missing")
        elif destination.read(name) != data:
            wrong.append(f"{name!r} has other bytes")
        there.discard(name)
    return compared, wrong + [f"{name!r} is there and should not be" for name in sorted(there)]
